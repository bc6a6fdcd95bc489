"""Each reader on a file that the format's own library or tool wrote, as far as it can be had."""

import base64
import io
import json
import os

import numpy as np
import pytest
from PIL import Image

from lookright.data.convert import convert, find_format
from lookright.data.formats import FORMATS, label_studio
from lookright.data.formats.voc import colour
from lookright.data.samples import read_samples
from lookright.data.table import read_table
from lookright.errors import InputError

CAT = np.zeros((6, 9), bool)
CAT[1:4, 2:7] = True
DOG = np.zeros((6, 9), bool)
DOG[4:6, 0:3] = True
NOTHING = np.zeros((6, 9), bool)


def photo(path, size=(9, 6)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3)).astype(np.uint8)).save(path)


def converted(source, out, **options):
    """By image: label, evidence, ignored (or None for no mask)."""
    convert(source, out, **options)
    table = read_table(out)
    samples = read_samples(out, table)[1]
    found = {}
    for name, label, sample in zip(table["image"], table["label"], samples, strict=True):
        planes = None if sample.mask is None else sample.mask.numpy() > 0
        ignored = None if planes is None else planes[1] if len(planes) == 2 else NOTHING
        found[name.removeprefix("images/")] = (label, None if planes is None else planes[0], ignored)
    return found


def same(found, label, evidence, ignored=NOTHING):
    return found[0] == label and np.array_equal(found[1], evidence) and np.array_equal(found[2], ignored)


def coco_file(folder, segmentation_of):
    """Three images: a cat in two parts, a cat beside a crowd of them, and a cat with a dog."""
    for number in (5, 6, 7):
        photo(folder / f"{number}.png")
    left, right = CAT.copy(), CAT.copy()
    left[:, 4:] = right[:, :4] = False
    marks = [(5, 90, left, 0), (5, 90, right, 0), (6, 90, CAT, 0), (6, 90, DOG, 1), (7, 90, CAT, 0), (7, 17, DOG, 0)]
    content = {
        "images": [{"id": n, "file_name": f"{n}.png", "height": 6, "width": 9} for n in (5, 6, 7)],
        "categories": [{"id": 17, "name": "dog"}, {"id": 90, "name": "cat"}],
        "annotations": [
            {"id": n, "image_id": image, "category_id": kind, "segmentation": segmentation_of(mask), "iscrowd": crowd}
            for n, (image, kind, mask, crowd) in enumerate(marks)
        ],
    }
    (folder / "instances.json").write_text(json.dumps(content))
    return folder / "instances.json"


def compressed(mask):
    coco = pytest.importorskip("pycocotools.mask")
    encoded = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": encoded["size"], "counts": encoded["counts"].decode()}


def uncompressed(mask):
    flat = mask.T.reshape(-1)
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    return {"size": [6, 9], "counts": [0, *counts] if flat[0] else counts}


@pytest.mark.parametrize("segmentation", [compressed, uncompressed])
def test_coco(tmp_path, segmentation):
    path = coco_file(tmp_path / "coco", segmentation)
    found = converted(path, tmp_path / "out")
    assert set(found) == {"5.png", "6.png"}  # the third has two labels
    assert same(found["5.png"], "cat", CAT)
    assert same(found["6.png"], "cat", CAT, DOG)
    largest = converted(path, tmp_path / "largest", several="largest")
    assert same(largest["7.png"], "cat", CAT)


def test_coco_polygons_and_boxes(tmp_path):
    pytest.importorskip("pycocotools")
    path = coco_file(tmp_path / "coco", lambda mask: [[2, 1, 7, 1, 7, 4, 2, 4]])
    content = json.loads(path.read_text())
    content["annotations"] = content["annotations"][:3]
    content["annotations"][2] |= {"segmentation": [], "bbox": [2, 1, 5, 3]}
    path.write_text(json.dumps(content))
    found = converted(path, tmp_path / "out")
    assert same(found["5.png"], "cat", CAT)
    assert same(found["6.png"], "cat", CAT)


