"""A contact sheet: one picture of many images beside their masks, to see what a folder holds."""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from lookright.errors import InputError


def contact_sheet(folder: Path, out: Path, *, rows: int = 12, columns: int = 8, tile: int = 96, seed: int = 0) -> None:
    """Write a picture of `rows` × `columns` images of a folder in the native layout, each with its mask to the right.

    Where the table has domains, a row shows one domain (`rows` of them, evenly spread); labels change along the row.
    An absent mask is left blank.

    Args:
        folder: holds `labels.csv` and the files that it names.
        out: the PNG file to write.
        rows: pictures from top to bottom.
        columns: pictures from left to right.
        tile: width and height of an image on the sheet, in pixels.
        seed: chooses the images.

    Raises:
        InputError: the folder has no `labels.csv`.
    """
    folder = Path(folder)
    if not (folder / "labels.csv").is_file():
        raise InputError(f"{folder} has no labels.csv: expected a folder in the native layout")
    table = pd.read_csv(folder / "labels.csv", dtype=str).sample(frac=1, random_state=seed)
    if "domain" in table:
        domains = np.array(sorted(table["domain"].dropna().unique()))
        spread = domains[np.linspace(0, len(domains) - 1, min(rows, len(domains))).round().astype(int)]
        chosen = [_varied(table[table["domain"] == domain], columns) for domain in spread]
    else:
        varied = _varied(table, rows * columns)
        chosen = [varied.iloc[start : start + columns] for start in range(0, len(varied), columns)]

    sheet = Image.new("RGB", (2 * tile * columns, tile * len(chosen)), "white")
    for row, pictures in enumerate(chosen):
        for column, picture in enumerate(pictures.itertuples()):
            files = (picture.image, getattr(picture, "mask", None))
            for offset, file in enumerate(files):
                if isinstance(file, str):
                    with Image.open(folder / file) as image:
                        sheet.paste(
                            image.convert("RGB").resize((tile, tile)), ((2 * column + offset) * tile, row * tile)
                        )
    draft = Path(out).with_suffix(".partial.png")
    sheet.save(draft)
    draft.replace(out)


def _varied(table: pd.DataFrame, number: int) -> pd.DataFrame:
    """The first `number` images, going round the labels."""
    turn = table.groupby("label").cumcount()
    return table.assign(turn=turn).sort_values(["turn", "label"]).drop(columns="turn").head(number)
