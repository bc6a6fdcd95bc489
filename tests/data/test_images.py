import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lookright import InputError
from lookright.data.encoding import Encoding
from lookright.data.images import read_box, read_header, read_image, read_mask

PICTURE = np.tile(np.linspace(0.1, 0.9, 16), (12, 1))


def save(path, array, mode=None):
    Image.fromarray(array, mode).save(path) if mode else Image.fromarray(array).save(path)
    return path


def test_grey_masks_are_scaled_from_bytes(tmp_path):
    mask = read_mask(save(tmp_path / "m.png", np.array([[0, 128, 255]], np.uint8)))
    assert mask.shape == (1, 1, 3)
    assert mask[0, 0].tolist() == pytest.approx([0, 128 / 255, 1])


def test_masks_of_one_bit_16_bits_and_floats(tmp_path):
    Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1").save(tmp_path / "bit.png")
    assert read_mask(tmp_path / "bit.png")[0, 0].tolist() == [0, 1]
    save(tmp_path / "deep.png", np.array([[0, 32768, 65535]], np.uint16))
    assert read_mask(tmp_path / "deep.png")[0, 0].tolist() == pytest.approx([0, 32768 / 65535, 1])
    save(tmp_path / "float.tif", np.array([[0, 0.25]], np.float32))
    assert read_mask(tmp_path / "float.tif")[0, 0].tolist() == [0, 0.25]


def test_palettes_of_greys_are_their_greys_and_of_colours_their_indices(tmp_path):
    for name, palette, expected in [
        ("grey", [0, 0, 0, 255, 255, 255], [0, 1]),
        ("voc", [9, 0, 0, 0, 8, 0], [0, 1]),
    ]:
        image = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
        image.putpalette(palette)
        image.save(tmp_path / f"{name}.png")
        assert read_mask(tmp_path / f"{name}.png")[0, 0].tolist() == pytest.approx(expected)


def test_colour_and_alpha_masks_are_their_luminance(tmp_path):
    save(tmp_path / "m.png", np.array([[[255, 255, 255, 255], [0, 0, 0, 255]]], np.uint8))
    assert read_mask(tmp_path / "m.png")[0, 0].tolist() == [1, 0]


def test_float_masks_beyond_one_are_refused(tmp_path):
    with pytest.raises(InputError, match="0, 7"):
        read_mask(save(tmp_path / "m.tif", np.array([[0, 7]], np.float32)))


def test_grey_images_become_rgb(tmp_path):
    assert read_image(save(tmp_path / "i.png", np.zeros((4, 6), np.uint8))).shape == (3, 4, 6)


def test_images_are_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(tmp_path / "i.jpg", exif=exif)
    assert read_image(tmp_path / "i.jpg").shape == (3, 6, 4)


