"""What every reader of a format gives: images, and what is marked in each."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Shaped, UInt
from PIL import Image, ImageDraw

from lookright.errors import InputError

MOST_PIXELS = 100_000_000

FURTHEST = 1_000_000
"""Pixels from an image's corner to a point that is marked; whoever draws may leave the image, but not by more."""


@dataclass
class Annotated:
    """An image and what is marked in it.

    Attributes:
        image: its file.
        marked: for each name, where it is: (H, W), booleans, or shares in [0, 1]. A name that is marked nowhere has an
            empty mask.
        ignore: pixels of which nobody knows.
        label: of the image, where the format gives it one; else it follows from what is marked.
        split: where the format names one.
        group: likewise.
        pixels: the picture, where `image` is none that is read elsewhere; `image` is then the PNG to write.
    """

    image: Path
    marked: Mapping[str, Shaped[np.ndarray, "H W"]] = field(default_factory=dict)
    ignore: Bool[np.ndarray, "H W"] | None = None
    label: str | None = None
    split: str | None = None
    group: str | None = None
    pixels: UInt[np.ndarray, "H W *C"] | None = None


@dataclass(frozen=True)
class Format:
    """A reader.

    Attributes:
        name: on the command line.
        about: what the user has to give.
        recognises: whether a file or folder looks like one of this format.
        read: gives the images of a file or folder; raises InputError where it is broken.
    """

    name: str
    about: str
    recognises: Callable[[Path], bool]
    read: Callable[[Path], Iterator[Annotated]]


def polygon(points: list[tuple[float, float]], height: int, width: int) -> Bool[np.ndarray, "H W"]:
    """The pixels of a polygon, its outline included."""
    require_size(height, width)
    require_coordinates(value for point in points for value in point)
    canvas = Image.new("1", (width, height))
    if len(points) >= 2:
        ImageDraw.Draw(canvas).polygon([(float(x), float(y)) for x, y in points], fill=1, outline=1)
    return np.array(canvas)


def rectangle(x0: float, y0: float, x1: float, y1: float, height: int, width: int) -> Bool[np.ndarray, "H W"]:
    """The pixels whose centres lie between two corners."""
    require_size(height, width)
    require_coordinates((x0, y0, x1, y1))
    mask = np.zeros((height, width), bool)
    left, right = sorted((max(round(x0), 0), max(round(x1), 0)))
    top, bottom = sorted((max(round(y0), 0), max(round(y1), 0)))
    mask[top:bottom, left:right] = True
    return mask


def runs(counts: list[int], size: int) -> Bool[np.ndarray, " size"]:
    """Run lengths, the first of zeros, as a flat mask.

    >>> runs([1, 2, 1], 4).tolist()
    [False, True, True, False]

    Raises:
        InputError: the runs do not add up to the size.
    """
    if size > MOST_PIXELS or min(counts, default=0) < 0 or sum(counts) != size:
        raise InputError(f"Run lengths of {sum(counts)} pixels for a mask of {size}; expected them to agree.")
    return np.repeat(np.arange(len(counts)) % 2 == 1, counts)


def run_counts(flat: Bool[np.ndarray, " size"]) -> list[int]:
    """The run lengths of a flat mask, the first of zeros: what `runs` undoes.

    >>> run_counts(np.array([True, True, False]))
    [0, 2, 1]
    """
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    return [0, *counts] if flat[0] else counts


def require_size(height: int, width: int) -> None:
    """Refuse a size that no image has.

    Raises:
        InputError: less than one pixel, or more than `MOST_PIXELS`.
    """
    if height < 1 or width < 1 or height * width > MOST_PIXELS:
        raise InputError(f"An image of {width} by {height} pixels is claimed; expected 1 to {MOST_PIXELS:,} pixels.")


def require_coordinates(values: Iterable[object]) -> None:
    """Refuse places that no image has, before anything draws them.

    Raises:
        InputError: no number, one that is not finite, or one beyond `FURTHEST`.
    """
    for value in values:
        if not isinstance(value, int | float) or not math.isfinite(value) or abs(value) > FURTHEST:
            raise InputError(f"A coordinate {value!r}; expected numbers of pixels, at most {FURTHEST:,}.")


def union(masks: Mapping[str, Shaped[np.ndarray, "H W"]], name: str, mask: Shaped[np.ndarray, "H W"]) -> dict:
    """The masks with one more under a name, united with what is there."""
    return {**masks, name: np.maximum(masks[name], mask) if name in masks else mask}


def within(folder: Path, name: str) -> Path:
    """A file that an annotation names, by its path in the folder or by its name alone.

    Raises:
        InputError: it lies outside of the folder, or there is none.
    """
    name = name.replace("\\", "/")
    for candidate in (folder / name, folder / Path(name).name, folder / "images" / Path(name).name):
        if candidate.is_file():
            if not candidate.resolve().is_relative_to(folder.resolve()):
                raise InputError(f"File {name!r} lies outside of {str(folder)!r}; expected files within the folder.")
            return candidate
    raise InputError(f"No file {name!r} in {str(folder)!r}, which an annotation names.")
