"""One forward of any classifier gives logits, embedding and features."""

import warnings
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.parallel import DataParallel, DistributedDataParallel

from lookright.classifier.grid import Grid
from lookright.classifier.logits import logits_of
from lookright.classifier.patches_without_graph import PatchesWithoutGraph
from lookright.classifier.route import Route, Site
from lookright.classifier.search import find_grid, find_route, reads_patches
from lookright.classifier.search.advice import unknown_name
from lookright.classifier.tap import has_hooks, tapped
from lookright.classifier.twice_differentiable import not_checkpointed, twice_differentiable
from lookright.errors import InputError

Edit = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Output:
    """What one forward gives, all in the autograd graph.

    Attributes:
        logits: (B, K).
        embedding: (B, D), the input of the final linear layer, before dropout. Where a model averages several linear
            layers (distillation heads), their inputs side by side; where it has none, the mean of the features.
        features: (B, C, h, w), the last spatial feature map, on the path to the logits.
        whole: where these are some rows of a forward over more images, what that forward gave: a slice of the features
            is not on the path to the logits, so a gradient is taken with respect to `whole.features`.
        start: the first of these rows in `whole`.
        image: (B, C, H, W), what the model was given; maps on the input differentiate with respect to it.
    """

    logits: Float[Tensor, "B K"]
    embedding: Float[Tensor, "B D"]
    features: Float[Tensor, "B C h w"]
    whole: "Output | None" = None
    start: int = 0
    image: Float[Tensor, "B _ H W"] | None = None

    def rows(self, start: int, stop: int) -> "Output":
        """The output of the images from `start` to before `stop`."""
        return Output(
            self.logits[start:stop],
            self.embedding[start:stop],
            self.features[start:stop],
            self.whole or self,
            self.start + start,
            None if self.image is None else self.image[start:stop],
        )


torch.export.register_dataclass(Output)


