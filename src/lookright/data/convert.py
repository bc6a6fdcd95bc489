"""Any format as a native folder."""

import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from PIL import Image

from lookright.data.encoding import write_encoding
from lookright.data.formats import FORMATS, Annotated, Format
from lookright.data.images import read_header
from lookright.errors import InputError, nearest, require_one_of
from lookright.import_path import imported
from lookright.replacing import replacing

EVIDENCE, IGNORE = 255, 128


def convert(
    source: Path, out: Path, format: str | None = None, several: Literal["skip", "largest"] = "skip"
) -> tuple[pd.DataFrame, list[str]]:
    """Write a native folder from annotations of any format: see `write_folder`.

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
    return write_folder(_told(find_format(source, format), source), out, several)


def write_folder(
    images: Iterable[Annotated], out: Path, several: Literal["skip", "largest"] = "skip"
) -> tuple[pd.DataFrame, list[str]]:
    """Write a folder with `labels.csv`, `encoding.yaml`, `images` and `masks`.

    Image files are hard links, or copies where the file system has no links. In masks 255 is evidence and 128 is
    ignored; where any is soft, they are shades, and nothing can be ignored. An image's label is the one that it has, or
    else the only one marked.

    Args:
        images: from a reader of a format, or `lookright.data.formats.annotated_items`.
        out: the folder to write; must not exist.
        several: images on which several labels are marked: `skip`, or take the `largest`.

    Returns:
        The table, and why images were left out.

    Raises:
        InputError: no image with a label, soft masks beside ignored pixels, or `out` exists.
    """
    require_one_of("several", several, ("skip", "largest"))
    if out.exists():
        raise InputError(f"{str(out)!r} exists. Name a folder that does not, or delete it.")
    out.parent.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, str]] = []
    left_out: list[str] = []
    names: set[str] = set()
    is_soft = ignores = False
    span: list[int] = []
    with replacing(out) as draft:
        (draft / "images").mkdir(parents=True)
        (draft / "masks").mkdir()
        for one in images:
            marked = {name for name, mask in one.marked.items() if mask.any()} or set(one.marked)
            if one.label is None and len(marked) != 1 and not (marked and several == "largest"):
                what = ", ".join(sorted(marked)) or "nothing"
                left_out.append(f"{one.image.name}: {what} is marked, and an image has one label.")
                continue
            label = one.label or max(sorted(marked), key=lambda name: float(one.marked[name].sum()))
            name = _free(one.image.name, names)
            if one.pixels is None:
                _link(one.image, draft / "images" / name)
            else:
                Image.fromarray(one.pixels).save(draft / "images" / name)
                span += [int(one.pixels.min()), int(one.pixels.max())] if one.pixels.dtype != np.uint8 else []
            mask = _mask(one, label)
            if mask is not None:
                Image.fromarray(mask).save(draft / "masks" / f"{name}.png")
                is_soft |= label in one.marked and not _is_binary(one.marked[label])
                ignores |= one.ignore is not None and bool(one.ignore.any())
            row = {"image": f"images/{name}", "label": label, "mask": f"masks/{name}.png" if mask is not None else ""}
            rows.append(row | {"split": one.split or "", "group": one.group or ""})
        if not rows:
            raise InputError(f"No image with one label. {left_out[0] if left_out else ''}".strip())
        if is_soft and ignores:
            raise InputError("Some masks are soft and some ignore pixels; a folder has one or the other.")
        table = pd.DataFrame(rows)
        table = table.drop(columns=[column for column in ("split", "group") if not (table[column] != "").any()])
        meaning = {} if is_soft else {"values": {0: "background", EVIDENCE: "evidence", IGNORE: "ignore"}}
        depth = {"image_range": [min(span), max(max(span), min(span) + 1)]} if span else {}
        write_encoding(draft, channel="luminance", **meaning, **depth)
        table.to_csv(draft / "labels.csv", index=False, lineterminator="\n")
    return table, left_out


def find_format(source: Path, name: str | None = None) -> Format:
    """The reader of a name, or the first that recognises the source.

    Raises:
        InputError: no such source, name, or nothing recognises it.
    """
    if not source.exists():
        raise InputError(f"No file or folder {str(source)!r}.")
    _require_files(source)
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


def _require_files(source: Path) -> None:
    """Refuse pipes and devices, which a reader may open and never come to the end of."""
    for path in (source, *source.rglob("*")):
        try:
            mode = path.stat().st_mode
        except OSError:  # a link to nothing; who reads it says so
            continue
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise InputError(f"{str(path)!r} is a pipe or a device. Expected files: copy its content into one.")


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
    """Shares of `EVIDENCE`, and `IGNORE`; None where nothing is known of the label and nothing is ignored."""
    if label not in one.marked and one.ignore is None:
        return None
    marked = one.marked.get(label)
    shape = marked.shape if marked is not None else one.ignore.shape if one.ignore is not None else (0, 0)
    sizes = _sizes(one)
    if shape not in sizes:
        raise InputError(
            f"Annotations of {one.image.name!r} are for {shape[1]} by {shape[0]} pixels, and it has {sizes[0][1]} by "
            f"{sizes[0][0]}."
        )
    mask = np.zeros(shape, np.uint8)
    if one.ignore is not None:
        mask[one.ignore] = IGNORE
    if marked is not None:
        mask[marked > 0] = (marked[marked > 0] * np.float32(EVIDENCE)).round()
    return mask


def _sizes(one: Annotated) -> list[tuple[int, ...]]:
    """Height and width, as stored and upright."""
    if one.pixels is not None:
        return [one.pixels.shape[:2]]
    header = read_header(one.image)
    return [(header.height, header.width), header.upright[::-1]]


def _is_binary(mask: np.ndarray) -> bool:
    return mask.dtype == bool or bool(((mask == 0) | (mask == 1)).all())


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