@pytest.mark.parametrize("value", [1_000_001, "2"])
def test_coordinates_that_no_image_has_are_refused_before_anything_is_drawn(tmp_path, value):
    path = coco_file(tmp_path / "coco", lambda mask: [[2, 1, value, 1, 7, 4, 2, 4]])
    with pytest.raises(InputError, match=f"A coordinate {value!r}; expected numbers of pixels"):
        convert(path, tmp_path / "out")


def test_compressed_masks_that_are_damaged_are_refused(tmp_path):
    whole = coco_file(tmp_path / "coco", lambda mask: {"size": [6, 9], "counts": "12"})
    with pytest.raises(InputError, match="Run lengths of 3 pixels for a mask of 54"):
        convert(whole, tmp_path / "out")


@pytest.mark.parametrize("mode", ["P", "RGB", "L"])
def test_voc(tmp_path, mode):
    photo(tmp_path / "voc/JPEGImages/a.jpg")
    (tmp_path / "voc/SegmentationClass").mkdir()
    (tmp_path / "voc/ImageSets/Segmentation").mkdir(parents=True)
    (tmp_path / "voc/ImageSets/Segmentation/val.txt").write_text("a\n")
    mask = Image.fromarray(np.where(CAT, 8, np.where(DOG, 255, 0)).astype(np.uint8))
    if mode != "L":
        mask.putpalette([value for index in range(256) for value in colour(index)])
    (mask.convert("RGB") if mode == "RGB" else mask).save(tmp_path / "voc/SegmentationClass/a.png")
    found = converted(tmp_path / "voc", tmp_path / "out")
    assert same(found["a.jpg"], "cat", CAT, DOG)
    assert read_table(tmp_path / "out")["split"].tolist() == ["val"]


def test_cvat_segmentation_mask_with_a_map_of_colours(tmp_path):
    photo(tmp_path / "voc/JPEGImages/a.jpg")
    (tmp_path / "voc/SegmentationClass").mkdir()
    pixels = np.zeros((6, 9, 3), np.uint8)
    pixels[CAT], pixels[DOG] = (250, 50, 83), (1, 2, 3)
    Image.fromarray(pixels).save(tmp_path / "voc/SegmentationClass/a.png")
    (tmp_path / "voc/labelmap.txt").write_text("# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:250,50,83::\n")
    with pytest.raises(InputError, match=r"the colour 1,2,3"):
        convert(tmp_path / "voc", tmp_path / "out")
    pixels[DOG] = 0
    Image.fromarray(pixels).save(tmp_path / "voc/SegmentationClass/a.png")
    assert same(converted(tmp_path / "voc", tmp_path / "out")["a.jpg"], "cat", CAT)


def test_labelme(tmp_path):
    photo(tmp_path / "me/a.png")
    crop = io.BytesIO()
    Image.fromarray(np.ones((3, 3), bool)).save(crop, "png")
    shapes = [
        {"label": "cat", "points": [[2, 1], [4, 3]], "shape_type": "rectangle"},
        {
            "label": "cat",
            "points": [[4, 1], [6, 3]],  # both corners are in the box
            "shape_type": "mask",
            "mask": base64.b64encode(crop.getvalue()).decode(),
        },
    ]
    content = {"shapes": shapes, "imagePath": "a.png", "imageHeight": 6, "imageWidth": 9, "imageData": None}
    (tmp_path / "me/a.json").write_text(json.dumps(content))
    assert same(converted(tmp_path / "me", tmp_path / "out")["a.png"], "cat", CAT)


# What label-studio-sdk 2.1.2's mask2rle gives for CAT as 0 and 255, and as 0 and 1.
BRUSHES = {
    255: [0, 0, 0, 216, 57, 27, 254, 43, 0, 194, 127, 247, 192, 48, 159, 253, 240, 12, 39, 255, 147, 192, 0],
    1: [0, 0, 0, 216, 57, 27, 254, 43, 0, 194, 96, 55, 192, 48, 152, 13, 240, 12, 38, 3, 147, 192, 0],
}


