"""Where a model's features, embedding and head are: found from the graph of one forward without weights."""

import inspect
import math
import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.dropout import _DropoutNd

from lookright.classifier.grid import Grid
from lookright.classifier.logits import logits_of
from lookright.classifier.route import Route, Site
from lookright.classifier.search.advice import early, no_features, no_head, no_positions
from lookright.classifier.search.layout import Size, layouts, size_of
from lookright.classifier.search.path import Path, Vertex, vertex
from lookright.classifier.search.position import place_by_image, place_by_map
from lookright.classifier.search.trace import Trace, full_copy, record, weightless_copy
from lookright.classifier.tap import tapped
from lookright.errors import InputError

# Where branches meet only in the last layers, no map carries everything; then one is taken that nearly does.
_SHARES = (1.0, 0.9)


class _Passed(NamedTuple):
    """A value on the path, at one of the sites that it passes."""

    site: Site
    shape: torch.Size
    value: Vertex


_Maps = dict[Vertex, tuple[list[Grid], list[_Passed]]]


@torch.inference_mode(False)  # a copy made in inference mode would have no graph
def find_route(
    model: nn.Module,
    image_shape: tuple[int, ...],
    features: str | None = None,
    head: str | None = None,
    grid: Size | None = None,
    prefix: int | None = None,
    weightless: bool = False,
) -> Route:
    """Run a copy of the model, without weights, and follow the graph from the logits back to the image.

    Args:
        model: any classifier; neither run nor touched.
        image_shape: (C, H, W).
        features: name of the module whose output is to be the features, instead of those found.
        head: name of the final linear layer, instead of the one found.
        grid: (h, w) of the patches among the tokens, instead of that found.
        prefix: tokens before the patches; None with a grid: all that are not patches.
        weightless: give up where a copy without weights does not run (it chooses by values, say), instead of trying a
            copy with weights.

    Raises:
        InputError: if no feature map is found.
    """
    search = partial(_Search, model, image_shape, grid, prefix)
    try:
        return search(weightless_copy(model)).route(features, head)
    except InputError:
        raise
    except Exception:
        if weightless:
            raise
    return search(full_copy(model)).route(features, head)


@torch.inference_mode(False)
def find_grid(model: nn.Module, image_shape: tuple[int, ...], site: Site) -> Grid:
    """The layout of the features at a site that was found with images of another size.

    Raises:
        InputError: if there is no map there for images of this size.
    """
    try:
        return _Search(model, image_shape, None, None, weightless_copy(model)).grid(site)
    except InputError:
        raise
    except Exception:
        return _Search(model, image_shape, None, None, full_copy(model)).grid(site)


