"""What an annotator does to a mask, as pixels.

A mask that is being drawn has one number a pixel: `EVIDENCE`, `NUISANCE` (what must not matter), `IGNORE` (nobody
knows) or `BACKGROUND`. Coordinates are pixels of the upright image, (0, 0) its upper left corner.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image, ImageDraw

from lookright.errors import InputError, require_one_of

BACKGROUND, NUISANCE, IGNORE, EVIDENCE = 0, 64, 128, 255
PAINTS = {"evidence": EVIDENCE, "nuisance": NUISANCE, "ignore": IGNORE, "erase": BACKGROUND}
MOST_POINTS = 20_000

Codes = UInt8[np.ndarray, "H W"]


def drawn(codes: Codes, operation: Mapping[str, Any]) -> Codes:
    """The mask after a shape was drawn: a new array.

    Args:
        codes: the mask before.
        operation: `paint`, one of `PAINTS`, and a `shape`: `box` with `points` [[x0, y0], [x1, y1]]; `polygon` with
            three or more; `stroke` with one or more, and the `width` of the brush; or `nothing`: no pixel of the image
            is evidence.

    Raises:
        InputError: anything else.

    >>> drawn(np.zeros((2, 4), np.uint8), {"shape": "box", "paint": "evidence", "points": [[1, 0], [3, 1]]}).tolist()
    [[0, 255, 255, 0], [0, 0, 0, 0]]
    """
    shape = operation.get("shape")
    require_one_of("shape", shape, ("box", "polygon", "stroke", "nothing"))
    if shape == "nothing":
        return np.zeros_like(codes)
    height, width = codes.shape
    least = {"box": 2, "polygon": 3, "stroke": 1}[str(shape)]
    points = _points(operation.get("points"), least, max(height, width))
    marked = Image.new("1", (width, height))
    draw = ImageDraw.Draw(marked)
    if shape == "box":
        (left, right), (top, bottom) = (sorted(axis) for axis in zip(*points[:2], strict=True))
        if round(right) > round(left) and round(bottom) > round(top):
            draw.rectangle((round(left), round(top), round(right) - 1, round(bottom) - 1), fill=1)
    elif shape == "polygon":
        draw.polygon(points, fill=1)
    else:
        _stroke(draw, points, _number(operation.get("width"), "width", 1, 2 * max(height, width)))
    return painted(codes, np.array(marked), operation.get("paint"))


def painted(codes: Codes, marked: Bool[np.ndarray, "H W"], paint: object) -> Codes:
    """The mask with one of `PAINTS` wherever something is marked.

    Raises:
        InputError: no such paint.
    """
    require_one_of("paint", paint, PAINTS)
    return np.where(marked, np.uint8(PAINTS[str(paint)]), codes)


def _stroke(draw: ImageDraw.ImageDraw, points: list[tuple[float, float]], width: float) -> None:
    """A line with round ends."""
    radius = width / 2
    for x, y in points:
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=1)
    if len(points) > 1:
        draw.line(points, fill=1, width=max(round(width), 1))


def _points(given: object, least: int, size: int) -> list[tuple[float, float]]:
    if not (isinstance(given, list) and least <= len(given) <= MOST_POINTS):
        raise InputError(f"points has to be a list of {least} to {MOST_POINTS} points [x, y].")
    found = []
    for point in given:
        if not (isinstance(point, list) and len(point) == 2):
            raise InputError(f"{str(point)[:80]!r} is no point; expected [x, y].")
        x, y = (_number(value, "a coordinate", -math.inf, math.inf) for value in point)
        found.append((min(max(x, -size), 2.0 * size), min(max(y, -size), 2.0 * size)))
    return found


def _number(given: object, name: str, least: float, most: float) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float) or not least <= given <= most:
        raise InputError(f"{name} is {str(given)[:80]}; expected a number.")
    return float(min(max(given, -1e9), 1e9))
