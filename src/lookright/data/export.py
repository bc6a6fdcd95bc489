"""A native folder for other tools."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from lookright.data.formats import WRITERS, Annotated
from lookright.data.samples import read_samples
from lookright.data.table import read_table
from lookright.errors import require_one_of
from lookright.replacing import replacing


def annotated_folder(folder: Path) -> Iterator[Annotated]:
    """The images of a native folder, each with its mask under its label, as every reader of a format gives them.

    Masks are shares in [0, 1].

    Raises:
        InputError: the folder cannot be read.
    """
    table, samples, _ = read_samples(folder, read_table(folder), cache=0.0, check_pixels=False)
    for row, sample in zip(table.to_dict("records"), samples, strict=True):
        marked: dict[str, np.ndarray] = {}
        ignore = None
        if sample.mask is not None:
            planes = sample.mask.numpy() / (1 if sample.mask.is_floating_point() else 255)
            marked[row["label"]] = planes[0]
            ignore = planes[1] >= 0.5 if len(planes) == 2 else None
        yield Annotated(folder / row["image"], marked, ignore, row["label"], row.get("split"), row.get("group"))


def export(folder: Path, format: str, out: Path | None = None, images: Iterable[Annotated] | None = None) -> list[Path]:
    """Write a native folder as another tool reads it. Where a format has no shares, half or more is evidence.

    Args:
        folder: with labels.csv.
        format: a name in `lookright.data.formats.WRITERS`.
        images: in the folder, and what is marked in each; None: as `annotated_folder`.
        out: the file to write; None: the format's name, in the folder from which the names of images lead.

    Returns:
        The files, of which there may be others beside the first.

    Raises:
        InputError: no such format, or the folder cannot be read or names an image outside of it.
    """
    require_one_of("format", format, WRITERS)
    texts = WRITERS[format].write(annotated_folder(folder) if images is None else images, folder)
    first = out or folder / f"{format}{next(iter(texts))}"
    first.parent.mkdir(parents=True, exist_ok=True)
    paths = [first, *(first.with_suffix(suffix) for suffix in list(texts)[1:])]
    for path, text in zip(paths, texts.values(), strict=True):
        with replacing(path) as draft:
            draft.write_text(text, encoding="utf-8")
    return paths
