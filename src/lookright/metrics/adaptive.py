"""Curves from a share of their points: bisection where they bend, straight lines between.

Points are computed for all curves of a batch together, so that forwards fill their chunks and go to the curves that
need them.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

ROUNDS = 4
"""In so many parts what is left of the budget is spent: each looks at what the last found."""


def bisect(
    score: Callable[[Tensor, Tensor], Tensor], curves: int, points: int, budget: float, device: torch.device
) -> tuple[Bool[Tensor, "curves points"], Float[Tensor, "curves points"]]:
    """Compute a share of the points, and more of them where a curve bends.

    Ends, middle and quarters come first. Then the pieces with the largest |f''| w³ / 12, the error of the trapezoidal
    rule on a piece of width w, are halved, f'' being told from the slopes of the pieces beside.

    Args:
        score: of points `point` (n,) of curves `index` (n,).
        curves: how many.
        points: of each curve.
        budget: share of all points that are computed, at least both ends of each curve; 1: all.
        device: of the result.

    Returns:
        Which points are computed, and their values, 0 elsewhere.
    """
    computed = torch.zeros(curves, points, dtype=torch.bool, device=device)
    values = torch.zeros(curves, points, device=device)

    def compute(index: Tensor, point: Tensor) -> None:
        computed[index, point] = True
        values[index, point] = score(index, point)

    allowed = int(budget * points)
    parts = next(parts for parts in (points - 1, 4, 2, 1) if parts == 1 or (parts < points and parts < allowed))
    first = torch.linspace(0, points - 1, parts + 1, device=device).round().long()
    compute(*(part.flatten() for part in torch.meshgrid(torch.arange(curves, device=device), first, indexing="ij")))
    left = int(budget * curves * points) - curves * len(first)
    for turn in range(ROUNDS, 0, -1):
        share = -(-left // turn)
        if share < 1:
            break
        index, start, width, error = _pieces(values, computed)
        halved = error.topk(min(share, len(error))).indices
        halved = halved[error[halved] > 0]
        compute(index[halved], start[halved] + width[halved] // 2)
        left -= len(halved)
    return computed, values


def _pieces(values: Tensor, computed: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of each straight piece: its curve, first point, width in points, and error; 0 where no point lies between."""
    index, point = computed.nonzero(as_tuple=True)
    value = values[index, point]
    inside = index[1:] == index[:-1]
    index, start, width = index[:-1][inside], point[:-1][inside], point.diff()[inside]
    slope = value.diff()[inside] / width
    bend = torch.zeros_like(slope)
    beside = index[1:] == index[:-1]
    second = torch.where(beside, 2 * slope.diff().abs() / (width[1:] + width[:-1]), 0)
    bend[:-1] = second
    bend[1:] = torch.maximum(bend[1:], second)
    return index, start, width, torch.where(width > 1, bend * width**3 / 12, 0)


def interpolate(
    values: Float[Tensor, "curves points"], computed: Bool[Tensor, "curves points"]
) -> Float[Tensor, "curves points"]:
    """Straight lines between computed points; both ends must be computed.

    >>> interpolate(torch.tensor([[1.0, 0.0, 0.0, 4.0]]), torch.tensor([[True, False, False, True]]))
    tensor([[1., 2., 3., 4.]])
    """
    before, after = _neighbours(computed)
    point = torch.arange(values.shape[1], device=values.device)
    share = (point - before) / (after - before).clamp_min(1)
    return torch.where(computed, values, torch.lerp(values.gather(1, before), values.gather(1, after), share))


def monotone_bound(
    curve: Float[Tensor, "curves points"], computed: Bool[Tensor, "curves points"]
) -> Float[Tensor, " curves"]:
    """How far the area under all points may lie from that under the lines, where curves are monotone between.

    Of k steps of width 1/n between two computed points that differ by Δ, the trapezoidal rule over all of them lies
    within |Δ| (k − 1) / 2n of the straight line: the extremes jump behind the first point or before the last.

    >>> monotone_bound(torch.tensor([[0.0, 0.5, 1.0]]), torch.tensor([[True, False, True]]))
    tensor([0.2500])
    """
    before, after = _neighbours(computed)
    rise = (curve.gather(1, after) - curve.gather(1, before)).abs()
    # Each of the k − 1 points between counts its piece once.
    return torch.where(computed, 0, rise).sum(1) / (2 * max(curve.shape[1] - 1, 1))


def _neighbours(computed: Tensor) -> tuple[Tensor, Tensor]:
    """The last computed point up to each, and the first from each on."""
    point = torch.arange(computed.shape[1], device=computed.device).expand(computed.shape)
    before = torch.where(computed, point, 0).cummax(1).values
    after = torch.where(computed, point, computed.shape[1] - 1).flip(1).cummin(1).values.flip(1)
    return before, after
