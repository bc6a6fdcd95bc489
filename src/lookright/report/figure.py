"""Figures as inline SVG that takes its colours and its font from the page, so that it follows light and dark."""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lookright.report.comparison import Score
from lookright.statistics import CriticalDifferences, mean_interval

MARKERS = "osD^vPX*"
SIZE = (4.0, 3.1)
SERIES = len(MARKERS)
# The same shapes as SVG paths around the origin, for the page's legends.
MARKER_PATHS = (
    "M-5 0A5 5 0 1 0 5 0A5 5 0 1 0 -5 0Z",
    "M-4.5 -4.5H4.5V4.5H-4.5Z",
    "M0 -6L6 0L0 6L-6 0Z",
    "M0 -5.5L5.5 4.5H-5.5Z",
    "M0 5.5L5.5 -4.5H-5.5Z",
    "M-2 -6H2V-2H6V2H2V6H-2V2H-6V-2H-2Z",
    "M-3 -6L0 -3L3 -6L6 -3L3 0L6 3L3 6L0 3L-3 6L-6 3L-3 0L-6 -3Z",
    "M0 -6.5L1.6 -2.1H6.2L2.6 .8L3.8 5.3L0 2.7L-3.8 5.3L-2.6 .8L-6.2 -2.1H-1.6Z",
)
# Colours that occur nowhere else; the page's own take their place in the SVG.
_INK = "#010203"
_SERIES = [f"#0a0b{index:02x}" for index in range(SERIES)]


@contextmanager
def _axes(name: str) -> Iterator[tuple[Axes, list[Markup]]]:
    """Axes to draw on; the list receives the SVG when they are done. `name` keeps ids of several figures apart."""
    style: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": name,
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": _INK,
        "axes.labelcolor": _INK,
        "xtick.color": _INK,
        "ytick.color": _INK,
        "axes.linewidth": 0.8,
        "axes.axisbelow": True,
        "axes.grid": True,
        "grid.color": _INK,
        "grid.alpha": 0.12,
        "grid.linewidth": 0.8,
        "text.parse_math": False,
    }
    drawn: list[Markup] = []
    with mpl.rc_context(style):
        figure = Figure(figsize=SIZE)
        # The same frame in every figure: axes line up, and no layout has to be solved.
        yield figure.add_axes((0.19, 0.16, 0.78, 0.81)), drawn
        stream = io.StringIO()
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = stream.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2).replace(_INK, "currentColor")
    for index, colour in enumerate(_SERIES):
        svg = svg.replace(colour, f"var(--series-{index})")
    drawn.append(Markup(re.sub(r">\s+<", "><", svg).replace("<svg", '<svg aria-hidden="true"', 1)))


def accuracy_against_attention(name: str, methods: Sequence[tuple[Score | None, Score | None]]) -> Markup:
    """One small point per run, the mean per method with its intervals.

    Args:
        name: unique on the page.
        methods: energy in mask and accuracy of each method, None where it has no value.
    """
    with _axes(name) as (axes, drawn):
        for index, (across, up) in enumerate(methods):
            if across is None or up is None:
                continue
            colour, marker = _look(index)
            values = dict(zip(up.seeds, up.values, strict=True))
            runs = [
                (value, values[seed]) for seed, value in zip(across.seeds, across.values, strict=True) if seed in values
            ]
            if runs:
                across_runs, up_runs = zip(*runs, strict=True)
                axes.scatter(across_runs, up_runs, s=16, color=colour, marker=marker, alpha=0.4, linewidths=0)
            axes.errorbar(
                across.mean.value,
                up.mean.value,
                xerr=_half(across),
                yerr=_half(up),
                color=colour,
                marker=marker,
                markersize=8,
                linewidth=1.4,
                capsize=0,
            )
        axes.set_xlabel("Energy in mask")
        axes.set_ylabel("Accuracy")
        axes.margins(0.12)
        axes.locator_params(nbins=5)
    return drawn[0]


