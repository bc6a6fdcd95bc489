"""Where a model's features, embedding and head are: found from the graph of one forward without weights."""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from lookright.classifier.advice import no_features, no_head
from lookright.classifier.grid import Grid, find_grid
from lookright.classifier.path import Path, Vertex, vertex
from lookright.classifier.tap import tapped
from lookright.classifier.trace import Site, Trace, full_copy, logits_of, record, weightless_copy
from lookright.errors import InputError

# Where branches meet only in the last layers, no map carries everything; then one is taken that nearly does.
_SHARES = (1.0, 0.9)


@dataclass(frozen=True)
class Route:
    """The way of one forward.

    Attributes:
        features: the last place where one spatial map carries all that the logits know of the image.
        grid: its layout.
        embedding: the inputs of the final linear layer or layers, before dropout; empty where the model has none, and
            the mean of the features over their grid stands in.
        head: name of the final linear layer (an `nn.Linear` or a 1×1 convolution), where there is exactly one.
        linear: the logits are the head on the mean of the features over their grid, so that CAM is exact.
        methods: timm's `forward_features` and `forward_head` lead here as well, without hooks.
    """

    features: Site
    grid: Grid
    embedding: tuple[Site, ...]
    head: str | None
    linear: bool
    methods: bool = False


@torch.inference_mode(False)  # a copy made in inference mode would have no graph
def find_route(
    model: nn.Module,
    image_shape: tuple[int, ...],
    features: str | None = None,
    head: str | None = None,
    weightless: bool = False,
) -> Route:
    """Run a copy of the model, without weights, and follow the graph from the logits back to the image.

    Args:
        model: any classifier; neither run nor touched.
        image_shape: (C, H, W).
        features: name of the module whose output is to be the features, instead of those found.
        head: name of the final linear layer, instead of the one found.
        weightless: give up where a copy without weights does not run (it chooses by values, say), instead of trying a
            copy with weights.

    Raises:
        InputError: if no feature map is found.
    """
    try:
        return _Search(weightless_copy(model), image_shape).route(features, head)
    except InputError:
        raise
    except Exception:
        if weightless:
            raise
    return _Search(full_copy(model), image_shape).route(features, head)


