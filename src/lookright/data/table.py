"""The native folder: `labels.csv` and the files that it names."""

import csv
import hashlib
import posixpath
import re
import warnings
from collections import Counter
from pathlib import Path

import pandas as pd

from lookright.data.mask_pixels import FILE
from lookright.errors import InputError


def read_table(folder: Path) -> pd.DataFrame:
    """Read `labels.csv` of a folder.

    Columns: `image` and `label`; optional `mask` (a file, or several with semicolons between, which are united; an
    empty cell means *this image has no mask*), `box` (`x0 y0 x1 y1` in pixels, corners included, used where there is no
    mask file), `mask_value` and `mask_ignore` (the numbers that are evidence in this image's mask, and those that are
    to be ignored), `mask_weight`, `split`, `domain`, `group` (see `groups_of`); and `mask_polarity`, `box_format` and
    `box_unit` where rows differ in them (see `lookright.data.encoding.Encoding`). Paths are relative to the folder.
    Text cells are strings, empty where nothing was given; `mask_weight` is a float, 0 for an image with neither mask
    nor box, and 1 for one that has either and states no weight. Further columns are kept.

    Raises:
        InputError: no such folder or file, a column missing, an empty image or label, a weight that is no number, names
            that differ in case, spaces or the form of a number only, or an image in two rows that do not agree.
    """
    if not folder.is_dir():
        raise InputError(f"No folder {str(folder)!r}. Expected a folder with labels.csv and the images it names.")
    path = folder / "labels.csv"
    if not path.is_file():
        raise InputError(f"No labels.csv in {str(folder)!r}. Expected a CSV file with the columns image and label.")
    try:
        with warnings.catch_warnings():
            # Without index_col=False, rows that end with one comma more than the header shift all columns.
            warnings.simplefilter("ignore", pd.errors.ParserWarning)
            table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig", index_col=False)
        _require_no_more_cells_than_columns(path, len(table.columns))
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"Cannot read {str(path)!r} as a CSV file: {error}") from error
    for column in ("image", "label"):
        if column not in table:
            raise InputError(
                f"No column {column!r} in {str(path)!r}; it has {', '.join(table.columns)}. "
                "Expected image, label and optionally mask, box, mask_weight, split, domain, group."
            )
        if (table[column] == "").any():
            line = int((table[column] == "").to_numpy().argmax()) + 2
            raise InputError(f"Empty {column!r} in line {line} of {str(path)!r}.")
    if table.empty:
        raise InputError(f"{str(path)!r} has a header and no rows. Expected one row per image.")
    for column in ("label", "split", "domain", "group"):
        _require_distinct_names(table, column, path)
    _require_one_label(table, path)
    _require_one_row_per_image(table, path)
    has_evidence = pd.Series(False, index=table.index)
    for column in ("mask", "box"):
        if column in table:
            has_evidence |= table[column] != ""
    given = table["mask_weight"] if "mask_weight" in table else pd.Series("", index=table.index)
    weight = pd.to_numeric(given.where(given != "", "1"), errors="coerce")
    bad = weight.isna() | (weight < 0) | (weight == float("inf"))
    if bad.any():
        line = int(bad.to_numpy().argmax()) + 2
        raise InputError(f"mask_weight {given[bad].iloc[0]!r} in line {line} of {str(path)!r}; expected a number >= 0.")
    table["mask_weight"] = weight.where(has_evidence, 0.0).astype(float)
    return table


def mask_files(folder: Path, cell: str) -> list[Path]:
    """The files that a cell of the column `mask` names, with semicolons between."""
    if ";" not in cell or (folder / cell).is_file():
        return [folder / cell]
    return [folder / name.strip() for name in cell.split(";")]


def _require_no_more_cells_than_columns(path: Path, columns: int) -> None:
    with path.open(encoding="utf-8-sig", newline="") as file:
        for line, cells in enumerate(csv.reader(file), 1):
            if any(cells[columns:]):
                raise InputError(
                    f"Line {line} of {str(path)!r} has {len(cells)} cells and the header {columns}; a cell with a "
                    "comma in it needs quotes around it."
                )