@pytest.mark.parametrize("top", BRUSHES)
def test_label_studio_brushes(tmp_path, top):
    values = label_studio.unpack(bytes(BRUSHES[top]), 6 * 9 * 4).reshape(6, 9, 4)
    assert np.array_equal(values[..., 3], CAT * top)
    photo(tmp_path / "studio/images/a.png")
    size = {"original_width": 9, "original_height": 6}
    brush = {"type": "brushlabels", "value": {"format": "rle", "rle": BRUSHES[top], "brushlabels": ["cat"]}, **size}
    box = {"x": 0, "y": 400 / 6, "width": 300 / 9, "height": 200 / 6, "rotation": 0, "rectanglelabels": ["cat"]}
    results = [brush, {"type": "rectanglelabels", "value": box, **size}]
    task = {"data": {"image": "/data/upload/1/0a1b2c3d-a.png"}, "annotations": [{"result": results}]}
    (tmp_path / "studio/export.json").write_text(json.dumps([task]))
    assert same(converted(tmp_path / "studio/export.json", tmp_path / "out")["a.png"], "cat", CAT | DOG)


@pytest.mark.parametrize("broken", [BRUSHES[255][:9], [0, 0, 1, 0, 57, 27], []])
def test_a_broken_brush_is_refused(broken):
    with pytest.raises(InputError, match="brush stroke"):
        label_studio.unpack(bytes(broken), 6 * 9 * 4)


def test_cvat(tmp_path):
    photo(tmp_path / "cvat/images/a.png")
    photo(tmp_path / "cvat/images/b.png")
    xml = """<annotations>
      <image name="a.png" width="9" height="6" subset="Train">
        <mask label="cat" rle="0, 3, 1, 6, 1, 3" left="2" top="1" width="5" height="3"/>
      </image>
      <image name="b.png" width="9" height="6" subset="Train">
        <box label="cat" xtl="2.0" ytl="1.0" xbr="7.0" ybr="4.0"/>
      </image></annotations>"""
    (tmp_path / "cvat/annotations.xml").write_text(xml.replace("0, 3, 1, 6, 1, 3", "0, 4, 1, 5, 1, 4"))
    found = converted(tmp_path / "cvat/annotations.xml", tmp_path / "out")
    holes = CAT.copy()
    holes[1, 6] = holes[3, 2] = False  # row by row within the box
    assert same(found["a.png"], "cat", holes)
    assert same(found["b.png"], "cat", CAT)
    assert set(read_table(tmp_path / "out")["split"]) == {"train"}
    (tmp_path / "cvat/annotations.xml").write_text('<!DOCTYPE a [<!ENTITY a "aaaa">]><annotations/>')
    with pytest.raises(InputError, match="entities"):
        convert(tmp_path / "cvat/annotations.xml", tmp_path / "bomb", format="cvat")


def test_yolo(tmp_path):
    photo(tmp_path / "yolo/images/valid/a.png", (90, 60))
    (tmp_path / "yolo/labels/valid").mkdir(parents=True)
    (tmp_path / "yolo/data.yaml").write_text("names: {0: dog, 3: cat}\n")
    (tmp_path / "yolo/labels/valid/a.txt").write_text("3 0.5 0.5 0.2 0.5\n")
    label, evidence, _ = converted(tmp_path / "yolo", tmp_path / "out")["a.png"]
    expected = np.zeros((60, 90), bool)
    expected[15:45, 36:54] = True
    assert label == "cat"
    assert np.array_equal(evidence, expected)
    (tmp_path / "yolo/labels/valid/a.txt").write_text("3 0.4 0.25 0.6 0.25 0.6 0.75 0.4 0.75\n")
    _, evidence, _ = converted(tmp_path / "yolo", tmp_path / "polygon")["a.png"]
    assert (evidence & expected).sum() / (evidence | expected).sum() > 0.9
    (tmp_path / "yolo/labels/valid/a.txt").write_text("9 0.4 0.25 0.6 0.25\n")
    with pytest.raises(InputError, match="Line '9 0.4"):
        convert(tmp_path / "yolo", tmp_path / "bad")
    assert read_table(tmp_path / "out")["split"].tolist() == ["val"]


