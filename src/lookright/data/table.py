"""The native folder: `labels.csv` and the files that it names."""

import hashlib
from pathlib import Path

import pandas as pd

from lookright.errors import InputError


def read_table(folder: Path) -> pd.DataFrame:
    """Read `labels.csv` of a folder.

    Columns: `image` and `label`; optional `mask` (a file; an empty cell means *this image has no mask*), `box`
    (`x0 y0 x1 y1` in pixels, corners included, used where there is no mask file), `mask_weight`, `split`, `domain`.
    Paths are relative to the folder. Text cells are strings, empty where nothing was given; `mask_weight` is a float,
    0 for an image with neither mask nor box, and 1 for one that has either and states no weight. Further columns are
    kept.

    Raises:
        InputError: no such folder or file, a column missing, an empty image or label, a weight that is no number.
    """
    if not folder.is_dir():
        raise InputError(f"No folder {str(folder)!r}. Expected a folder with labels.csv and the images it names.")
    path = folder / "labels.csv"
    if not path.is_file():
        raise InputError(f"No labels.csv in {str(folder)!r}. Expected a CSV file with the columns image and label.")
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(f"Cannot read {str(path)!r} as a CSV file: {error}") from error
    for column in ("image", "label"):
        if column not in table:
            raise InputError(
                f"No column {column!r} in {str(path)!r}; it has {', '.join(table.columns)}. "
                "Expected image, label and optionally mask, box, mask_weight, split, domain."
            )
        if (table[column] == "").any():
            line = int((table[column] == "").to_numpy().argmax()) + 2
            raise InputError(f"Empty {column!r} in line {line} of {str(path)!r}.")
    if table.empty:
        raise InputError(f"{str(path)!r} has a header and no rows. Expected one row per image.")
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


def fingerprint(folder: Path, table: pd.DataFrame) -> str:
    """A short hash of the table and the sizes of its files: equal for equal data, wherever the folder lies."""
    digest = hashlib.sha256(table.to_csv(index=False).encode())
    for column in ("image", "mask"):
        for name in table.get(column, ()):
            path = folder / name
            digest.update(f"{name}\0{path.stat().st_size if name and path.is_file() else -1}\n".encode())
    return digest.hexdigest()[:16]


def class_names(table: pd.DataFrame) -> list[str]:
    """The labels in the order of their class index: numbers by value, other names alphabetically.

    >>> class_names(pd.DataFrame({"label": ["10", "9", "10"]}))
    ['9', '10']
    """
    names = table["label"].unique().tolist()
    return sorted(names, key=int) if all(name.isdecimal() for name in names) else sorted(names)
