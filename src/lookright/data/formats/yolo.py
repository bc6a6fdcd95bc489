"""YOLO segmentation: `data.yaml` with names, `images/SPLIT/`, and in `labels/SPLIT/` lines `class x1 y1 x2 y2 ...`.

Coordinates are fractions of the image. A line of four numbers behind the class is a box: centre, width, height.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lookright.data.formats.annotated import Annotated, Format, polygon, rectangle, union
from lookright.data.images import read_header
from lookright.errors import InputError
from lookright.yaml_file import read_yaml

SPLITS = {"train": "train", "val": "val", "valid": "val", "test": "test"}


def read(folder: Path) -> Iterator[Annotated]:
    """The images of a folder, those without a file of labels left out.

    Raises:
        InputError: `data.yaml` or a line cannot be read.
    """
    names = _names(folder / "data.yaml")
    for path in sorted((folder / "labels").glob("**/[!.]*.txt")):
        place = path.relative_to(folder / "labels")
        image = next(iter(sorted((folder / "images" / place.parent).glob(f"{place.stem}.*"))), None)
        if image is None:
            raise InputError(f"No image of {str(path)!r} in {str(folder / 'images' / place.parent)!r}.")
        width, height = read_header(image).upright
        marked: dict[str, np.ndarray] = {}
        for line in path.read_text().splitlines():
            try:
                number, *numbers = line.split()
                values = [float(value) for value in numbers]
                name = names[int(number)]
                if len(values) < 4 or len(values) % 2:
                    raise ValueError
            except (ValueError, KeyError):
                raise InputError(f"Line {line[:60]!r} of {str(path)!r}; expected a class and x y pairs.") from None
            if len(values) == 4:
                x, y, w, h = values[0] * width, values[1] * height, values[2] * width, values[3] * height
                mask = rectangle(x - w / 2, y - h / 2, x + w / 2, y + h / 2, height, width)
            else:
                points = [(x * width, y * height) for x, y in zip(values[::2], values[1::2], strict=True)]
                mask = polygon(points, height, width)
            marked = union(marked, name, mask)
        split = SPLITS.get(place.parts[0]) if len(place.parts) > 1 else None
        yield Annotated(image, marked, split=split)


def _names(path: Path) -> dict[int, str]:
    try:
        names = read_yaml(path)["names"]
        return {int(key): str(name) for key, name in (names.items() if isinstance(names, dict) else enumerate(names))}
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"Cannot read the key 'names' of {str(path)!r}: {error}") from error


FORMAT = Format(
    "yolo",
    "a folder with data.yaml, images and labels (Ultralytics)",
    lambda path: (path / "data.yaml").is_file() and (path / "labels").is_dir(),
    read,
)
