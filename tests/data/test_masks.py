import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lookright.data.dataset import Collate, ImageDataset
from lookright.data.encoding import Encoding, Kind, read_encoding, write_encoding
from lookright.data.images import read_mask
from lookright.data.mask_controls import Inverted, Uniform
from lookright.data.mask_pixels import Pixels
from lookright.data.masks import planes, shares, united, with_polarity
from lookright.data.samples import folder_encoding, read_samples
from lookright.data.table import read_table
from lookright.errors import InputError

OBJECT = np.zeros((12, 16), bool)
OBJECT[2:6, 3:11] = True
RIM = np.zeros_like(OBJECT)
RIM[1:7, 2:12] = True
RIM &= ~OBJECT


def write(folder, *masks, image=None, columns="", cells=""):
    """A folder of one image a mask."""
    image = image or Image.new("RGB", (16, 12))
    rows = []
    for number, mask in enumerate(masks):
        image.save(folder / f"{number}.png")
        mask.save(folder / f"m{number}.png")
        rows.append(f"{number}.png,cat,m{number}.png{cells}")
    (folder / "labels.csv").write_text(f"image,label,mask{columns}\n" + "\n".join(rows) + "\n")
    return folder


def masks(folder):
    table = read_table(folder)
    return [sample.mask for sample in read_samples(folder, table)[1]]


def evidence(mask):
    return mask[0].numpy() / (1 if mask.is_floating_point() else 255)


def grey(values, mode=np.uint8):
    return Image.fromarray(np.asarray(values).astype(mode))


def palette(values, colours):
    image = grey(values)
    flat = [0] * 768
    for index, colour in colours.items():
        flat[3 * index : 3 * index + 3] = colour
    image.putpalette(flat)
    return image


PAINT = np.dstack([np.zeros((12, 16, 3), np.uint8), (OBJECT * 255).astype(np.uint8)])
MAROON = np.zeros((12, 16, 3), np.uint8)
MAROON[OBJECT] = 128, 0, 0


@pytest.mark.parametrize(
    ("mask", "named"),
    [
        (grey(OBJECT), "0 and 1"),
        (grey(OBJECT * 255), "0 and 255"),
        (grey(OBJECT, np.uint16), "0 and 1"),
        (grey(OBJECT * 255, np.uint16), "0 and 255 in 16 bits"),
        (grey(OBJECT * 65535, np.uint16), "0 and 65535"),
        (Image.fromarray(np.stack([OBJECT] * 3, 2).astype(np.uint8)), "0 and 1"),
        (palette(OBJECT, {i: (i, i, i) for i in range(256)}), "0 and 1"),
        (palette(OBJECT, {1: (128, 0, 0)}), "a palette, its background black or transparent"),
        (palette(~OBJECT, {0: (200, 0, 0), 1: (0, 0, 0)}), "a palette, its background black or transparent"),
        (Image.fromarray(PAINT), "0 and 255 in the alpha channel"),
        (Image.fromarray(PAINT[..., 2:]), "0 and 255 in the alpha channel"),
        (Image.fromarray(MAROON), "colours on black"),
        (grey(OBJECT * 255).convert("1"), "0 and 255"),
    ],
    ids=lambda value: value.mode if isinstance(value, Image.Image) else value,
)
def test_usual_kinds_are_read_and_named(tmp_path, mask, named):
    folder = write(tmp_path, mask)
    assert np.array_equal(evidence(masks(folder)[0]), OBJECT)
    assert [kind.name for kind in folder_encoding(folder, read_table(folder)).kinds.values()] == [named]


def test_a_float_file_of_0_and_255(tmp_path):
    grey(OBJECT * 255, np.float32).save(tmp_path / "m.tif")
    assert np.array_equal(read_mask(tmp_path / "m.tif")[0].numpy(), OBJECT)


