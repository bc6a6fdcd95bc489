"""Pascal VOC: `JPEGImages/`, and in `SegmentationClass/` PNGs whose indices or colours are classes.

`labelmap.txt` (of CVAT's "Segmentation mask 1.1": `name:R,G,B::`) names the colours; without one they are VOC's own.
Background is black, and 255 or its colour is void: ignored.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from lookright.data.encoding import VOID
from lookright.data.formats.annotated import Annotated, Format
from lookright.errors import InputError

CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)


def colour(index: int) -> tuple[int, int, int]:
    """The colour of a class in VOC's palette: its bits spread over the channels, from the highest bit down.

    >>> colour(1), colour(15), colour(255)
    ((128, 0, 0), (192, 128, 128), (224, 224, 192))
    """
    channels = [0, 0, 0]
    for place in range(8):
        for channel in range(3):
            channels[channel] |= ((index >> (3 * place + channel)) & 1) << (7 - place)
    return channels[0], channels[1], channels[2]


def read(folder: Path) -> Iterator[Annotated]:
    """The images of a folder that have a mask; `ImageSets/Segmentation/NAME.txt` name splits.

    Raises:
        InputError: a mask has a colour that is no class, or no image.
    """
    names = _names(folder)
    splits = {
        line.strip(): path.stem
        for path in sorted((folder / "ImageSets/Segmentation").glob("*.txt"))
        if path.stem in ("train", "val", "test")
        for line in path.read_text().splitlines()
    }
    for path in sorted((folder / "SegmentationClass").glob("[!.]*.png")):
        image = next((folder / "JPEGImages").glob(f"{_escaped(path.stem)}.*"), None)
        if image is None:
            raise InputError(f"No image of {str(path)!r} in {str(folder / 'JPEGImages')!r}.")
        with Image.open(path) as mask:
            if mask.mode == "L":  # indices that have lost their palette
                mask.putpalette([value for index in range(256) for value in colour(index)])
            ids = np.array(mask.convert("RGB")).astype(np.int64) @ np.array([1, 256, 65536])
        unknown = set(np.unique(ids).tolist()) - set(names) - {0, VOID}
        if unknown:
            red, green, blue = (min(unknown) >> shift & 255 for shift in (0, 8, 16))
            raise InputError(f"{str(path)!r} has the colour {red},{green},{blue}, which labelmap.txt does not name.")
        marked = {names[number]: ids == number for number in np.unique(ids).tolist() if number in names}
        void = ids == VOID if VOID not in names else np.zeros_like(ids, bool)
        yield Annotated(image, marked, void if void.any() else None, split=splits.get(path.stem))


def _names(folder: Path) -> dict[int, str]:
    """Each colour's class, as R + 256·G + 65536·B."""
    path = folder / "labelmap.txt"
    if not path.is_file():
        return {_id(colour(index)): name for index, name in enumerate(CLASSES) if index}
    names: dict[int, str] = {}
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    for index, line in enumerate(lines):
        name, _, rest = line.partition(":")
        values = rest.split(":")[0]
        numbers = tuple(int(value) for value in values.split(",")) if values else colour(index)
        if name != "background" and len(numbers) == 3:
            names[_id(numbers)] = name
    return names


def _id(numbers: tuple[int, ...]) -> int:
    return numbers[0] + 256 * numbers[1] + 65536 * numbers[2]


def _escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


FORMAT = Format(
    "voc",
    "a folder with JPEGImages and SegmentationClass (Pascal VOC, CVAT's segmentation mask 1.1)",
    lambda path: (path / "SegmentationClass").is_dir() and (path / "JPEGImages").is_dir(),
    read,
)
