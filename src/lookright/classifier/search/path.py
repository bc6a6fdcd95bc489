"""The part of the autograd graph that lies between an image and the logits computed from it."""

from collections.abc import Container, Iterable
from typing import NamedTuple

from torch import Tensor
from torch.autograd.graph import Node, get_gradient_edge

# What an operation does to the positions of a map: starts of names.
_MIXES = ("Bmm", "Baddbmm", "ScaledDotProduct", "Convolution")
_POOLS = ("Mean", "Sum", "Max", "Amax", "AdaptiveAvgPool", "AvgPool", "AdaptiveMaxPool")
_DROPS = ("Select", "Slice", "Index", "Gather", "Split", "Unbind", "Unfold")
_FEW = 4  # Layers that may follow the features unremarked.
# Whole names.
_RESHAPES = ("View", "UnsafeView", "ReshapeAlias", "Squeeze", "Unsqueeze", "Alias", "Clone", "ToCopy")
_PERMUTES = ("Permute", "Transpose")


class Vertex(NamedTuple):
    """A value of the graph: one output of one node."""

    node: Node
    output: int

    @property
    def operation(self) -> str:
        """What computed the value, as torch's derivatives.yaml calls it."""
        return self.node.name().rstrip("0123456789").removesuffix("Backward")

    @property
    def is_reshape(self) -> bool:
        """Whether it has another value's numbers, in the same order."""
        return self.operation in _RESHAPES


class Reading(NamedTuple):
    """What happens to the positions of a map on one of the ways from it to the logits."""

    dropped: bool = False
    pooled: bool = False
    mixed: bool = False

    def after(self, value: Vertex) -> "Reading":
        """The reading of what `value` was computed from."""
        name, node = value.operation, value.node
        # A mean that keeps its axis normalises channels; one over the first axis averages heads.
        pools = not getattr(node, "_saved_keepdim", False) and getattr(node, "_saved_dim", None) not in (0, (0,))
        return Reading(
            self.dropped or name.startswith(_DROPS),
            self.pooled or (name.startswith(_POOLS) and pools),
            self.mixed or name.startswith(_MIXES),
        )


class Path:
    """All ways from `start`, an image, to `end`, its logits.

    Attributes:
        sources: each value on a way, with the values on a way that it was computed from; sources come first.
    """

    def __init__(self, end: Vertex, start: Vertex) -> None:
        self.start, self.end = start, end
        self.sources: dict[Vertex, list[Vertex]] = {}
        for value in _sorted(end):
            sources = [source for source in _sources(value) if source in self.sources]
            if sources or value == start:
                self.sources[value] = sources
        self._ways_below: dict[Vertex, int] = {}
        for value, sources in self.sources.items():
            self._ways_below[value] = sum(self._ways_below[source] for source in sources) or 1
        self._ways_above = dict.fromkeys(self.sources, 0)
        self._readings: dict[Vertex, set[Reading]] = {value: set() for value in self.sources}
        if self.end in self.sources:
            self._ways_above[self.end] = 1
            self._readings[self.end].add(Reading())
        for value, sources in reversed(self.sources.items()):
            readings = {reading.after(value) for reading in self._readings[value]}
            for source in sources:
                self._ways_above[source] += self._ways_above[value]
                self._readings[source] |= readings

    def __contains__(self, value: Vertex | None) -> bool:
        return value in self.sources

    def share(self, value: Vertex) -> float:
        """The share of all ways that pass here: at 1, this value knows all that the logits know of the image.

        The ways through a value are those above it times those below.
        """
        if value not in self.sources:
            return 0.0
        return self._ways_above[value] * self._ways_below[value] / self._ways_below[self.end]

    def is_spread(self, value: Vertex) -> bool:
        """Whether all positions of this map reach the logits, and not only the class token's.

        Either tokens are mixed later on, or none is dropped before pooling.
        """
        readings = self._readings[value]
        return any(reading.mixed for reading in readings) or Reading(dropped=True) not in readings

    def is_dropped(self, value: Vertex) -> bool:
        """Whether on every way from this map to the logits positions are dropped, and none mixed or pooled before."""
        return self._readings[value] == {Reading(dropped=True)}

    def is_early(self, value: Vertex) -> bool:
        """Whether most of what mixes positions (convolution, attention) follows this map."""
        mixing = {step for step in self.sources if step.operation.startswith(_MIXES)}
        before = len(mixing & self.below([value]))
        return len(mixing) - before > max(before, _FEW)

    def is_average_then_linear(self, value: Vertex, prefix: int, suffix: int = 0) -> bool:
        """Whether the operations from this map to the logits are those of one linear layer on the mean of the map.

        They are counted, whatever their axes.
        """
        average = linear = 0
        without_others = not (prefix or suffix)
        step = self.end
        while step != value:
            if step.operation in ("Mean", "AdaptiveAvgPool2D"):
                average += 1
            elif step.operation in ("Addmm", "Mm", "Convolution"):
                linear += 1
            elif step.operation == "Slice" and not without_others:
                without_others = True
            elif not (step.is_reshape or step.operation in _PERMUTES or self._is_mean_in_another_layout(step)):
                return False
            if len(self.sources[step]) != 1:
                return False
            (step,) = self.sources[step]
        return average == linear == 1 and without_others

    def _is_mean_in_another_layout(self, value: Vertex) -> bool:
        """Global average pooling of a channels-last map."""
        return value.operation == "AsStrided" and [source.operation for source in self.sources[value]] == ["Mean"]

    def nearest(self, wanted: Container[Vertex]) -> list[Vertex]:
        """The wanted values that are reached from the end without passing another."""
        found: dict[Vertex, None] = {}
        seen, pending = set(), [self.end]
        for value in pending:
            if value in wanted:
                found[value] = None
            elif value not in seen:
                seen.add(value)
                pending += self.sources[value]
        return list(found)

    def below(self, values: Iterable[Vertex]) -> set[Vertex]:
        """These values and all that they were computed from."""
        seen, pending = set(), list(values)
        while pending:
            value = pending.pop()
            if value not in seen:
                seen.add(value)
                pending += self.sources[value]
        return seen


def vertex(tensor: Tensor) -> Vertex | None:
    """The value that a tensor holds, after all in-place changes so far; None outside any graph."""
    if not tensor.requires_grad:
        return None
    edge = get_gradient_edge(tensor)
    return Vertex(edge.node, edge.output_nr)


def _sources(value: Vertex) -> list[Vertex]:
    return [Vertex(node, output) for node, output in value.node.next_functions if node is not None]


def _sorted(end: Vertex) -> list[Vertex]:
    """Every value that `end` was computed from, sources first."""
    order, seen = [], {end}
    pending = [(end, iter(_sources(end)))]
    while pending:
        value, sources = pending[-1]
        source = next((source for source in sources if source not in seen), None)
        if source is None:
            order.append(value)
            pending.pop()
        else:
            seen.add(source)
            pending.append((source, iter(_sources(source))))
    return order