@pytest.mark.parametrize(
    "mask",
    [
        grey(np.where(OBJECT, 1, np.where(RIM, 3, 2))),  # Oxford pets
        palette(np.where(OBJECT, 15, np.where(RIM, 255, 0)), {15: (192, 128, 128), 255: (224, 224, 192)}),  # VOC
        Image.fromarray(  # ImageNet-S: id 7, and 1000 is ignored
            np.dstack([np.where(OBJECT, 7, np.where(RIM, 1000 % 256, 0)), np.where(RIM, 3, 0), 0 * OBJECT]).astype(
                np.uint8
            )
        ),
        Image.fromarray(  # VOC's colours in RGB, as CVAT writes them
            np.where(OBJECT[..., None], [128, 0, 0], np.where(RIM[..., None], [224, 224, 192], 0)).astype(np.uint8)
        ),
    ],
    ids=["trimap", "palette", "ids", "colours"],
)
def test_borders_are_ignored(tmp_path, mask):
    read = masks(write(tmp_path, mask))[0]
    assert np.array_equal(evidence(read), OBJECT)
    assert np.array_equal(read[1].numpy() > 0, RIM)


@pytest.mark.parametrize(
    ("mask", "shown"),
    [
        (grey(OBJECT * 2), "0, 2"),
        (grey(OBJECT * 7 + RIM * 3), "0, 3, 7"),
        (grey(np.where(OBJECT, 15, RIM * 255)), "0, 15, 255"),
        (grey(OBJECT / 255, np.float32), "0, 0.0039"),
        (palette(OBJECT, {0: (10, 200, 30), 1: (200, 0, 0)}), "0, 1"),
        (palette(OBJECT * 255, {255: (255, 0, 0)}), "0, 255"),
        (grey(OBJECT * 100), "0, 100"),
    ],
    ids=["second class", "two classes", "void in grey", "ones over 255", "no black", "one colour at 255", "percent"],
)
def test_what_cannot_be_decided_is_refused_with_the_line_to_write(tmp_path, mask, shown):
    suffix = "tif" if mask.mode == "F" else "png"
    mask.save(tmp_path / f"m.{suffix}")
    with pytest.raises(InputError, match=rf"{shown}.*Say it in encoding\.yaml .*'values: \{{0: background, .*evidence"):
        read_mask(tmp_path / f"m.{suffix}")


def test_a_photograph_is_no_mask(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3)).astype(np.uint8)).save(tmp_path / "m.png")
    with pytest.raises(InputError, match="as a photograph has"):
        read_mask(tmp_path / "m.png")


def test_colours_under_an_alpha_channel_are_a_question(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (12, 16, 4)).astype(np.uint8)
    pixels[..., 3] = OBJECT * 255
    Image.fromarray(pixels).save(tmp_path / "m.png")
    with pytest.raises(InputError, match="channel: alpha"):
        read_mask(tmp_path / "m.png")
    assert np.array_equal(read_mask(tmp_path / "m.png", Encoding(channel="alpha"))[0].numpy(), OBJECT)


def test_what_is_written_in_the_folder_goes_before_what_is_found(tmp_path):
    folder = write(tmp_path, grey(OBJECT * 2 + RIM * 9))
    write_encoding(folder, channel="index", values={0: "background", 2: "evidence", 9: "ignore"})
    read = masks(folder)[0]
    assert np.array_equal(evidence(read), OBJECT)
    assert np.array_equal(read[1].numpy() > 0, RIM)
    write_encoding(folder, values={0: "background", 2: "evidence"})
    with pytest.raises(InputError, match=r"'m0\.png' has the value 9"):
        masks(folder)
    write_encoding(folder, values={0: "background", 2: "evidence"}, other="ignore")
    assert np.array_equal(masks(folder)[0][1].numpy() > 0, RIM)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("channel: alfa", "channel is 'alfa'.*luminance, alpha, index, rgb_id"),
        ("chanel: alpha", "Unknown key 'chanel'"),
        ("values: {1: object}", "values is"),
        ("- 1", "expected lines such as"),
        ("channel: [", "as YAML"),
        ("image_range: [5, 5]", "image_range"),
        ("!!python/object/apply:os.getcwd []", "as YAML"),
    ],
)
def test_a_bad_encoding_is_refused(tmp_path, content, message):
    (tmp_path / "encoding.yaml").write_text(content)
    with pytest.raises(InputError, match=message):
        read_encoding(tmp_path)


