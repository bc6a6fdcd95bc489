"""Where a model's features, embedding and head are: found by structure, from the graph of one forward without weights."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from lookright.classifier.grid import Grid, find_grid
from lookright.classifier.path import Path, Vertex, vertex
from lookright.classifier.tap import tapped
from lookright.classifier.trace import Site, Trace, full_copy, logits_of, record, weightless_copy
from lookright.errors import InputError

_LISTED = 8


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
        whole: whether all that the logits know of the image passes the features.
        methods: the model can be run by timm's `forward_features` and `forward_head`, without hooks.
    """

    features: Site
    grid: Grid
    embedding: tuple[Site, ...]
    head: str | None
    linear: bool
    whole: bool = True
    methods: bool = False


def find_route(
    model: nn.Module, image_shape: tuple[int, ...], features: str | None = None, head: str | None = None
) -> Route:
    """Run a copy without weights and follow the graph from the logits back to the image.

    Args:
        model: any classifier; neither run nor touched.
        image_shape: (C, H, W).
        features: name of the module whose output is to be the features, instead of those found.
        head: name of the final linear layer, instead of the one found.

    Raises:
        InputError: if no feature map is found.
    """
    try:
        return _Search(weightless_copy(model), image_shape).route(features, head)
    except InputError:
        raise
    except Exception:  # What the meta device cannot run (a choice that depends on values, say) fails in any way.
        return _Search(full_copy(model), image_shape).route(features, head)


class _Search:
    def __init__(self, model: nn.Module, image_shape: tuple[int, ...]) -> None:
        self.model = model
        self.shape = (2, *image_shape)
        self.trace = record(model, self.shape)
        self.path = Path(logits_of(self.trace.result), self.trace.image)

    def route(self, features: str | None, head: str | None) -> Route:
        layers = [self._input_of(head)] if head else self._last_layers()
        flat = [site for site in layers if _is_flat(self._tensor(site))]
        only = layers[0].module if len(layers) == 1 else None
        embedding = tuple(self._before_dropout(site) for site in flat)
        for site, grid, value in self._candidates(layers, features):
            route = Route(site, grid, embedding, only, linear=False)
            if not self._verify(route):
                continue
            linear = only is not None and _is_pointwise(self.model.get_submodule(only))
            linear = linear and self.path.is_average_then_linear(value, grid.prefix)
            route = replace(route, linear=linear, head=only if flat or linear else None)
            return replace(route, methods=self._has_methods(route))
        raise InputError("no")

    def _last_layers(self) -> list[Site]:
        """The inputs of the layers with weights that are nearest to the logits."""
        names = {
            vertex(tensor): site.module
            for site, tensor in self.trace.passed
            if site.side == "output" and _has_weights(self.model.get_submodule(site.module))
        }
        found: list[str] = []
        seen, pending = set(), [self.path.end]
        while pending:
            value = pending.pop(0)
            if value in names:
                found.append(names[value])
            elif value not in seen:
                seen.add(value)
                pending += self.path.following[value]
        return [self._input_of(name) for name in dict.fromkeys(found)]

    def _input_of(self, name: str) -> Site:
        return [
            site
            for site, tensor in self.trace.passed
            if site.module == name and site.side == "input" and vertex(tensor) in self.path
        ][-1]

    def _tensor(self, wanted: Site) -> Tensor:
        return next(tensor for site, tensor in self.trace.passed if site == wanted)

    def _before_dropout(self, head: Site) -> Site:
        """Where the embedding passes first: in eval mode dropout hands on the very value that it was given."""
        value = vertex(self._tensor(head))
        same = {value}
        while value.is_reshape:
            (value,) = self.path.following[value]
            same.add(value)
        passed = [site for site, tensor in self.trace.passed if vertex(tensor) in same]
        for site in passed:
            if site.side == "input" and isinstance(self.model.get_submodule(site.module), _DropoutNd):
                return site
        return next((site for site in passed if site.side == "output"), head)

    def _candidates(self, layers: list[Site], features: str | None) -> Iterator[tuple[Site, Grid, Vertex]]:
        """Maps on the path below the last layers, the latest first."""
        prefix = getattr(self.model, "num_prefix_tokens", None)
        below = self.path.reachable({vertex(self._tensor(site)) for site in layers})
        sizes: list[tuple[int, int]] = []
        grids: dict[Vertex, Grid] = {}
        sites: dict[Vertex, list[Site]] = {}
        for site, tensor in self.trace.passed:
            value = vertex(tensor)
            if value not in below or value == self.path.start:
                continue
            grid = find_grid(tensor.shape, self.trace.image.shape, sizes[::-1], prefix)
            if grid is None:
                continue
            if grid.axes != "BNC":
                sizes.append(tuple(tensor.shape[2:] if grid.axes == "BCHW" else tensor.shape[1:3]))
            grids[value] = grid
            sites[value] = [*sites.pop(value, []), site]
        self.grids, self.sites = grids, sites
        for value in reversed(sites):
            if self.path.is_cut(value) and self.path.is_spread(value):
                outputs = [index for index, site in enumerate(sites[value]) if site.side == "output"]
                last = outputs[-1] if outputs else -1
                if outputs and isinstance(self.model.get_submodule(sites[value][last].module), nn.Linear):
                    continue
                for site in [*sites[value][last + 1 : last + 2], *sites[value][last : last + 1] * bool(outputs)]:
                    yield site, grids[value], value

    def _verify(self, route: Route) -> bool:
        """Whether the features lie on the path once they are taken out and put back, and carry all that passes."""
        seen: list[Tensor] = []

        def through(tensor: Tensor) -> Tensor:
            seen.append(route.grid.features(tensor, self.shape[2:]))
            return route.grid.restore(seen[0], tensor.detach())

        with tapped(self.model, [(route.features, through)]):
            trace = record(self.model, self.shape)
        path = Path(logits_of(trace.result), trace.image)
        value = vertex(seen[0])
        return value in path and not path.is_reached_without({value})

    def _has_methods(self, route: Route) -> bool:
        model = self.model
        if not all(hasattr(model, name) for name in ("forward_features", "forward_head", "get_classifier")):
            return False
        if route.head is None or model.get_classifier() is not model.get_submodule(route.head):
            return False
        if not isinstance(model.get_classifier(), nn.Linear) or getattr(model, "drop_rate", 0):
            return False
        kept: list[Tensor] = []

        def forward(image: Tensor) -> Tensor:
            kept.append(model.forward_features(image))
            kept.append(model.forward_head(kept[0], pre_logits=True))
            return model.get_classifier()(kept[1])

        try:
            trace = record(model, self.shape, forward)
        except Exception:
            return False
        tensor = next((tensor for site, tensor in trace.passed if site == route.features), None)
        return (
            sorted(trace.calls) == sorted(self.trace.calls)
            and kept[1].ndim == 2
            and tensor is not None
            and vertex(tensor) == vertex(kept[0])
        )


def _is_flat(tensor: Tensor) -> bool:
    return tensor[0].numel() == max(tensor.shape[1:])


def _has_weights(module: nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    return isinstance(weight, Tensor) and weight.ndim > 1


def _is_pointwise(module: nn.Module) -> bool:
    if isinstance(module, nn.Conv2d):
        return module.kernel_size == (1, 1) and module.groups == 1
    return isinstance(module, nn.Linear)
