import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from lookright import InputError
from lookright.data.images import read_mask
from lookright.data.samples import read_samples
from lookright.data.table import read_table
from lookright.training.masks import write_masks
from lookright.training.run import load_run, train


def align(**arguments):
    return {"class_path": "ALIGN", "init_args": arguments}


@pytest.fixture(scope="module")
def trained(tmp_path_factory, squares, settings):
    out = tmp_path_factory.mktemp("runs") / "align"
    return train(settings(squares, out, method=align(warmup=0, masker_warmup=2), epochs=2))


def test_the_masks_are_the_maskers_in_a_native_folder(trained, squares, tmp_path):
    masker, out = trained.settings.method.masker.eval(), tmp_path / "masked"
    write_masks(load_run(trained.directory), squares, out)
    before, after = read_table(squares), read_table(out)
    assert (after["mask_weight"] == 1).all()
    for column in ("image", "label", "split", "domain"):
        assert after[column].tolist() == before[column].tolist()
    mean, std = (
        torch.tensor(value).view(1, 3, 1, 1) for value in (trained.preprocessing.mean, trained.preprocessing.std)
    )
    for row in (0, 7, len(after) - 1):
        source, copy = squares / before["image"][row], out / after["image"][row]
        assert copy.read_bytes() == source.read_bytes()
        with Image.open(source) as file:
            pixels = torch.from_numpy(np.array(file.convert("RGB"))).permute(2, 0, 1)
        with torch.no_grad():
            expected = masker((pixels[None] / 255 - mean) / std)
        assert torch.allclose(read_mask(out / after["mask"][row]), expected, atol=1 / 255)


def test_another_method_trains_on_them(trained, squares, settings, tmp_path):
    write_masks(trained, squares, tmp_path / "masked")
    run = train(settings(tmp_path / "masked", tmp_path / "camal", method="CAMAL", epochs=1))
    assert (pd.read_csv(run.directory / "metrics.csv")["train/camal"].dropna() != 0).all()


def test_images_that_are_relative_links_are_found_again(trained, own_squares, tmp_path):
    (own_squares / "images").rename(own_squares / "annex")
    (own_squares / "images").mkdir()
    for path in (own_squares / "annex").iterdir():
        (own_squares / "images" / path.name).symlink_to(f"../annex/{path.name}")
    table = write_masks(trained, own_squares, tmp_path / "made")
    assert len(read_samples(tmp_path / "made", read_table(tmp_path / "made"))[0]) == len(table)


def test_masks_of_turned_images_are_upright_and_say_nothing_of_former_masks(trained, own_squares, tmp_path):
    turned = Image.new("RGB", (32, 20))
    turned.getexif()[0x0112] = 6
    turned.save(own_squares / "images/0.png", exif=turned.getexif())
    table = pd.read_csv(own_squares / "labels.csv", keep_default_na=False)
    table.assign(mask_value="255").to_csv(own_squares / "labels.csv", index=False)
    assert "mask_value" not in write_masks(trained, own_squares, tmp_path / "made")
    image, mask = read_samples(tmp_path / "made", read_table(tmp_path / "made"))[1][0]
    assert image.shape[1:] == mask.shape[1:] == (32, 20)


@pytest.mark.parametrize("outside", ["../elsewhere.png", "/elsewhere.png"])
def test_images_outside_of_the_folder_are_refused(trained, own_squares, tmp_path, outside):
    table = pd.read_csv(own_squares / "labels.csv")
    table.loc[3, "image"] = outside
    table.to_csv(own_squares / "labels.csv", index=False)
    with pytest.raises(InputError, match=f"'{outside}' of .* lies outside of it"):
        write_masks(trained, own_squares, tmp_path / "masked")


def test_a_run_that_skips_what_it_cannot_read_does_so_here(trained, own_squares, tmp_path):
    (own_squares / "images/0.png").write_bytes(b"no image")
    with pytest.raises(InputError, match="Cannot read"):
        write_masks(trained, own_squares, tmp_path / "masked")
    images = replace(trained.settings.images, skip_unreadable=True)
    tolerant = replace(trained, settings=replace(trained.settings, images=images))
    with pytest.warns(UserWarning, match="Left out: Cannot read"):
        table = write_masks(tolerant, own_squares, tmp_path / "masked")
    assert len(read_table(tmp_path / "masked")) == len(table) == len(read_table(own_squares)) - 1


def test_what_cannot_be_done_is_said(trained, squares, settings, tmp_path):
    with pytest.raises(InputError, match="exists"):
        write_masks(trained, squares, tmp_path)
    fixed = train(settings(squares, tmp_path / "fixed", method=align(masks="grey", warmup=0), epochs=1))
    with pytest.raises(InputError, match="learned masks"):
        write_masks(fixed, squares, tmp_path / "masked")
    checkpoint = torch.load(trained.directory / "last.ckpt", weights_only=True)
    shutil.copytree(trained.directory, tmp_path / "early")
    checkpoint["method"]["_extra_state"]["step"] = 0
    torch.save(checkpoint, tmp_path / "early/last.ckpt")
    with pytest.raises(InputError, match="has not learned: training ended after 0 steps"):
        write_masks(load_run(tmp_path / "early"), squares, tmp_path / "masked")
    (trained.directory / "last.ckpt").rename(tmp_path / "last.ckpt")
    with pytest.raises(InputError, match=r"last\.ckpt"):
        write_masks(trained, squares, tmp_path / "masked")
    assert not (tmp_path / "masked").exists()