class _Search:
    def __init__(self, model: nn.Module, image_shape: tuple[int, ...]) -> None:
        self.model = model
        self.shape = torch.Size((2, *image_shape))
        self.from_method: list[Any] = []
        if inspect.ismethod(method := getattr(model, "forward_features", None)):
            vars(model)["forward_features"] = _kept(method, self.from_method)
        trace = record(model, self.shape)
        self.calls = trace.calls
        self.path = _path(trace)
        self.passed: list[tuple[Site, torch.Size, Vertex]] = []
        for site, tensor in trace.passed:
            value = vertex(tensor)
            if value is not None and value in self.path:
                self.passed.append((site, tensor.shape, value))

    def route(self, features: str | None, head: str | None) -> Route:
        layers = [self._named_head(head)] if head else self._last_layers()
        only = layers[0][0].module if len(layers) == 1 else None
        flat = [(site, value) for site, shape, value in layers if _is_flat(shape)]
        embedding = tuple(self._before_dropout(site, value) for site, value in flat)
        is_head = bool(flat) or (only is not None and _is_pointwise(self.model.get_submodule(only)))
        maps = self._maps({value for _, _, value in layers} if is_head else {self.path.end})
        for site, grid, value, share in self._named(maps, features) if features else self._last(maps):
            route = Route(site, grid, embedding, only, linear=False)
            if not self._is_verified(route, share):
                continue
            linear = (
                only is not None
                and _is_pointwise(self.model.get_submodule(only))
                and self.path.is_average_then_linear(value, grid.prefix)
            )
            route = replace(route, linear=linear, head=only if flat or linear else None)
            return replace(route, methods=self._has_methods(route, value))
        raise InputError(self._no_features(maps, features))

    def _input_of(self, name: str) -> tuple[Site, torch.Size, Vertex]:
        return [passed for passed in self.passed if (passed[0].module, passed[0].side) == (name, "input")][-1]

    def _named_head(self, name: str) -> tuple[Site, torch.Size, Vertex]:
        takes = [shape for site, shape, _ in self.passed if (site.module, site.side) == (name, "input")]
        if not takes or not (_is_flat(takes[-1]) or _is_pointwise(self.model.get_submodule(name))):
            raise InputError(self._no_head(name))
        return self._input_of(name)

    def _last_layers(self) -> list[tuple[Site, torch.Size, Vertex]]:
        """The inputs of the layers with weights that are nearest to the logits."""
        names = {
            value: site.module
            for site, _, value in self.passed
            if site.side == "output" and _has_weights(self.model.get_submodule(site.module))
        }
        return [self._input_of(names[value]) for value in self.path.nearest(names)]

    def _before_dropout(self, head: Site, value: Vertex) -> Site:
        """Where the embedding passes first: in eval mode dropout hands on the very value that it was given."""
        same = {value}
        while value.is_reshape:
            (value,) = self.path.sources[value]
            same.add(value)
        passed = [site for site, _, value in self.passed if value in same]
        for site in passed:
            if site.side == "input" and isinstance(self.model.get_submodule(site.module), _DropoutNd):
                return site
        return next((site for site in passed if site.side == "output"), head)

    def _maps(self, inputs: set[Vertex]) -> dict[Vertex, tuple[Grid, list[tuple[Site, torch.Size]]]]:
        """The maps that the last layers are computed from and the sites each passes; the latest to pass one is last."""
        prefix = getattr(self.model, "num_prefix_tokens", None)
        below = self.path.below(inputs)
        sizes: list[tuple[int, int]] = []
        maps: dict[Vertex, tuple[Grid, list[tuple[Site, torch.Size]]]] = {}
        for site, shape, value in self.passed:
            if value not in below or value == self.path.start:
                continue
            grid = find_grid(shape, self.shape, sizes[::-1], prefix)
            if grid is None:
                continue
            if grid.axes != "BNC":
                sizes.append((shape[2], shape[3]) if grid.axes == "BCHW" else (shape[1], shape[2]))
            _, sites = maps.pop(value, (grid, []))
            maps[value] = grid, [*sites, (site, shape)]
        return maps

    def _last(self, maps: dict) -> Iterator[tuple[Site, Grid, Vertex, float]]:
        """Maps through which all ways lead, or nearly all, the latest first; as they enter a module or leave one."""
        for share in _SHARES:
            for value, (grid, passed) in reversed(maps.items()):
                if self.path.share(value) < share or not self.path.is_spread(value):
                    continue
                sites = [site for site, _ in passed]
                last = max((index for index, site in enumerate(sites) if site.side == "output"), default=None)
                if last is None:
                    yield sites[0], grid, value, share
                # The linear layer that makes keys and values of the features is part of what reads them.
                elif not isinstance(self.model.get_submodule(sites[last].module), nn.Linear):
                    candidates = [*sites[last + 1 : last + 2], *reversed(sites[: last + 1])]
                    yield from ((site, grid, value, share) for site in candidates)

    def _named(self, maps: dict, features: str) -> Iterator[tuple[Site, Grid, Vertex, float]]:
        for value, (grid, passed) in reversed(maps.items()):
            for site, _ in reversed(passed):
                if site.module == features and site.side == "output":
                    yield site, grid, value, 0.0

    def _is_verified(self, route: Route, share: float) -> bool:
        """Whether the features lie on the path, on that share of all ways, once they are taken out and put back."""
        seen: list[Tensor] = []

        def through(tensor: Tensor) -> Tensor:
            # A value of its own: what reads the module's output another way shows up as a way around it.
            seen.append(route.grid.features(tensor, tuple(self.shape[2:])).clone())
            return route.grid.restore(seen[0], tensor.detach())

        with tapped(self.model, [(route.features, through)]):
            trace = record(self.model, self.shape)
        path, value = _path(trace), vertex(seen[0])
        return value is not None and value in path and path.share(value) >= share

    def _has_methods(self, route: Route, value: Vertex) -> bool:
        """Whether `forward_head` goes on from what `forward_features` returned as the model's own forward does."""
        model: Any = self.model
        if route.head is None or not all(hasattr(model, name) for name in ("forward_head", "get_classifier")):
            return False
        head = model.get_classifier()
        if not isinstance(head, nn.Linear) or head is not model.get_submodule(route.head):
            return False
        features = next(iter(self.from_method), None)
        if getattr(model, "drop_rate", 0) or not isinstance(features, Tensor) or vertex(features) != value:
            return False
        embeddings: list[Tensor] = []

        def forward(image: Tensor) -> Tensor:
            embeddings.append(model.forward_head(features.detach(), pre_logits=True))
            return head(embeddings[0])

        try:
            calls = record(model, self.shape, forward).calls
        except Exception:  # Methods of that name need not be timm's.
            return False
        return embeddings[0].ndim == 2 and sorted(calls) == sorted(self.calls[-len(calls) :])

    def _no_features(self, maps: dict, features: str | None) -> str:
        size = tuple(self.shape[2:])
        handed_out = [(site.module, shape) for site, shape, _ in reversed(self.passed) if site.side == "output"]
        shapes = {
            site.module: grid.features(torch.empty(shape, device="meta"), size).shape[1:]
            for grid, passed in reversed(maps.values())
            for site, shape in reversed(passed)
            if site.side == "output"
        }
        others = {module: shape[1:] for module, shape in handed_out}
        return no_features(type(self.model).__name__, size, features, shapes, others)

    def _no_head(self, head: str) -> str:
        inputs = [(site.module, shape) for site, shape, _ in reversed(self.passed) if site.side == "input"]
        layers = {
            module: shape[1:]
            for module, shape in inputs
            if _is_flat(shape) and _has_weights(self.model.get_submodule(module))
        }
        return no_head(type(self.model).__name__, head, layers)


def _kept(method: Any, returned: list[Any]) -> Any:
    """The method of a copy, which remembers what it returned."""

    def keep(*args: Any, **kwargs: Any) -> Any:
        returned.append(method(*args, **kwargs))
        return returned[-1]

    return keep


def _path(trace: Trace) -> Path:
    end, start = vertex(logits_of(trace.result)), vertex(trace.image)
    path = None if end is None or start is None else Path(end, start)
    if path is None or path.end not in path:
        raise InputError("The logits do not depend on the image in a way that can be differentiated.")
    return path


def _is_flat(shape: torch.Size) -> bool:
    """Whether each image has one vector, as in (B, D) or (B, D, 1, 1)."""
    return shape[1:].numel() == max(shape[1:], default=0)


def _has_weights(module: nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    return isinstance(weight, Tensor) and weight.ndim > 1


def _is_pointwise(module: nn.Module) -> bool:
    if isinstance(module, nn.Conv2d):
        return module.kernel_size == (1, 1) and module.groups == 1
    return isinstance(module, nn.Linear)
