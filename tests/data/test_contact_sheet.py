import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lookright.data.contact_sheet import contact_sheet
from lookright.errors import InputError


def write_folder(folder, rows):
    """Each image is of one grey, its mask (where it has one) white on the left half."""
    for row in rows:
        grey = row.pop("grey")
        Image.new("RGB", (8, 8), (grey,) * 3).save(folder / row["image"])
        if row.get("mask"):
            Image.fromarray(np.repeat(np.uint8([[255] * 4 + [0] * 4]), 8, 0)).save(folder / row["mask"])
    pd.DataFrame(rows).to_csv(folder / "labels.csv", index=False)


def test_images_beside_their_masks_a_row_for_each_domain(tmp_path):
    rows = [
        {"image": "a.png", "label": "cat", "mask": "am.png", "domain": "sea", "grey": 10},
        {"image": "b.png", "label": "cat", "mask": "bm.png", "domain": "sea", "grey": 20},
        {"image": "c.png", "label": "dog", "mask": "", "domain": "sea", "grey": 30},
        {"image": "d.png", "label": "dog", "mask": "dm.png", "domain": "land", "grey": 40},
    ]
    write_folder(tmp_path, rows)
    contact_sheet(tmp_path, tmp_path / "sheet.png", columns=2, tile=16)
    sheet = np.asarray(Image.open(tmp_path / "sheet.png").convert("L"))
    assert sheet.shape == (32, 64)
    tiles = sheet.reshape(2, 16, 4, 16).swapaxes(1, 2)
    land, sea = tiles
    assert (land[0] == 40).all()
    assert (land[2:] == 128).all()  # the domain has no second image
    assert sea[0, 0, 0] in (10, 20)  # labels take turns: one cat, then the dog
    assert (sea[2] == 30).all()
    assert (sea[3] == 128).all()  # no mask
    for mask in (land[1], sea[1]):
        assert (mask[:, :8] == 255).all()
        assert (mask[:, 8:] == 0).all()
    assert not list(tmp_path.glob("*.partial")) + list(tmp_path.glob(".*"))


def test_without_domains_rows_are_filled_one_after_the_other(tmp_path):
    write_folder(tmp_path, [{"image": f"{n}.png", "label": "cat", "grey": 10 * n} for n in range(1, 6)])
    contact_sheet(tmp_path, tmp_path / "sheet.png", rows=2, columns=2, tile=8)
    sheet = np.asarray(Image.open(tmp_path / "sheet.png").convert("L"))
    shown = sheet.reshape(2, 8, 4, 8)[:, 0, ::2, 0].ravel()
    assert len(set(shown)) == 4
    assert set(shown) <= {10, 20, 30, 40, 50}
    contact_sheet(tmp_path, tmp_path / "sheet.png", tile=8)
    assert Image.open(tmp_path / "sheet.png").size == (80, 8)


def test_a_folder_without_labels(tmp_path):
    with pytest.raises(InputError, match=r"labels.csv"):
        contact_sheet(tmp_path, tmp_path / "sheet.png")