def test_masks_of_a_folder_are_decided_together(tmp_path):
    soft = grey(np.linspace(0, 255, 192).reshape(12, 16))
    folder = write(tmp_path, grey(OBJECT * 60), soft)
    assert evidence(masks(folder)[0]).max() == pytest.approx(60 / 255)
    with pytest.raises(InputError, match="0, 60"):
        read_mask(folder / "m0.png")


def test_a_mask_that_does_not_fit_the_others_is_refused(tmp_path):
    folder = write(tmp_path, *[grey(OBJECT)] * 40)
    found = folder_encoding(folder, read_table(folder))
    grey(OBJECT * 255).save(folder / "m0.png")
    with pytest.raises(InputError, match="'m0.png' has the value 255, and the folder's masks are read as 0 and 1"):
        read_samples(folder, read_table(folder), encoding=found)


def test_a_column_names_the_numbers_that_are_evidence(tmp_path):
    index = palette(OBJECT * 12 + RIM * 15, {12: (64, 0, 128), 15: (192, 128, 128)})
    folder = write(tmp_path, index, columns=",mask_value", cells=",15")
    write_encoding(folder, channel="index")
    assert np.array_equal(evidence(masks(folder)[0]), RIM)


def test_polarity_of_a_folder_and_of_a_row(tmp_path):
    folder = write(tmp_path, grey(OBJECT * 255))
    write_encoding(folder, polarity="nuisance")
    read = masks(folder)[0]
    assert not evidence(read).any()
    assert np.array_equal(read[1].numpy() == 0, OBJECT)
    write(tmp_path, grey(OBJECT * 255), columns=",mask_polarity", cells=",evidence")
    assert np.array_equal(evidence(masks(folder)[0]), OBJECT)


def test_several_masks_are_united_and_so_are_pages(tmp_path):
    grey(OBJECT * 255).save(tmp_path / "one.png")
    grey(RIM * 255).save(tmp_path / "two.png")
    grey(OBJECT * 255).save(tmp_path / "both.tif", save_all=True, append_images=[grey(RIM * 255)])
    Image.new("RGB", (16, 12)).save(tmp_path / "i.png")
    for cell in ("one.png;two.png", "both.tif"):
        (tmp_path / "labels.csv").write_text(f"image,label,mask\ni.png,cat,{cell}\n")
        assert np.array_equal(evidence(masks(tmp_path)[0]), OBJECT | RIM)


@given(st.lists(st.tuples(st.sampled_from("ebi"), st.sampled_from("ebi")), min_size=1, max_size=4))
def test_union_pixel_by_pixel(columns):
    """Evidence in any mask; of the rest, ignored in any."""
    stacked = [
        np.array([[[float(letter == "e") for letter in mask]], [[float(letter == "i") for letter in mask]]])
        for mask in zip(*columns, strict=True)
    ]
    both = united(stacked)
    for place, letters in enumerate(columns):
        assert both[0, 0, place] == ("e" in letters)
        assert both[1, 0, place] == ("e" not in letters and "i" in letters)
    assert len(with_polarity(both, "evidence")) == 2


@given(
    st.dictionaries(st.integers(0, 9), st.sampled_from(["evidence", "background", "ignore"])),
    st.sampled_from([None, "evidence", "background", "ignore"]),
    st.lists(st.integers(0, 9), min_size=1, max_size=6),
    st.sampled_from([np.uint8, np.int64]),
)
def test_numbers_mean_what_is_said_pixel_by_pixel(values, other, numbers, dtype):
    pixels = Pixels("luminance", np.array([numbers], dtype), 255)
    meanings = [values.get(number, other) for number in numbers]
    if None in meanings:
        first = min(number for number, meaning in zip(numbers, meanings) if meaning is None)
        with pytest.raises(InputError, match=f"the value {first},"):
            planes(pixels, Kind("as said", values, other), "m.png")
        return
    evidence, *ignore = shares(planes(pixels, Kind("as said", values, other), "m.png"))
    assert evidence[0].tolist() == [meaning == "evidence" for meaning in meanings]
    assert (ignore[0][0].tolist() if ignore else [0] * len(numbers)) == [meaning == "ignore" for meaning in meanings]