def test_masks_beside_images_as_in_busi(tmp_path):
    folder = tmp_path / "busi"
    photo(folder / "benign/benign (1).png")
    photo(folder / "normal/normal (1).png")
    photo(folder / "normal/normal (2).png")
    for name, mask in (
        ("benign/benign (1)_mask", CAT),
        ("benign/benign (1)_mask_1", DOG),
        ("normal/normal (1)_mask", NOTHING),
    ):
        Image.fromarray((mask * 255).astype(np.uint8)).save(folder / f"{name}.png")
    found = converted(folder, tmp_path / "out")
    assert same(found["benign (1).png"], "benign", CAT | DOG)
    assert same(found["normal (1).png"], "normal", NOTHING)  # empty, not absent
    assert found["normal (2).png"][1] is None
    weight = dict(read_table(tmp_path / "out")[["image", "mask_weight"]].to_numpy())
    assert weight == {"images/benign (1).png": 1, "images/normal (1).png": 1, "images/normal (2).png": 0}


def test_oxford_pets(tmp_path):
    folder = tmp_path / "pets"
    for name in ("Abyssinian_1", "great_dane_2"):
        photo(folder / f"images/{name}.jpg")
    (folder / "annotations/trimaps").mkdir(parents=True)
    Image.fromarray(np.where(CAT, 1, np.where(DOG, 3, 2)).astype(np.uint8)).save(
        folder / "annotations/trimaps/Abyssinian_1.png"
    )
    (folder / "annotations/trimaps/._Abyssinian_1.png").write_bytes(b"rubbish")
    (folder / "annotations/trainval.txt").write_text("Abyssinian_1 1 1 1\n")
    (folder / "annotations/test.txt").write_text("great_dane_2 2 2 1\n")
    found = converted(folder, tmp_path / "out")
    assert same(found["Abyssinian_1.jpg"], "Abyssinian", CAT, DOG)
    assert found["great_dane_2.jpg"][:2] == ("great_dane", None)
    assert read_table(tmp_path / "out")["split"].tolist() == ["train", "test"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", '{"images": [{"id": 1}], "annotations": [], "categories": []}'),
        ("a.json", '{"images": [{"id": 1, "height": 99999999, "width": 99999, "file_name": "a.png"}], '
         '"annotations": [], "categories": []}'),
        ("a.json", '{"images": [{"id": 1, "height": 6, "width": 9, "file_name": "../a.png"}], '
         '"annotations": [], "categories": []}'),
        ("a.json", '{"images": 7, "annotations": [], "categories": []}'),
        ("a.json", '{"images": [], "annotations": [], "categories": []}'),
        ("a.json", "[" * 100_000),
        ("a.xml", "<annotations><image/></annotations>"),
        ("a.txt", "something else"),
    ],
)  # fmt: skip
def test_broken_files_end_in_a_sentence_and_leave_nothing(tmp_path, name, content):
    folder = tmp_path / "source"
    folder.mkdir()
    photo(tmp_path / "a.png")
    (folder / name).write_text(content)
    with pytest.raises(InputError):
        convert(folder / name, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_names_and_choices(tmp_path):
    with pytest.raises(InputError, match=r"looks like none of the known formats \(coco: "):
        find_format(tmp_path)
    with pytest.raises(InputError, match="No format 'cocco'. Do you mean coco"):
        find_format(tmp_path, "cocco")
    with pytest.raises(InputError, match="No file or folder"):
        find_format(tmp_path / "nowhere")
    assert all(each.name == name for name, each in FORMATS.items())


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
@pytest.mark.parametrize("name", ["annotations.xml", "images/a.txt", "masks.json"])
def test_a_folder_with_a_pipe_in_it_is_refused_and_not_waited_for(tmp_path, name):
    (tmp_path / "source/images").mkdir(parents=True)
    os.mkfifo(tmp_path / "source" / name)
    with pytest.raises(InputError, match="is a pipe or a device"):
        convert(tmp_path / "source", tmp_path / "out")
    assert not (tmp_path / "out").exists()