def curve(name: str, label: str, fraction: np.ndarray, curves: Sequence[np.ndarray]) -> Markup:
    """Mean curve per method over its runs, with the band of the pointwise 95 % interval where there is one.

    Args:
        name: unique on the page.
        label: what the horizontal axis counts.
        fraction: (S,) share of the pixels.
        curves: per method (runs, S) mean probability of the target.
    """
    with _axes(name) as (axes, drawn):
        for index, runs in enumerate(curves):
            if not len(runs):
                continue
            points = [mean_interval(column) for column in runs.T]
            colour, marker = _look(index)
            axes.plot(
                fraction,
                [point.value for point in points],
                color=colour,
                linewidth=1.8,
                marker=marker,
                markevery=(index, max(1, len(fraction) // 6)),
                markersize=5,
            )
            axes.fill_between(
                fraction,
                [point.low for point in points],
                [point.high for point in points],
                color=colour,
                alpha=0.15,
                linewidth=0,
            )
        axes.set_xlabel(label)
        axes.set_ylabel("Probability of the target")
        axes.set_xlim(0, 1)
        axes.set_ylim(bottom=0)
    return drawn[0]


def reliability(name: str, methods: Sequence[tuple[np.ndarray, np.ndarray]]) -> Markup:
    """Accuracy against confidence, bin by bin; on the diagonal a model is as right as it is sure.

    Args:
        name: unique on the page.
        methods: confidence and accuracy of each method's bins; empty where it has none.
    """
    with _axes(name) as (axes, drawn):
        axes.plot([0, 1], [0, 1], color=_INK, alpha=0.4, linewidth=1, linestyle="--")
        for index, (confidence, accuracy) in enumerate(methods):
            if len(confidence):
                colour, marker = _look(index)
                axes.plot(confidence, accuracy, color=colour, linewidth=1.6, marker=marker, markersize=5)
        axes.set_xlabel("Confidence")
        axes.set_ylabel("Accuracy")
        axes.set_xlim(0, 1.02)
        axes.set_ylim(0, 1.02)
    return drawn[0]


def critical_differences(name: str, found: CriticalDifferences, methods: Sequence[str]) -> Markup:
    """Mean ranks, the best on the left; a bar joins methods that are not told apart.

    Args:
        name: unique on the page.
        found: the ranks.
        methods: all that the page shows, in the order of their colours.
    """
    with _axes(name) as (axes, drawn):
        lines = len(found.names)
        for line, (method, rank) in enumerate(zip(found.names, found.ranks, strict=True)):
            colour, marker = _look(methods.index(method))
            axes.plot(rank, -line, color=colour, marker=marker, markersize=8)
            axes.annotate(
                method, (rank, -line), (9, 0), textcoords="offset points", va="center", color=_INK, fontsize=9
            )
        for number, (first, last) in enumerate(found.groups):
            height = -lines - 0.4 * number
            axes.plot([found.ranks[first], found.ranks[last]], [height] * 2, color=_INK, linewidth=3)
        axes.plot([1, 1 + found.difference], [1, 1], color=_INK, linewidth=1.2, marker="|")
        axes.annotate("critical difference", (1, 1), (0, 5), textcoords="offset points", color=_INK, fontsize=8)
        axes.set_xlabel("Mean rank")
        axes.set_xlim(0.8, max(lines, 1 + found.difference) + 0.9)
        axes.set_ylim(-lines - 0.4 * len(found.groups) - 0.2, 1.9)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
    return drawn[0]


def _look(index: int) -> tuple[str, str]:
    return _SERIES[index % SERIES], MARKERS[shape(index)]


def shape(index: int) -> int:
    """Which marker a method has: past the last colour each colour takes the next one."""
    return (index + index // SERIES) % SERIES


def _half(score: Score) -> float | None:
    half = score.mean.high - score.mean.value
    return None if np.isnan(half) else half