def test_bytes_and_floats_are_alike():
    shaded = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    marked = np.stack([shaded[0] // 2, shaded[0] % 2 * 127])
    for mask in (shaded, marked):
        assert np.allclose(shares(with_polarity(mask, "nuisance")), with_polarity(shares(mask), "nuisance"))
    for both in ([shaded, marked], [shaded, shares(marked)]):
        assert np.allclose(shares(united(both)), united([shares(mask) for mask in both]))


def test_a_smaller_mask_is_resized_where_the_folder_says_so(tmp_path):
    folder = write(tmp_path, grey(OBJECT * 255), image=Image.new("RGB", (32, 24)))
    with pytest.raises(InputError, match="'resize: true'"):
        masks(folder)
    write_encoding(folder, resize=True)
    assert np.array_equal(evidence(masks(folder)[0]), np.kron(OBJECT, np.ones((2, 2))))
    write(tmp_path, grey(OBJECT * 255), image=Image.new("RGB", (32, 32)))
    with pytest.raises(InputError, match="expected the same size"):
        masks(folder)


@pytest.mark.parametrize("orientation", range(2, 9))
def test_masks_lie_on_turned_images(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo = Image.fromarray(np.where(OBJECT[..., None], 220, 20).astype(np.uint8).repeat(3, 2))
    photo.save(tmp_path / "i.jpg", quality=95, exif=exif)
    grey(OBJECT * 255).save(tmp_path / "m.png")
    (tmp_path / "labels.csv").write_text("image,label,mask\ni.jpg,cat,m.png\n")
    if orientation < 5:
        with pytest.raises(InputError, match=f"EXIF orientation {orientation}.*'drawn_on: stored'"):
            masks(tmp_path)
        write_encoding(tmp_path, drawn_on="stored")
    image, mask = read_samples(tmp_path, read_table(tmp_path))[1][0]
    assert ((image[0] > 128) == (mask[0] > 0)).float().mean() > 0.98
    upright = Image.fromarray(mask[0].numpy())
    upright.save(tmp_path / "m.png")
    write_encoding(tmp_path, drawn_on="upright")
    assert torch.equal(masks(tmp_path)[0], mask)
    (tmp_path / "labels.csv").write_text("image,label,box\ni.jpg,cat,3 2 10 5\n")
    write_encoding(tmp_path, drawn_on="stored")
    assert torch.equal(masks(tmp_path)[0], mask)


def test_ignored_pixels_move_with_the_image_into_the_batch(tmp_path):
    folder = write(tmp_path, grey(np.where(OBJECT, 1, np.where(RIM, 3, 2))), grey(np.where(OBJECT, 1, 2)))
    table = read_table(folder)
    data = ImageDataset(*read_samples(folder, table)[:2], ["cat"], [], 24)
    batch = Collate((0.5,) * 3, (0.2,) * 3)([data[0], data[1]])
    assert batch["ignore"].shape == batch["mask"].shape == (2, 24, 24)
    assert not batch["ignore"][1].any()
    assert not (batch["ignore"] * batch["mask"]).any()
    assert batch["ignore"][0].mean() == pytest.approx(RIM.mean(), abs=0.02)
    assert "ignore" not in Collate((0.5,) * 3, (0.2,) * 3)([data[1]])


def test_controls_leave_what_is_ignored(tmp_path):
    folder = write(tmp_path, grey(np.where(OBJECT, 1, np.where(RIM, 3, 2))))
    samples = read_samples(folder, read_table(folder))[1]
    inverted, full = (control(samples, [1.0], 0)[0].mask for control in (Inverted(), Uniform()))
    assert torch.equal(inverted[1], samples[0].mask[1])
    assert torch.equal(inverted[0], 255 - samples[0].mask[0])
    assert full[0].min() == 255
    assert torch.equal(full[1], samples[0].mask[1])


def test_nothing_is_warned_about_a_good_folder(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        masks(write(tmp_path, grey(OBJECT * 255)))
