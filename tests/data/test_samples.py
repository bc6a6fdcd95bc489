import multiprocessing
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from lookright import InputError
from lookright.data import Inverted, RandomImage
from lookright.data import samples as module
from lookright.data.samples import read_samples
from lookright.data.table import read_table


def test_unreadable_images_stop_or_are_counted(own_squares):
    (own_squares / "images/4.png").write_bytes(b"nothing")
    table = read_table(own_squares)
    with pytest.raises(InputError, match=r"images/4\.png"):
        read_samples(own_squares, table)
    kept, samples, skipped = read_samples(own_squares, table, skip_unreadable=True)
    assert len(kept) == len(samples) == len(table) - 1
    assert "images/4.png" not in set(kept["image"])
    assert "images/4.png" in skipped[0]


def test_a_mask_of_another_size_is_refused(own_squares):
    Image.fromarray(np.zeros((5, 7), np.uint8)).save(own_squares / "masks/1.png")
    with pytest.raises(InputError, match=r"'masks/1\.png' has 7 by 5 pixels and its image 'images/1\.png' 32 by 32"):
        read_samples(own_squares, read_table(own_squares))


def same(one, other):
    masks = (one.mask is None) == (other.mask is None) and (one.mask is None or torch.equal(one.mask, other.mask))
    return masks and torch.equal(one.image, other.image)


@pytest.mark.parametrize("kept", [0, 5])
def test_samples_beyond_the_cache_are_decoded_again(squares, kept):
    table = read_table(squares)
    _, whole, _ = read_samples(squares, table, check_pixels=True)
    _, samples, _ = read_samples(squares, table, cache=(kept + 0.5) * 5 * 32 * 32 / 1e9)
    for one, other in zip(samples, whole):
        assert same(one, other)
    assert len(whole.cache) == len(table)
    assert len(samples.cache) == kept
    (squares / "nothing").mkdir(exist_ok=True)
    whole.folder = squares / "nothing"  # all comes from the cache
    assert all(same(one, other) for one, other in zip(samples, whole))


def test_a_check_of_the_pixels_is_remembered_until_a_file_changes(own_squares):
    table = read_table(own_squares)
    read_samples(own_squares, table)
    _, samples, _ = read_samples(own_squares, table)
    assert len(samples.cache) == 0
    whole = (own_squares / "images/4.png").read_bytes()
    (own_squares / "images/4.png").write_bytes(whole[: len(whole) // 2])  # its header is still good
    with pytest.raises(InputError, match=r"images/4\.png"):
        read_samples(own_squares, table)
    _, samples, _ = read_samples(own_squares, table, check_pixels=False)
    with pytest.raises(InputError, match=r"images/4\.png"):
        samples[4]


def test_a_missing_file_is_found_without_a_check_of_the_pixels(own_squares):
    (own_squares / "images/4.png").unlink()
    with pytest.raises(InputError, match=r"No file .*images/4\.png"):
        read_samples(own_squares, read_table(own_squares), check_pixels=False)


def test_many_samples_are_checked_by_several_processes_that_share_the_cache(own_squares, monkeypatch):
    monkeypatch.setattr(module, "_IN_THIS_PROCESS", 5)
    monkeypatch.setattr(module.os, "sched_getaffinity", lambda process: {0, 1}, raising=False)
    table = read_table(own_squares)
    whole = (own_squares / "images/4.png").read_bytes()
    (own_squares / "images/4.png").write_bytes(whole[: len(whole) // 2])
    kept, samples, skipped = read_samples(own_squares, table, skip_unreadable=True)
    assert len(kept) == len(samples) == len(table) - 1
    assert "images/4.png" in skipped[0]
    if "fork" in multiprocessing.get_all_start_methods():
        assert len(samples.cache) == len(table) - 1
    assert all(same(sample, one) for sample, one in zip(samples, read_samples(own_squares, kept, cache=0)[1]))


def test_samples_of_rows_and_their_controls_are_decoded_when_asked_for(own_squares):
    table = read_table(own_squares)
    _, samples, _ = read_samples(own_squares, table, cache=0)
    rows = samples.of_rows([7, 3, 5])
    weight = table["mask_weight"][[7, 3, 5]].tolist()
    inverted, shuffled = (control(rows, weight, 0) for control in (Inverted(), RandomImage()))
    assert [same(one, samples[row]) for one, row in zip(rows, [7, 3, 5])] == [True] * 3
    Image.new("RGB", (32, 32), "white").save(own_squares / table["image"][3])
    assert rows[1].image.min() == 255
    assert torch.equal(inverted[1].mask, 255 - rows[1].mask)
    assert same(pickle.loads(pickle.dumps(shuffled))[1], shuffled[1])


@pytest.mark.parametrize("evidence", ["mask", "box"])
def test_masks_become_as_small_as_their_reduced_images(tmp_path, evidence):
    (tmp_path / "images").mkdir()
    mask = np.zeros((200, 320), np.uint8)
    mask[40:120, 80:200] = 255
    Image.fromarray(np.repeat(mask[..., None], 3, 2)).save(tmp_path / "images/0.jpg", quality=95)
    Image.fromarray(mask).save(tmp_path / "0.png")
    cell = {"mask": "0.png", "box": "80 40 199 119"}[evidence]
    (tmp_path / "labels.csv").write_text(f"image,label,{evidence}\nimages/0.jpg,a,{cell}\n")
    for cache in (4.0, 0.0):
        _, samples, _ = read_samples(tmp_path, read_table(tmp_path), cache=cache, check_pixels=True, least_side=50)
        image, small = samples[0]
        assert image.shape == (3, 50, 80)
        assert small.shape == (1, 50, 80)
        assert ((image[0] > 127) == (small[0] > 127)).float().mean() > 0.99


def test_a_cache_in_a_file_serves_the_next_run_and_knows_when_a_file_changed(own_squares, tmp_path):
    table = read_table(own_squares)
    _, first, _ = read_samples(own_squares, table, check_pixels=True, cache_folder=tmp_path / "cache")
    expected = [first[index] for index in range(len(first))]
    _, second, _ = read_samples(own_squares, table, check_pixels=False, cache_folder=tmp_path / "cache")
    assert len(second.cache) == len(table)
    assert all(same(one, other) for one, other in zip(second, expected, strict=True))
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(own_squares / "images/4.png")
    _, third, _ = read_samples(own_squares, table, check_pixels=False, cache_folder=tmp_path / "cache")
    assert len(third.cache) == 0
    assert third[4].image.max() == 0


def test_a_cache_folder_that_cannot_be_written_is_named(squares, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"Cannot keep images in .*file.*Name a folder"):
        read_samples(squares, read_table(squares), cache_folder=tmp_path / "file")