class Classifier(nn.Module):
    """Wraps the user's own classifier, which stays `classifier.model`, unchanged.

    The features are the last spatial map through which everything passes that the logits know of the image: what is
    average-pooled in a ResNet, the tokens that enter the last block of a ViT with a class token. They are found from
    the graph of one forward of a copy without weights, once: at construction where the model tells its input size
    (timm, torchvision, Hugging Face), else at the first image.

    A forward runs `model(image)` once, with hooks that do not outlive it. Under `torch.compile(classifier)`, timm
    models whose head follows the features go through `forward_features` and `forward_head` instead, without hooks and
    so without a graph break; other models run eagerly there.

    Args:
        model: maps an image to logits: a tensor, a tuple that starts with it, or an object with `.logits`. What
            `torch.compile` returned is read through its original module.
        features: the module whose output is to be the features (itself, or its dotted name), instead of those found.
        head: the final linear layer, likewise.
        input_size: (C, H, W) of an image, to look with at once where the model does not tell.
        grid: (h, w) of the patches among the tokens, row by row, where they are not found or found wrongly. It then
            stands for every image.
        prefix: with a grid, how many tokens come before the patches (class, registers); None: all that are no patches.

    Raises:
        InputError: the model has no head, is wrapped for several devices or scripted, or has no spatial feature map.

    >>> import timm
    >>> classifier = Classifier(timm.create_model("resnet18", num_classes=10))
    >>> output = classifier(torch.zeros(2, 3, 64, 64))
    >>> output.logits.shape, output.embedding.shape, output.features.shape
    (torch.Size([2, 10]), torch.Size([2, 512]), torch.Size([2, 512, 2, 2]))
    """

    def __init__(
        self,
        model: nn.Module,
        features: nn.Module | str | None = None,
        head: nn.Module | str | None = None,
        input_size: tuple[int, int, int] | None = None,
        grid: tuple[int, int] | None = None,
        prefix: int | None = None,
    ) -> None:
        super().__init__()
        _check_numbers(input_size, grid, prefix)
        model = getattr(model, "_orig_mod", model)
        _check(model)
        self.model = model
        self._named = (_name(model, features, "features"), _name(model, head, "head"), grid, prefix)
        self._route: Route | None = None
        self._grids: dict[tuple[int, ...], Grid] = {}
        self._patches_are_read: dict[tuple[int, ...], bool] = {}
        if input_size is not None:
            self._look(input_size)
        elif (usual := _usual_input_size(model)) is not None:
            try:
                self._look(usual, weightless=True)
            except InputError:
                raise
            except Exception:  # Built for another size than usual: the first image tells.
                self._route = None

    def _look(self, image_shape: tuple[int, ...], weightless: bool = False) -> None:
        self._route = find_route(self.model, image_shape, *self._named, weightless=weightless)
        self._grids, self._patches_are_read = {image_shape: self._route.grid}, {}

    def _grid(self, image_shape: tuple[int, ...]) -> Grid:
        """The layout of the features for images of that shape: looked for once."""
        grid = self.route.grid
        if grid.size is None or self._named[2] is not None:
            return grid
        if image_shape not in self._grids:
            self._grids[image_shape] = find_grid(self.model, image_shape, self.route.features)
        return self._grids[image_shape]

    @property
    def route(self) -> Route:
        """Where features, embedding and head are.

        Raises:
            InputError: if no image was seen yet and the model does not tell its input size.
        """
        if self._route is None:
            raise InputError(
                f"The layers of {type(self.model).__name__} are not known before the first image. Run one, or give its "
                "size: Classifier(model, input_size=(C, H, W))."
            )
        if self._route.head is not None and not _is_linear(self.model, self._route.head):  # It was replaced.
            self._look(next(iter(self._grids)))
        return self._route

    @property
    def head(self) -> nn.Linear | None:
        """The final linear layer; None where there is none, or more than one."""
        head = None if self.route.head is None else self.model.get_submodule(self.route.head)
        return head if isinstance(head, nn.Linear) else None

    @property
    def cam_is_exact(self) -> bool:
        """Whether the logits are linear in the mean of the features, so that `cam` is closed-form."""
        return self.route.linear

    @property
    def class_weight(self) -> Float[Tensor, "K D"]:
        """The weight of the final linear layer, or of the 1×1 convolution that stands for it."""
        if self.route.head is None:
            raise InputError(f"{type(self.model).__name__} has no single final linear layer.")
        weight: Tensor = self.model.get_submodule(self.route.head).weight  # type: ignore[assignment]
        return weight.flatten(1)

    def forward(self, image: Float[Tensor, "B C H W"], edit: Edit | None = None) -> Output:
        """Run the model once.

        Args:
            image: (B, C, H, W), normalised as the model expects. Let it require gradients for maps on the input.
            edit: makes other features of the same shape from the features (B, C, h, w); the model goes on from them,
                and they are the features in the output.
        """
        _check_image(image)
        if torch.compiler.is_compiling() and self._route is not None and self._route.methods:
            is_known = self._route.grid.size is None or tuple(image.shape[1:]) in self._grids
            if is_known:
                return self._forward_by_methods(image, edit)
        return self._forward_with_hooks(image, edit)

    def _forward_by_methods(self, image: Tensor, edit: Edit | None) -> Output:
        model: Any = self.model
        tensor = model.forward_features(image)
        if self.route.linear or not torch.is_grad_enabled():
            return self._head_by_methods(image, tensor, edit)
        # Compiled code has no second derivative, which grad_cam takes from the features on.
        return torch.compiler.disable(self._head_by_methods)(image, tensor, edit)

    def _head_by_methods(self, image: Tensor, tensor: Tensor, edit: Edit | None) -> Output:
        model: Any = self.model
        features = self._features(image, tensor, edit)
        embedding = model.forward_head(self._grid(tuple(image.shape[1:])).restore(features, tensor), pre_logits=True)
        return Output(model.get_classifier()(embedding), embedding, features, image=image)

    def _features(self, image: Tensor, tensor: Tensor, edit: Edit | None) -> Tensor:
        features = self._grid(tuple(image.shape[1:])).features(tensor)
        if features.shape[2] == features.shape[3] == 1 and not torch.compiler.is_compiling():
            warnings.warn(
                f"The features of {type(self.model).__name__} are a single cell for images of "
                f"{tuple(image.shape[2:])}: maps say nothing, and guidance by them is zero. Give larger images, or "
                "name an earlier layer: Classifier(model, features=...).",
                stacklevel=2,
            )
        if edit is not None:
            features = _edited(features, edit)
        if torch.is_grad_enabled() and not features.requires_grad and not torch.compiler.is_compiling():
            # A frozen backbone: maps still differentiate from here on. The clone may be changed in place.
            features = features.detach().requires_grad_().clone()
        return features

    @torch.compiler.disable
    def _forward_with_hooks(self, image: Tensor, edit: Edit | None) -> Output:
        if getattr(self, "_is_replica", False):
            raise InputError(
                "DataParallel runs a classifier in several threads that share its hooks. "
                "Use DistributedDataParallel, one process a device."
            )
        if self._route is None:
            self._look(tuple(image.shape[1:]))
        route, seen = self.route, {}
        grid = self._grid(tuple(image.shape[1:]))
        twice = torch.is_grad_enabled() and not route.linear and not image.requires_grad
        leaves_patches = twice and self._leaves_patches(tuple(image.shape[1:]), grid)

        with ExitStack() as stack:
            kept = stack.enter_context(ExitStack())

            def at_features(tensor: Tensor) -> Tensor:
                features = seen[route.features] = self._features(image, tensor, edit)
                if twice:
                    stack.enter_context(twice_differentiable())
                    if leaves_patches:
                        stack.enter_context(PatchesWithoutGraph(grid, tensor))
                    if route.features.side == "input":
                        kept.enter_context(not_checkpointed(self.model.get_submodule(route.features.module)))
                return grid.restore(features, tensor)

            def after_features(tensor: Tensor) -> Tensor:
                kept.close()
                return tensor

            if torch.is_grad_enabled() and image.requires_grad:  # Maps on the image read every attention matrix.
                stack.enter_context(sdpa_kernel(SDPBackend.MATH))
            taps: list[tuple[Site, Callable[[Tensor], Tensor]]] = [(route.features, at_features)]
            taps += [(site, partial(self._keep_embedding, seen, site)) for site in route.embedding]
            if route.features.side == "input":
                taps.append((replace(route.features, side="output", leaf=0), after_features))
            stack.enter_context(tapped(self.model, taps))
            logits = logits_of(self.model(image))
        missing = [site.module for site in (route.features, *route.embedding) if site not in seen]
        if missing:
            raise InputError(
                f"{missing[0]} was not called in this forward, though it was when the classifier looked at the model. "
                "Wrap the model again after changing it."
            )
        features = seen[route.features]
        embedding = [seen[site].flatten(1) for site in route.embedding] or [features.mean((2, 3))]
        joined = embedding[0] if len(embedding) == 1 else torch.cat(embedding, 1)
        return Output(logits, joined, features, image=image)

    def _leaves_patches(self, image_shape: tuple[int, ...], grid: Grid) -> bool:
        """Whether nobody but the last attention reads the tokens of patches: neither the logits nor a user's hook."""
        is_transformed = torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()
        if not (grid.prefix or grid.suffix) or is_transformed or has_hooks(self.model):
            return False
        if image_shape not in self._patches_are_read:
            self._patches_are_read[image_shape] = reads_patches(self.model, image_shape, self.route.features, grid)
        return not self._patches_are_read[image_shape]

    def _keep_embedding(self, seen: dict[Site, Tensor], site: Site, tensor: Tensor) -> Tensor:
        seen[site] = tensor
        module = self.model.get_submodule(site.module)
        return tensor.clone() if isinstance(module, _DropoutNd) and module.inplace else tensor