@pytest.mark.parametrize(("least_side", "divisor"), [(None, 1), (151, 1), (150, 2), (100, 2), (75, 4), (37, 8), (1, 8)])
def test_a_jpeg_is_decoded_to_a_part_of_its_size_where_both_sides_stay_long_enough(tmp_path, least_side, divisor):
    rows, columns = np.mgrid[:300, :401]
    smooth = np.stack([rows / 300 * 255, columns / 401 * 255, np.full_like(rows, 90.0)], -1).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(smooth).save(tmp_path / "i.jpg", quality=95, exif=exif)
    whole, image = read_image(tmp_path / "i.jpg"), read_image(tmp_path / "i.jpg", least_side=least_side)
    height, width = -(-401 // divisor), -(-300 // divisor)
    assert image.shape == (3, height, width)
    assert read_header(tmp_path / "i.jpg", least_side)[:2] == (401, 300)
    assert read_header(tmp_path / "i.jpg", least_side).decoded == (width, height)
    resized = torch.nn.functional.interpolate(whole[None].float(), (height, width), mode="area")[0]
    assert (resized - image).abs().max() < 6


def test_a_png_is_always_decoded_whole(tmp_path):
    assert read_image(save(tmp_path / "i.png", np.zeros((64, 64), np.uint8)), least_side=8).shape == (3, 64, 64)


def test_an_orientation_in_xmp_turns_the_image_and_is_in_its_header(tmp_path):
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="8"/></x:xmpmeta>'
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(tmp_path / "i.jpg", xmp=xmp)
    assert read_image(tmp_path / "i.jpg").shape == (3, 6, 4)
    assert read_header(tmp_path / "i.jpg").upright == (4, 6)


def test_broken_files_are_named(tmp_path):
    whole = save(tmp_path / "whole.png", np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    (tmp_path / "half.png").write_bytes(whole.read_bytes()[:3000])
    (tmp_path / "text.png").write_text("no image")
    for name in ("half.png", "text.png", "missing.png"):
        with pytest.raises(InputError, match=name):
            read_image(tmp_path / name)


@given(st.data())
def test_a_box_covers_its_corners(data):
    height, width = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
    x0, y0 = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    x1, y1 = data.draw(st.integers(x0, width - 1)), data.draw(st.integers(y0, height - 1))
    mask = read_box(f"{x0} {y0} {x1} {y1}", height, width, Path("i.png"))
    assert mask.sum() == (x1 - x0 + 1) * (y1 - y0 + 1)
    assert mask[0, y0, x0] == mask[0, y1, x1] == 1


@pytest.mark.parametrize("box", ["1 2 3", "a b c d", "5 0 2 0", "0 0 99 3", "-1 0 2 2"])
def test_boxes_that_are_none_are_refused(box):
    with pytest.raises(InputError, match=f"Box '{box}'"):
        read_box(box, 8, 8, Path("i.png"))


@pytest.mark.parametrize(
    ("box", "box_format", "box_unit"),
    [
        ("2 1 5 3", "xyxy", "pixels"),
        ("2 1 4 3", "xywh", "pixels"),
        ("0.2 0.25 0.6 1", "xyxy", "fractions"),
        ("0.2 0.25 0.4 0.75", "xywh", "fractions"),
        ("20 25 60 100", "xyxy", "percent"),
        ("20 25 20 75;40 25 20 75", "xywh", "percent"),
    ],
)
def test_kinds_of_boxes(box, box_format, box_unit):
    mask = read_box(box, 4, 10, Path("i.png"), Encoding(box_format=box_format, box_unit=box_unit))
    expected = torch.zeros(4, 10)
    expected[1:4, 2:6] = 1
    assert torch.equal(mask[0], expected)


@pytest.mark.parametrize(
    ("name", "pixels"),
    [
        ("deep.png", (PICTURE * 65535).astype(np.uint16)),
        ("big_endian.tif", (PICTURE * 65535).astype(">u2")),
        ("int.tif", (PICTURE * 65535).astype(np.int32)),
        ("float.tif", PICTURE.astype(np.float32)),
    ],
)
def test_images_of_more_than_8_bits_are_scaled(tmp_path, name, pixels):
    seen = read_image(save(tmp_path / name, pixels))
    assert seen.dtype == torch.uint8
    assert torch.allclose(seen[0] / 255, torch.from_numpy(PICTURE).float(), atol=1 / 255)


def test_images_of_12_bits_ask_what_is_white(tmp_path):
    path = save(tmp_path / "i.tif", (PICTURE * 4095).astype(np.uint16))
    with pytest.raises(InputError, match=r"image_range: \[0, 4095\]"):
        read_image(path)
    assert torch.allclose(read_image(path, (0, 4095))[0] / 255, torch.from_numpy(PICTURE).float(), atol=1 / 255)


def test_what_lies_under_transparent_pixels_is_not_seen(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (8, 9, 4)).astype(np.uint8)
    pixels[..., 3] = 0
    pixels[2:4, 3:6, 3] = 255
    seen = read_image(save(tmp_path / "i.png", pixels))
    assert torch.equal(seen[:, 2:4, 3:6], torch.from_numpy(pixels[2:4, 3:6, :3]).permute(2, 0, 1))
    assert (seen[:, :2] == 255).all()


def test_an_image_of_several_pages_is_refused(tmp_path):
    page = Image.new("L", (4, 4))
    page.save(tmp_path / "i.tif", save_all=True, append_images=[page, page])
    with pytest.raises(InputError, match="has 3 pages"):
        read_image(tmp_path / "i.tif")


def test_a_huge_image_is_refused_in_a_sentence(tmp_path):
    Image.new("1", (15_000, 12_000)).save(tmp_path / "i.png")
    with pytest.raises(InputError, match="too large"):
        read_image(tmp_path / "i.png")


@pytest.mark.parametrize("suffix", ["dcm", "npy", "json", "xml", "txt", "heic", "nii"])
def test_files_that_are_no_images_say_what_to_do(tmp_path, suffix):
    (tmp_path / f"i.{suffix}").write_bytes(b"something else")
    with pytest.raises(InputError, match="convert"):
        read_image(tmp_path / f"i.{suffix}")


def test_what_is_no_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", Path(os.devnull), tmp_path):
        with pytest.raises(InputError, match="is a folder, a pipe or a device. Expected an image file"):
            read_image(path)
    with pytest.raises(InputError, match="No file 'nowhere.png'.$"):
        read_image(Path("nowhere.png"))


def test_paths_from_other_systems_are_explained(tmp_path):
    Image.new("L", (4, 4)).save(tmp_path / unicodedata.normalize("NFC", "Käfer.png"))
    with pytest.raises(InputError, match="accents are encoded otherwise"):
        read_image(tmp_path / unicodedata.normalize("NFD", "Käfer.png"))
    with pytest.raises(InputError, match="backslashes"):
        read_image(tmp_path / "images\\Käfer.png")


def test_masks_are_float32(tmp_path):
    assert read_mask(save(tmp_path / "m.png", np.zeros((2, 2), np.uint8))).dtype == torch.float32
