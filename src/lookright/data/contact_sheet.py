"""A contact sheet: one picture of many images beside their masks, to see what a folder holds."""

from pathlib import Path

import pandas as pd
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2.functional import to_pil_image

from lookright.data.samples import folder_encoding, read_samples
from lookright.data.table import read_table
from lookright.replacing import replacing


def contact_sheet(folder: Path, out: Path, *, rows: int = 12, columns: int = 8, tile: int = 96, seed: int = 0) -> None:
    """Write a picture of `rows` × `columns` images of a folder in the native layout, each with its mask to the right.

    Each row shows one domain where the table names domains (as many as there are rows), with the labels taking turns.
    Where an image has no mask, the place beside it is grey.

    Args:
        folder: holds `labels.csv` and the files that it names.
        out: the PNG file to write.
        rows: from top to bottom.
        columns: images from left to right, at most.
        tile: width and height of an image on the sheet, in pixels.
        seed: chooses the images.

    Raises:
        InputError: `labels.csv` or a file that it names cannot be read.
    """
    table = read_table(folder).sample(frac=1, random_state=seed)
    encoding = folder_encoding(folder, table)
    if "domain" in table:
        lines = [_taking_turns(lines, columns) for _, lines in table.groupby("domain")][:rows]
    else:
        chosen = _taking_turns(table, rows * columns)
        lines = [chosen.iloc[start : start + columns] for start in range(0, len(chosen), columns)]
    sheet = Image.new("RGB", (2 * max(map(len, lines)) * tile, len(lines) * tile), "grey")
    for row, line in enumerate(lines):
        _, samples, _ = read_samples(folder, line, encoding=encoding)
        for column, sample in enumerate(samples):
            for half, pixels in enumerate(sample):
                if pixels is not None:
                    resampling = Image.Resampling.NEAREST if half else Image.Resampling.BICUBIC
                    picture = to_pil_image(_shown(pixels)).convert("RGB").resize((tile, tile), resampling)
                    sheet.paste(picture, ((2 * column + half) * tile, row * tile))
    with replacing(out) as draft:
        sheet.save(draft, "png")


def _shown(pixels: Tensor) -> Tensor:
    """An image as it is; a mask in white on black, what it ignores in grey."""
    if len(pixels) == 3:
        return pixels
    return pixels[:1] if len(pixels) == 1 else torch.maximum(pixels[:1], pixels[1:] // 2)


def _taking_turns(table: pd.DataFrame, number: int) -> pd.DataFrame:
    """The first `number` rows, the labels taking turns."""
    turn = table.groupby("label").cumcount()
    return table.assign(turn=turn).sort_values(["turn", "label"], kind="stable").head(number)
