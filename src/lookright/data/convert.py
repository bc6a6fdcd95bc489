"""Any format as a native folder."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from PIL import Image

from lookright.data.formats import FORMATS, Annotated, Format
from lookright.data.images import read_header
from lookright.data.masks import write_encoding
from lookright.errors import InputError, nearest, require_one_of
from lookright.import_path import imported
from lookright.replacing import replacing

EVIDENCE, IGNORE = 255, 128


def convert(
    source: Path, out: Path, format: str | None = None, several: Literal["skip", "largest"] = "skip"
) -> tuple[pd.DataFrame, list[str]]:
    """Write a folder with `labels.csv`, `encoding.yaml`, `images` and `masks` from annotations of any format.

    Images are hard links, or copies where the file system has no links. In masks 255 is
    evidence and 128 is ignored. An image's label is the one that the format gives it, or else the only one marked.

    Args:
        source: a file of annotations or a folder.
        out: the folder to write; must not exist.
        format: a name in `FORMATS` or the import path of a `Format`; None recognises it.
        several: images on which several labels are marked: `skip`, or take the `largest`.

    Returns:
        The table, and why images were left out.

    Raises:
        InputError: nothing recognised, a broken annotation, no image with a label, or `out` exists.
    """
    require_one_of("several", several, ("skip", "largest"))
    reader = find_format(source, format)
    if out.exists():
        raise InputError(f"{str(out)!r} exists. Name a folder that does not, or delete it.")
    out.parent.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, str]] = []
    left_out: list[str] = []
    names: set[str] = set()
    with replacing(out) as draft:
        (draft / "images").mkdir(parents=True)
        (draft / "masks").mkdir()
        for one in _told(reader, source):
            marked = {name for name, mask in one.marked.items() if mask.any()} or set(one.marked)
            if one.label is None and len(marked) != 1 and not (marked and several == "largest"):
                what = ", ".join(sorted(marked)) or "nothing"
                left_out.append(f"{one.image.name}: {what} is marked, and an image has one label.")
                continue
            label = one.label or max(sorted(marked), key=lambda name: int(one.marked[name].sum()))
            name = _free(one.image.name, names)
            _link(one.image, draft / "images" / name)
            mask = _mask(one, label)
            if mask is not None:
                Image.fromarray(mask).save(draft / "masks" / f"{name}.png")
            row = {"image": f"images/{name}", "label": label, "mask": f"masks/{name}.png" if mask is not None else ""}
            rows.append(row | {"split": one.split or ""})
        if not rows:
            raise InputError(f"No image with one label in {str(source)!r}. {left_out[0] if left_out else ''}".strip())
        table = pd.DataFrame(rows)
        if not (table["split"] != "").any():
            table = table.drop(columns="split")
        write_encoding(
            draft,
            channel="luminance",
            values={0: "background", EVIDENCE: "evidence", IGNORE: "ignore"},
        )
        table.to_csv(draft / "labels.csv", index=False, lineterminator="\n")
    return table, left_out


def find_format(source: Path, name: str | None = None) -> Format:
    """The reader of a name, or the first that recognises the source.

    Raises:
        InputError: no such source, name, or nothing recognises it.
    """
    if not source.exists():
        raise InputError(f"No file or folder {str(source)!r}.")
    if name is not None:
        found = FORMATS.get(name) or imported(name, "format")
        if not isinstance(found, Format):
            raise InputError(
                f"No format {name!r}.{nearest(name, FORMATS)} Expected {', '.join(FORMATS)}, or the import path of a "
                "lookright.data.formats.Format."
            )
        return found
    for format in FORMATS.values():
        if format.recognises(source):
            return format
    known = "; ".join(f"{format.name}: {format.about}" for format in FORMATS.values())
    raise InputError(f"{str(source)!r} looks like none of the known formats ({known}). Name one with --format.")


def _told(reader: Format, source: Path) -> Iterator[Annotated]:
    """What the reader gives; what it stumbles over is said in a sentence."""
    try:
        yield from reader.read(source)
    except InputError:
        raise
    except Exception as error:  # whatever a reader makes of an annotation that it does not expect
        raise InputError(
            f"{str(source)!r} is not what the format {reader.name} expects ({reader.about}): "
            f"{type(error).__name__}: {error}"
        ) from error


def _mask(one: Annotated, label: str) -> np.ndarray | None:
    """0, `EVIDENCE` and `IGNORE`; None where nothing was marked under the label and nothing is said to be ignored."""
    if label not in one.marked and one.ignore is None:
        return None
    header = read_header(one.image)
    marked = one.marked.get(label)
    shape = marked.shape if marked is not None else one.ignore.shape if one.ignore is not None else (0, 0)
    if shape not in ((header.height, header.width), header.upright[::-1]):
        raise InputError(
            f"Annotations of {one.image.name!r} are for {shape[1]} by {shape[0]} pixels, and it has {header.width} by "
            f"{header.height}."
        )
    mask = np.zeros(shape, np.uint8)
    if one.ignore is not None:
        mask[one.ignore] = IGNORE
    if marked is not None:
        mask[marked] = EVIDENCE
    return mask


def _free(name: str, taken: set[str]) -> str:
    """The name, with a number if an image of another folder has it already."""
    stem, number = Path(name), 1
    while name in taken:
        name, number = f"{stem.stem}-{number}{stem.suffix}", number + 1
    taken.add(name)
    return name


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copy2(source, target)