def _check_numbers(input_size: object, grid: object, prefix: object) -> None:
    for name, value, length in (("input_size=(C, H, W)", input_size, 3), ("grid=(h, w)", grid, 2)):
        if value is not None and not (
            isinstance(value, (tuple, list))
            and len(value) == length
            and all(isinstance(n, int) and n > 0 for n in value)
        ):
            raise InputError(f"Classifier got {value!r} for {name}. Expected {length} positive integers.")
    if prefix is not None and (grid is None or not isinstance(prefix, int) or prefix < 0):
        raise InputError(
            f"Classifier got prefix={prefix!r} and grid={grid!r}. Expected grid=(h, w), prefix=n with n >= 0."
        )


def _check_image(image: object) -> None:
    if isinstance(image, Tensor) and image.ndim == 4 and image.is_floating_point():
        return
    given = f"a {image.dtype} tensor {tuple(image.shape)}" if isinstance(image, Tensor) else type(image).__name__
    raise InputError(
        f"Classifier got {given}. Expected images as floats (B, C, H, W): signals, clips and packed patches have no "
        "map of an image; give a spectrogram its channel with a model that takes (B, 1, H, W)."
    )


def _is_linear(model: nn.Module, name: str) -> bool:
    """Whether there still is a module with a matrix of weights of that name."""
    try:
        weight = getattr(model.get_submodule(name), "weight", None)
    except AttributeError:
        return False
    return isinstance(weight, Tensor) and weight.ndim > 1