def _require_distinct_names(table: pd.DataFrame, column: str, path: Path) -> None:
    """Refuse two spellings of one name."""
    known: dict[str, str] = {}
    for name in table[column].unique().tolist() if column in table else ():
        if name != name.strip():
            line = int((table[column] == name).to_numpy().argmax()) + 2
            raise InputError(f"{column} {name!r} in line {line} of {str(path)!r} has spaces around it; take them away.")
        other = known.setdefault(_spelling(name), name)
        if other != name:
            raise InputError(
                f"The column {column!r} of {str(path)!r} has both {other!r} and {name!r}; write them alike, or "
                "rename one."
            )


def _require_one_label(table: pd.DataFrame, path: Path) -> None:
    """Refuse cells of several labels, `cat|dog`, each of which is in another cell, too."""
    names = table["label"].unique().tolist()
    parts = {name: {part.strip() for part in re.split(r"[|;]", name)} for name in names}
    count = Counter(part for name in names for part in parts[name])
    for name in names:
        if len(parts[name]) > 1 and all(count[part] > 1 for part in parts[name]):
            line = int((table["label"] == name).to_numpy().argmax()) + 2
            raise InputError(
                f"label {name!r} in line {line} of {str(path)!r} names several labels; an image has one here. Make a "
                "data set for each label, or train on several in a loop of your own with task=tasks.multi_label."
            )


def _spelling(name: str) -> str:
    """Equal for names that are likely the same.

    >>> _spelling("Cat") == _spelling("cat"), _spelling("1.0") == _spelling("1"), _spelling("01") == _spelling("1")
    (True, True, False)
    """
    head, point, tail = name.partition(".")
    return head if point and head.isdecimal() and not tail.strip("0") else name.casefold()


def _require_one_row_per_image(table: pd.DataFrame, path: Path) -> None:
    files = table["image"].map(posixpath.normpath)
    again = files.duplicated(keep=False)
    if not again.any():
        return
    remedies = {
        "label": "An image has one label here; remove one row.",
        "split": "A model is then tested on what it was trained on; remove one row.",
        "mask": "Name all its masks in one row, with semicolons between: they are united.",
        "box": "Name all its boxes in one row, with semicolons between: they are united.",
    }
    for column, remedy in remedies.items():
        if column in table:
            different = table[column][again].groupby(files[again]).nunique()
            if (different > 1).any():
                image = different.index[different > 1][0]
                values = " and ".join(repr(value) for value in table[column][files == image].unique())
                raise InputError(f"Image {image!r} occurs in rows of {str(path)!r} with {column} {values}. {remedy}")


def fingerprint(folder: Path, table: pd.DataFrame) -> str:
    """A short hash of the table, its encoding and the sizes of its files: equal for equal data, wherever it lies."""
    digest = hashlib.sha256(table.to_csv(index=False).encode())
    encoding = folder / FILE
    digest.update(encoding.read_bytes() if encoding.is_file() else b"")
    for column in ("image", "mask"):
        for name in table.get(column, ()):
            for path in mask_files(folder, name):
                digest.update(f"{name}\0{path.stat().st_size if name and path.is_file() else -1}\n".encode())
    return digest.hexdigest()[:16]


def groups_of(table: pd.DataFrame) -> pd.Series:
    """The group of each image: the column `group`, else label and domain together; empty where neither tells.

    >>> groups_of(pd.DataFrame({"label": ["cow", "cow"], "domain": ["grass", ""]})).tolist()
    ['cow, grass', '']
    """
    if "group" in table:
        return table["group"].fillna("")
    if "domain" in table:
        return (table["label"] + ", " + table["domain"]).where(table["domain"].fillna("") != "", "")
    return pd.Series("", index=table.index)


def class_names(table: pd.DataFrame) -> list[str]:
    """The labels in the order of their class index: numbers by value, other names alphabetically.

    >>> class_names(pd.DataFrame({"label": ["10", "9", "10"]}))
    ['9', '10']
    """
    names = table["label"].unique().tolist()
    return sorted(names, key=int) if all(name.isdecimal() for name in names) else sorted(names)