class _Search:
    def __init__(
        self, original: nn.Module, image_shape: tuple[int, ...], size: Size | None, prefix: int | None, model: nn.Module
    ) -> None:
        self.original, self.model = original, model
        self.size, self.prefix = size, prefix
        self.shape = torch.Size((2, *image_shape))
        self.from_method: list[Any] = []
        if inspect.ismethod(method := getattr(model, "forward_features", None)):
            vars(model)["forward_features"] = _kept(method, self.from_method)
        trace = record(model, self.shape)
        self.calls = trace.calls
        self.path = _path(trace)
        self.passed: list[_Passed] = []
        for site, tensor in trace.passed:
            value = vertex(tensor)
            if value is not None and value in self.path:
                self.passed.append(_Passed(site, tensor.shape, value))
        self.placed: dict[torch.Size, Grid | None] = {}

    def route(self, features: str | None, head: str | None) -> Route:
        layers = [self._named_head(head)] if head else self._last_layers()
        only = layers[0].site.module if len(layers) == 1 else None
        flat = [layer for layer in layers if _is_flat(layer.shape)]
        embedding = tuple(self._before_dropout(layer.site, layer.value) for layer in flat)
        is_head = bool(flat) or (only is not None and _is_pointwise(self.model.get_submodule(only)))
        maps = self._maps({layer.value for layer in layers} if is_head else {self.path.end})
        for passed, share in self._named(maps, features) if features else self._last(maps):
            grid = self._place(passed, maps[passed.value][0])
            if grid is None:
                continue
            route = Route(passed.site, grid, embedding, only, linear=False)
            if not self._is_verified(route, share):
                continue
            linear = (
                only is not None
                and _is_pointwise(self.model.get_submodule(only))
                and self.path.is_average_then_linear(passed.value, grid.prefix, grid.suffix)
                and self._adds_up(route, only)
            )
            route = replace(route, linear=linear, head=only if flat or linear else None)
            if features and grid.size and self.path.is_dropped(passed.value):
                raise InputError(no_positions(type(self.model).__name__, features, self._spread(maps)))
            if not features and self.path.is_early(passed.value):
                warnings.warn(early(type(self.model).__name__, passed.site.module), stacklevel=2)
            return replace(route, methods=self._has_methods(route, passed.value))
        raise InputError(self._no_features(maps, features))

    def grid(self, site: Site) -> Grid:
        maps = self._maps({self.path.end})
        for passed in self.passed:
            grid = self._place(passed, maps[passed.value][0]) if passed.site == site and passed.value in maps else None
            if grid is not None:
                return grid
        raise InputError(self._no_features(maps, site.module))

    def _place(self, passed: _Passed, guesses: list[Grid]) -> Grid | None:
        """The layout of a map; of tokens only if a changed cell shows that its token lies where the layout says."""
        if len(passed.shape) == 4:
            return guesses[0] if self.size in (None, size_of(guesses[0], passed.shape)) else None
        if self.size is not None:
            axes, tokens = guesses[0].axes, passed.shape[1 if guesses[0].axes == "BNC" else 0]
            number = math.prod(self.size)
            prefix = tokens - number if self.prefix is None else self.prefix
            suffix = tokens - number - prefix
            return Grid(axes, self.size, prefix, suffix) if min(prefix, suffix) >= 0 else None
        if passed.shape not in self.placed:
            self.placed[passed.shape] = self._tested(passed, guesses)
        return self.placed[passed.shape]

    def _tested(self, tokens: _Passed, guesses: list[Grid]) -> Grid | None:
        if any(parameter.is_meta for parameter in self.original.parameters()):  # There are no numbers to look at.
            return guesses[0]
        below = self.path.below({tokens.value})
        first = next(passed for passed in self.passed if passed.shape == tokens.shape and passed.value in below)
        below = self.path.below({first.value})
        for guess in guesses:
            maps = [
                (site, grid)
                for site, shape, value in self.passed
                if value in below
                and value in self.maps
                and len(shape) == 4
                and size_of(grid := self.maps[value][0][0], shape) == guess.size
            ]
            if maps:
                found = place_by_map(self.original, self.shape, maps[-1], first.site, guess)
            else:
                found = place_by_image(self.original, self.shape, first.site, guess)
            if found is not None:
                return found
        return None

    def _adds_up(self, route: Route, name: str) -> bool:
        """Whether, with random features and weights, the head on their mean is what the model returns."""
        head, generator = self.model.get_submodule(name), torch.Generator().manual_seed(0)
        random = partial(torch.randn, generator=generator, dtype=torch.float64, device="cpu")
        weights = {key: random(value.shape) for key, value in head.named_parameters()}
        features: list[Tensor] = []

        def through(tensor: Tensor) -> Tensor:
            features.append(random(tensor.shape))
            return features[0]

        def forward(image: Tensor) -> Tensor:
            result = functional_call(self.model, {f"{name}.{key}": value for key, value in weights.items()}, image)
            return logits_of(result)

        try:
            with tapped(self.model, [(route.features, through)]):
                logits: Tensor = record(self.model, self.shape, forward).result
            mean = route.grid.features(features[0]).mean((2, 3))  # With what was changed in place.
            mean = mean[:, :, None, None] if isinstance(head, nn.Conv2d) else mean
            expected = functional_call(head, weights, mean).flatten(1)
        except Exception:  # Other weights follow the features, so it is not the head alone.
            return False
        return logits.shape == expected.shape and bool((logits - expected).abs().max() <= 1e-3 * expected.abs().max())

    def _input_of(self, name: str) -> _Passed:
        return [passed for passed in self.passed if (passed.site.module, passed.site.side) == (name, "input")][-1]

    def _named_head(self, name: str) -> _Passed:
        takes = [shape for site, shape, _ in self.passed if (site.module, site.side) == (name, "input")]
        if not takes or not (_is_flat(takes[-1]) or _is_pointwise(self.model.get_submodule(name))):
            raise InputError(self._no_head(name))
        return self._input_of(name)

    def _last_layers(self) -> list[_Passed]:
        """The inputs of the layers with weights that are nearest to the logits."""
        names: dict[Vertex, str] = {}
        for site, _, value in self.passed:  # A wrapper that shows the weight of what it wraps comes after it.
            if site.side == "output" and _has_weights(self.model.get_submodule(site.module)):
                names.setdefault(value, site.module)
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

    def _maps(self, inputs: set[Vertex]) -> _Maps:
        """The maps that the last layers are computed from: the layouts that may be theirs, and where they pass.

        The latest to pass one is last.
        """
        below = self.path.below(inputs)
        sizes: list[Size] = []
        maps: _Maps = {}
        for passed in self.passed:
            if passed.value not in below or passed.value == self.path.start:
                continue
            guesses = list(layouts(passed.shape, self.shape, sizes[::-1], self._module(passed.site)))
            if not guesses:
                continue
            if len(passed.shape) == 4:
                sizes.append(size_of(guesses[0], passed.shape))
            _, sites = maps.pop(passed.value, (guesses, []))
            maps[passed.value] = guesses, [*sites, passed]
        self.maps = maps
        return maps

    def _module(self, site: Site) -> nn.Module | None:
        return self.model.get_submodule(site.module) if site.side == "output" else None

    def _last(self, maps: _Maps) -> Iterator[tuple[_Passed, float]]:
        """Maps through which all ways lead, or nearly all, the latest first; as they enter a module or leave one."""
        for share in _SHARES:
            for value, (_, passed) in reversed(maps.items()):
                if self.path.share(value) < share or not self.path.is_spread(value):
                    continue
                sites = [site for site, _, _ in passed]
                last = max((index for index, site in enumerate(sites) if site.side == "output"), default=None)
                if last is None:
                    yield passed[0], share
                # The linear layer that makes keys and values of the features is part of what reads them.
                elif not isinstance(self.model.get_submodule(sites[last].module), nn.Linear):
                    candidates = [*passed[last + 1 : last + 2], *reversed(passed[: last + 1])]
                    yield from ((candidate, share) for candidate in candidates)

    def _named(self, maps: _Maps, features: str) -> Iterator[tuple[_Passed, float]]:
        for _, sites in reversed(maps.values()):
            for passed in reversed(sites):
                if passed.site.module == features and passed.site.side == "output":
                    yield passed, 0.0

    def _spread(self, maps: _Maps) -> str | None:
        """The last layer all of whose positions reach the logits."""
        for value, (_, sites) in reversed(maps.items()):
            for passed in reversed(sites):
                if self.path.share(value) >= 1 and self.path.is_spread(value) and passed.site.side == "output":
                    return passed.site.module
        return None

    def _is_verified(self, route: Route, share: float) -> bool:
        """Whether the features lie on the path, on that share of all ways, once they are taken out and put back."""
        seen: list[Tensor] = []

        def through(tensor: Tensor) -> Tensor:
            # A value of its own: what reads the module's output another way shows up as a way around it.
            seen.append(route.grid.features(tensor).clone())
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

    def _no_features(self, maps: _Maps, features: str | None) -> str:
        size = tuple(self.shape[2:])
        handed_out = [(site.module, shape) for site, shape, _ in reversed(self.passed) if site.side == "output"]
        shapes = {
            passed.site.module: grid.features(torch.empty(passed.shape, device="meta")).shape[1:]
            for guesses, sites in reversed(maps.values())
            for passed in reversed(sites)
            if passed.site.side == "output" and (grid := self._place(passed, guesses)) is not None
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