def _edited(features: Tensor, edit: Edit) -> Tensor:
    edited = edit(features)
    if edited.shape != features.shape:
        raise InputError(f"edit made {tuple(edited.shape)} of features {tuple(features.shape)}. Keep the shape.")
    return edited


def _check(model: nn.Module) -> None:
    kind = type(model).__name__
    if isinstance(model, (DistributedDataParallel, DataParallel)):
        raise InputError(
            f"The model is wrapped in {kind}. Wrap the other way round, DistributedDataParallel(Classifier(model)); "
            "DataParallel runs its copies in threads that would share hooks."
        )
    if isinstance(model, torch.jit.ScriptModule):
        raise InputError(f"{kind} is scripted, and its layers cannot be read. Give the module it was made from.")
    if getattr(model, "num_classes", None) == 0:
        raise InputError(f"{kind} has no head (num_classes=0). Create it with the number of classes.")


def _name(model: nn.Module, module: nn.Module | str | None, argument: str) -> str | None:
    if module is None:
        return None
    for name, candidate in model.named_modules():
        if name and (candidate is module or name == module):
            return name
    kind = type(model).__name__
    if isinstance(module, str):
        raise InputError(unknown_name(kind, argument, module, [name for name, _ in model.named_modules() if name]))
    raise InputError(
        f"{argument} is a {type(module).__name__} that is no part of {kind}. Give a module of it or a name."
    )


def _usual_input_size(model: nn.Module) -> tuple[int, int, int] | None:
    """(C, H, W) as timm, Hugging Face and torchvision models tell it."""
    if isinstance(told := getattr(model, "pretrained_cfg", None), dict) and "input_size" in told:
        size = getattr(getattr(model, "patch_embed", None), "img_size", None) or told["input_size"][1:]
        return (told["input_size"][0], *size)
    if (config := getattr(model, "config", None)) is not None and hasattr(config, "num_channels"):
        size = getattr(config, "image_size", None) or 224
        return (config.num_channels, *(size if isinstance(size, (tuple, list)) else (size, size)))
    if type(model).__module__.startswith("torchvision.models."):
        size = getattr(model, "image_size", 224)
        return (3, size, size)
    return None
