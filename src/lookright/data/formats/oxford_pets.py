"""Oxford-IIIT Pets: `images/`, `annotations/trimaps/`, `annotations/trainval.txt` and `test.txt`.

A trimap is 1 on the pet, 2 beside it and 3 at the border, which is ignored.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lookright.data.encoding import Encoding
from lookright.data.formats.annotated import Annotated, Format
from lookright.data.images import read_mask
from lookright.errors import InputError

TRIMAP = Encoding(channel="index", values={1: "evidence", 2: "background", 3: "ignore"})


def read(folder: Path) -> Iterator[Annotated]:
    """The images of both lists; the label is the breed, which is the file's name without its number.

    Raises:
        InputError: a line that names no image.
    """
    for split, name in (("train", "trainval"), ("test", "test")):
        path = folder / "annotations" / f"{name}.txt"
        for line in path.read_text().splitlines() if path.is_file() else ():
            if not line.strip() or line.startswith("#"):
                continue
            file = line.split()[0]
            image, trimap = folder / "images" / f"{file}.jpg", folder / "annotations/trimaps" / f"{file}.png"
            if Path(file).name != file or not image.is_file():
                raise InputError(f"No image {str(image)!r}, which {str(path)!r} names.")
            breed = file.rpartition("_")[0]
            if not trimap.is_file():
                yield Annotated(image, label=breed, split=split)
                continue
            mask = read_mask(trimap, TRIMAP).numpy()
            ignore = mask[1] > 0 if len(mask) == 2 else np.zeros_like(mask[0], bool)
            yield Annotated(image, {breed: mask[0] > 0}, ignore, breed, split)


FORMAT = Format(
    "oxford_pets",
    "the folder of Oxford-IIIT Pets with images and annotations",
    lambda path: (path / "annotations" / "trimaps").is_dir() and (path / "images").is_dir(),
    read,
)
