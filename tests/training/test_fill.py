import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from lookright import InputError
from lookright.data.images import read_mask
from lookright.data.table import read_table
from lookright.training.fill import fill_masks, mask_loss


def truth(folder, image):
    return np.asarray(Image.open(folder / image.replace("images", "masks"))) > 0


def test_made_masks_lie_on_what_given_ones_mark_and_given_ones_stay(squares, tmp_path):
    state = torch.random.get_rng_state()
    done = fill_masks(squares, tmp_path / "filled", size=48, steps=60)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert (done.given, done.held_out) == (43, 8)
    table = read_table(tmp_path / "filled")
    overlaps = []
    for row, image in enumerate(table["image"]):
        assert (tmp_path / "filled" / image).read_bytes() == (squares / image).read_bytes()
        if row % 5 == 0 and table["split"][row] != "train":
            assert (table["mask"][row], table["filled"][row], table["mask_weight"][row]) == ("", "", 0)
            continue
        mask, right = read_mask(tmp_path / "filled" / table["mask"][row])[0].numpy(), truth(squares, image)
        assert table["filled"][row] == ("" if row % 5 else "1")
        if row % 5:
            assert (mask == right).all()
        else:
            made = mask >= 0.5
            overlaps.append((made & right).sum() / (made | right).sum())
    assert np.mean(overlaps) > 0.7
    assert done.iou == pytest.approx(np.mean(overlaps), abs=0.15)


def test_the_same_seed_makes_the_same_masks_and_another_others(squares, tmp_path):
    for name, seed in (("one", 0), ("same", 0), ("other", 1)):
        fill_masks(squares, tmp_path / name, size=32, steps=2, seed=seed)
    one, same, other = ((tmp_path / name / "masks/5.png.png").read_bytes() for name in ("one", "same", "other"))
    assert one == same != other


def test_given_masks_keep_their_weight_and_one_that_does_not_count_is_made_anew(own_squares, tmp_path):
    table = pd.read_csv(own_squares / "labels.csv", keep_default_na=False)
    is_masked = (table["mask"] != "") & (table["split"] == "train")
    first, second = is_masked[is_masked].index[:2]
    weight = pd.Series(1.0, table.index)
    weight[first], weight[second] = 0.25, 0
    table.assign(mask_weight=weight).to_csv(own_squares / "labels.csv", index=False)
    fill_masks(own_squares, tmp_path / "filled", size=32, steps=1)
    made = read_table(tmp_path / "filled")
    assert (made["mask_weight"][first], made["filled"][first]) == (0.25, "")
    assert (made["mask_weight"][second], made["filled"][second]) == (1, "1")
    assert set(made["mask_weight"][made["split"] == "train"]) == {0.25, 1}


def test_a_made_mask_takes_no_other_images_place(own_squares, tmp_path):
    """Images of one name, one of them in `images`."""
    table = pd.read_csv(own_squares / "labels.csv", keep_default_na=False)
    masked = table["image"][1]
    shutil.copy(own_squares / masked, own_squares / Path(masked).name)
    row = pd.DataFrame({"image": [Path(masked).name], "label": table["label"][1], "mask": "", "split": "train"})
    pd.concat([table, row]).to_csv(own_squares / "labels.csv", index=False)
    made = fill_masks(own_squares, tmp_path / "filled", size=32, steps=1).table
    assert made["mask"][made["mask"] != ""].is_unique
    mask = read_mask(tmp_path / "filled" / made["mask"][1])[0].numpy()
    assert (mask == truth(own_squares, masked)).all()


def test_ignored_pixels_teach_nothing_and_become_half_evidence(own_squares, tmp_path):
    table = pd.read_csv(own_squares / "labels.csv", keep_default_na=False)
    with Image.open(own_squares / table["mask"][1]) as file:
        height, width = file.height, file.width
    trimap = np.full((height, width), 2, np.uint8)
    trimap[2:6, 2:6], trimap[0] = 1, 3
    for mask in filter(None, table["mask"]):
        Image.fromarray(trimap).save(own_squares / mask)
    made = fill_masks(own_squares, tmp_path / "filled", size=32, steps=1).table
    mask = read_mask(tmp_path / "filled" / made["mask"][1])[0]
    assert mask[0].unique().tolist() == pytest.approx([0.5], abs=0.01)
    assert mask[2:6, 2:6].unique().tolist() == [1]
    assert mask[8:].unique().tolist() == [0]


def test_loss_is_cross_entropy_and_tversky_over_what_is_known():
    generator = torch.Generator().manual_seed(0)
    mask, inside = torch.rand(2, 3, 4, 5, generator=generator, dtype=torch.float64)
    known = (torch.rand(3, 4, 5, generator=generator) > 0.3).double()
    inside, outside = inside * known, (1 - inside) * known
    entropy, count, tversky = 0.0, 0.0, []
    for image in range(3):
        shared = missed = wrong = 0.0
        for row in range(4):
            for column in range(5):
                m, i, o = (value[image, row, column].item() for value in (mask, inside, outside))
                entropy -= 1.4 * i * np.log(m) + 0.6 * o * np.log(1 - m)
                count += i + o
                shared += m * i
                missed += (1 - m) * i
                wrong += m * o
        tversky.append(1 - (shared + 0.5) / (shared + 0.7 * missed + 0.3 * wrong + 0.5))
    assert mask_loss(mask, inside, outside).item() == pytest.approx(entropy / count + np.mean(tversky))
    assert mask_loss(inside, inside, 1 - inside) < mask_loss(mask, inside, 1 - inside)


def test_a_mask_that_is_too_small_costs_more_than_one_that_is_too_wide():
    right, small, wide = (torch.zeros(1, 12, 12) for _ in range(3))
    right[:, 3:9, 3:9], small[:, 3:9, 3:8], wide[:, 3:9, 3:10] = 1, 1, 1
    right_loss, wide_loss, small_loss = (mask_loss(mask, right, 1 - right) for mask in (right, wide, small))
    assert right_loss < wide_loss < small_loss


def test_a_model_learns_masks_from_all_its_scales(squares, tmp_path):
    done = fill_masks(squares, tmp_path / "filled", size=48, steps=40, model="resnet18")
    assert done.iou > 0.5


def test_refusals(squares, own_squares, tmp_path):
    table = pd.read_csv(own_squares / "labels.csv", keep_default_na=False)
    with pytest.raises(InputError, match="exists"):
        fill_masks(squares, squares)
    with pytest.raises(InputError, match="steps=0"):
        fill_masks(squares, tmp_path / "out", steps=0)
    with pytest.raises(InputError, match="seed=-1"):
        fill_masks(squares, tmp_path / "out", seed=-1)
    with pytest.raises(InputError, match="weights='pretrained' without a model"):
        fill_masks(squares, tmp_path / "out", weights="pretrained")
    with pytest.raises(InputError, match="SmallCNN has no forward_intermediates"):
        fill_masks(squares, tmp_path / "out", model="small_cnn")
    for masks, message in (
        (table["image"].str.replace("images", "masks"), "there is nothing to fill"),
        (table["mask"].where(table.index < 5, ""), "4 training images .* expected five or more"),
    ):
        table.assign(mask=masks).to_csv(own_squares / "labels.csv", index=False)
        with pytest.raises(InputError, match=message):
            fill_masks(own_squares, tmp_path / "out")
    table.assign(mask_polarity="nuisance").to_csv(own_squares / "labels.csv", index=False)
    with pytest.raises(InputError, match="says what must not matter"):
        fill_masks(own_squares, tmp_path / "out")
    assert not (tmp_path / "out").exists()
