"""Waterbirds: `metadata.csv` and images, with the segmentations of CUB, which lie apart.

CUB's masks are soft, and lie on the same pixels: the birds were cut out with them. `y` is the kind of bird, `place` the
scenery: the group is both.
"""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from lookright.data.encoding import Encoding
from lookright.data.formats.annotated import Annotated, Format
from lookright.data.images import read_mask
from lookright.errors import InputError

BIRDS = ("landbird", "waterbird")
PLACES = ("land", "water")
SPLITS = ("train", "val", "test")
COLUMNS = ("img_filename", "y", "split", "place")
SHADES = Encoding(channel="luminance")


def read(folder: Path) -> Iterator[Annotated]:
    """The images of `metadata.csv`; `segmentations` of CUB lie in the folder, beside it, or in `CUB_200_2011` beside
    it.

    Raises:
        InputError: no segmentations, or an image is missing.
    """
    masks = next((place for place in _places(folder) if place.is_dir()), None)
    if masks is None:
        raise InputError(
            f"No folder 'segmentations' in or beside {str(folder)!r}. Waterbirds has no masks of its own: unpack "
            "segmentations.tgz of CUB-200-2011 (CaltechDATA) there."
        )
    for row in pd.read_csv(folder / "metadata.csv").to_dict("records"):
        name = str(row["img_filename"])
        image, bird = folder / name, BIRDS[int(row["y"])]
        if ".." in Path(name).parts or not image.is_file():
            raise InputError(f"No image {name!r} in {str(folder)!r}, which metadata.csv names.")
        mask = (masks / name).with_suffix(".png")
        marked = {bird: read_mask(mask, SHADES)[0].numpy()} if mask.is_file() else {}
        group = f"{bird} on {PLACES[int(row['place'])]}"
        yield Annotated(image, marked, label=bird, split=SPLITS[int(row["split"])], group=group)


def _places(folder: Path) -> list[Path]:
    return [place / "segmentations" for place in (folder, folder.parent, folder.parent / "CUB_200_2011")]


def _recognises(path: Path) -> bool:
    table = path / "metadata.csv"
    if not table.is_file():
        return False
    with table.open(encoding="utf-8", errors="replace") as file:
        return set(COLUMNS) <= set(file.readline().strip().split(","))


FORMAT = Format("waterbirds", "the folder of Waterbirds, with CUB's segmentations in or beside it", _recognises, read)
