"""The part of the autograd graph that lies between an image and the logits computed from it."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import Node, get_gradient_edge

# What a node of the graph does to the positions of a map: starts of names.
_MIXES = ("Bmm", "Baddbmm", "ScaledDotProduct", "Convolution")
_POOLS = ("Mean", "Sum", "Max", "Amax", "AdaptiveAvgPool", "AvgPool", "AdaptiveMaxPool")
_DROPS = ("Select", "Slice", "Index", "Gather", "Split", "Unbind", "Unfold")
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

    @property
    def is_view(self) -> bool:
        """Whether it has another value's numbers, in any order."""
        return self.operation in _RESHAPES + _PERMUTES


def vertex(tensor: Tensor) -> Vertex | None:
    """The value that a tensor holds, after all in-place changes so far; None outside any graph."""
    if not (torch.is_tensor(tensor) and tensor.requires_grad):
        return None
    return Vertex(*get_gradient_edge(tensor)[:2])


class Reading(NamedTuple):
    """What happens to the positions of a map on one of the ways from it to the logits."""

    dropped: bool
    pooled: bool
    mixed: bool


class Path:
    """All ways from `start` (an image) to `end` (its logits).

    Attributes:
        following: each value on a way, with the values it was computed from, as far as they depend on the image.
        readings: for each value, what happens to it on the ways to the logits.
    """

    def __init__(self, end: Tensor, start: Tensor) -> None:
        self.end, self.start = vertex(end), vertex(start)
        self.following: dict[Vertex, list[Vertex]] = {}
        if self.end is None:
            return
        towards_start = self._sort(self.end)
        reaching = {self.start}
        for value in towards_start:
            sources = [source for source in _sources(value) if source in reaching]
            if sources or value == self.start:
                reaching.add(value)
                self.following[value] = sources
        self._below = {self.start: 1}
        for value, sources in self.following.items():
            if value != self.start:
                self._below[value] = sum(self._below[source] for source in sources)
        self._above = dict.fromkeys(self.following, 0)
        self.readings: dict[Vertex, set[Reading]] = {value: set() for value in self.following}
        if self.end in self.following:
            self._above[self.end] = 1
            self.readings[self.end].add(Reading(False, False, False))
        for value in reversed(self.following):
            name = value.operation
            for source in self.following[value]:
                self._above[source] += self._above[value]
                self.readings[source] |= {
                    Reading(
                        dropped or name.startswith(_DROPS),
                        pooled or (name.startswith(_POOLS) and not getattr(value.node, "_saved_keepdim", False)),
                        mixed or name.startswith(_MIXES),
                    )
                    for dropped, pooled, mixed in self.readings[value]
                }

    def __contains__(self, value: Vertex | None) -> bool:
        return value in self.following

    def is_cut(self, value: Vertex) -> bool:
        """Whether every way passes here: all that the logits know of the image, this value knows.

        The ways through a value are those above it times those below.
        """
        return self._above[value] * self._below[value] == self._below[self.end]

    def is_spread(self, value: Vertex) -> bool:
        """Whether all positions of this map reach the logits, and not only the class token's.

        Either tokens are mixed later on, or none is dropped before pooling.
        """
        readings = self.readings[value]
        return any(reading.mixed for reading in readings) or Reading(True, False, False) not in readings

    def is_average_then_linear(self, value: Vertex, prefix: int) -> bool:
        """Whether the logits are one linear layer on the mean over the positions of this map: CAM is exact."""
        average = linear = 0
        step = self.end
        while step != value:
            if step.operation in ("Mean", "AdaptiveAvgPool2D"):
                average += 1
            elif step.operation in ("Addmm", "Mm", "Convolution"):
                linear += 1
            elif step.operation == "Slice":
                if not prefix or (step.node._saved_dim, step.node._saved_start) != (1, prefix):
                    return False
                prefix = 0
            elif not step.is_view:
                return False
            if len(self.following[step]) != 1:
                return False
            (step,) = self.following[step]
        return average == linear == 1 and prefix == 0

    def reachable(self, values: Iterable[Vertex | None]) -> set[Vertex]:
        """These values and all that they were computed from."""
        seen: set[Vertex] = set()
        pending = [value for value in values if value in self.following]
        while pending:
            value = pending.pop()
            if value not in seen:
                seen.add(value)
                pending += self.following[value]
        return seen

    def is_reached_without(self, removed: Iterable[Vertex]) -> bool:
        """Whether a way remains when these values are taken out."""
        seen, pending = set(removed), [self.end]
        while pending:
            value = pending.pop()
            if value == self.start and value not in seen:
                return True
            if value not in seen:
                seen.add(value)
                pending += self.following[value]
        return False

    @staticmethod
    def _sort(end: Vertex) -> list[Vertex]:
        """Every value that `end` was computed from, sources before what they give."""
        order: list[Vertex] = []
        seen = {end}
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


def _sources(value: Vertex) -> list[Vertex]:
    return [Vertex(*source) for source in value.node.next_functions if source[0] is not None]
