"""A folder goes out to other tools and comes back as it was."""

import base64
import io
import json
import zlib

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lookright.cli import main
from lookright.data.convert import convert
from lookright.data.export import annotated_folder, export
from lookright.data.formats import WRITERS, coco, label_studio
from lookright.data.formats.annotated import Annotated, run_counts, runs
from lookright.errors import InputError

CAT = np.zeros((6, 9), bool)
CAT[1:4, 2:7] = True
CAT[2, 4] = False  # a hole
DOG = np.zeros((6, 9), bool)
DOG[0, 0] = DOG[3:6, 8] = True  # two parts, one of them a corner
BORDER = np.zeros((6, 9), bool)
BORDER[4, 2:7] = True


@pytest.fixture
def folder(tmp_path):
    """A cat with a border to ignore, a dog of the same file name, an empty mask, and an image without a mask."""
    native = tmp_path / "native"
    rows = [
        ("images/a/1.png", "cat", np.where(CAT, 255, np.where(BORDER, 128, 0)), "train"),
        ("images/b/1.png", "dog", DOG * 255, "test"),
        ("images/b/2.png", "dog", DOG * 0, "train"),
        ("images/b/3.png", "dog", None, "train"),
    ]
    table = []
    for place, (image, label, mask, split) in enumerate(rows):
        for name in (image, f"masks/{place}.png"):
            (native / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((6, 9, 3), 40 * place, np.uint8)).save(native / image)
        if mask is not None:
            Image.fromarray(mask.astype(np.uint8)).save(native / f"masks/{place}.png")
        table.append([image, label, f"masks/{place}.png" if mask is not None else "", split])
    pd.DataFrame(table, columns=["image", "label", "mask", "split"]).to_csv(native / "labels.csv", index=False)
    (native / "encoding.yaml").write_text("values: {0: background, 255: evidence, 128: ignore}\n")
    return native


def told(folder):
    return [
        (
            int(np.array(Image.open(one.image))[0, 0, 0]),
            one.label,
            one.split,
            one.marked[one.label].tolist() if one.label in one.marked else None,
            one.ignore.tolist() if one.ignore is not None else None,
        )
        for one in annotated_folder(folder)
    ]


@pytest.mark.parametrize("format", ["coco", "label_studio", "cvat"])
def test_what_was_written_comes_back_exactly(folder, tmp_path, format, capsys):
    assert main(["data", "export", str(folder), format]) == 0
    path = capsys.readouterr().out.splitlines()[0]
    assert main(["data", "convert", path, str(tmp_path / "back")]) == 0
    expected = told(folder)
    if format == "cvat":  # which has no empty masks
        expected[2] = (*expected[2][:3], None, None)
    assert told(tmp_path / "back") == expected


def test_coco_is_read_by_its_own_library(folder):
    pycocotools = pytest.importorskip("pycocotools.coco")
    (path,) = export(folder, "coco")
    read = pycocotools.COCO(str(path))
    marks = [read.annToMask(annotation).astype(bool) for annotation in read.loadAnns(read.getAnnIds())]
    assert [mark.tolist() for mark in marks] == [CAT.tolist(), BORDER.tolist(), DOG.tolist(), (DOG & False).tolist()]
    assert [each["iscrowd"] for each in read.dataset["annotations"]] == [0, 1, 0, 0]
    assert read.dataset["annotations"][0]["bbox"] == [2, 1, 5, 3]
    assert read.dataset["annotations"][0]["area"] == 14


def test_compressed_runs_are_those_of_pycocotools():
    pycocotools = pytest.importorskip("pycocotools.mask")
    random = np.random.default_rng(0)
    for share in (0.001, 0.1, 0.5):
        mask = random.random((70, 90)) < share
        counts = run_counts(mask.T.reshape(-1))
        assert coco.packed(counts) == pycocotools.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
        assert coco.run_lengths(coco.packed(counts)) == counts
        assert (mask == runs(counts, 6300).reshape(90, 70).T).all()


def test_brushes_of_any_run_length_come_back():
    random = np.random.default_rng(0)
    for mask in (random.random((30, 40)) < 0.5, np.ones((200, 300), bool), np.zeros((1, 1), bool)):
        values = label_studio.unpack(label_studio.pack(mask), mask.size * 4).reshape(*mask.shape, 4)
        assert (values == 255 * mask[..., None]).all()


def test_soft_masks_are_pre_annotations_where_they_are_half_or_more(folder, tmp_path):
    soft = np.zeros((6, 9), np.uint8)
    soft[2, :] = np.linspace(0, 255, 9)
    Image.fromarray(soft).save(folder / "masks/1.png")
    (folder / "encoding.yaml").write_text("channel: luminance\n")
    paths = export(folder, "label_studio_predictions", tmp_path / "out.json")
    assert [path.name for path in paths] == ["out.json", "out.xml"]
    tasks = json.loads(paths[0].read_text())
    assert "annotations" not in tasks[1]
    brush = tasks[1]["predictions"][0]["result"][1]["value"]
    marked = label_studio.unpack(bytes(brush["rle"]), 216).reshape(6, 9, 4)[..., 3] > 0
    assert (marked == (soft >= 128)).all()
    assert '<Label value="cat"/>' in paths[1].read_text()


def unpacked(binary):
    """As `fiftyone` reads the pixels of a label."""
    return np.load(io.BytesIO(zlib.decompress(base64.b64decode(binary["$binary"]["base64"])))).tolist()


def test_fiftyone_gets_labels_splits_and_masks(folder):
    (path,) = export(folder, "fiftyone")
    dataset = json.loads(path.read_text())
    assert set(dataset["sample_fields"]) == {"label", "evidence"}
    told = [(one["filepath"], one["label"]["label"], one["tags"]) for one in dataset["samples"]]
    assert told[0] == ("images/a/1.png", "cat", ["train"])
    assert told[1] == ("images/b/1.png", "dog", ["test"])
    masks = [unpacked(one["evidence"]["mask"]) if "evidence" in one else None for one in dataset["samples"]]
    assert masks == [(CAT + 2 * BORDER).tolist(), (DOG * 1).tolist(), (DOG * 0).tolist(), None]
    assert dataset["mask_targets"]["evidence"] == {"1": "evidence", "2": "ignore"}


def test_fiftyone_gets_maps_as_heatmaps(folder):
    shares = np.linspace(0, 1, 54).reshape(6, 9)
    images = [Annotated(folder / "images/a/1.png", {"dog": shares}, label="dog")]
    (path,) = export(folder, "fiftyone_predictions", images=images)
    (sample,) = json.loads(path.read_text())["samples"]
    assert (sample["prediction"]["_cls"], sample["prediction"]["label"]) == ("Classification", "dog")
    assert sample["map"]["_cls"] == "Heatmap"
    assert np.allclose(np.array(unpacked(sample["map"]["map"])) / 255, shares, atol=0.5 / 255)


def test_samples_are_those_of_fiftyone(folder):
    fiftyone = pytest.importorskip("fiftyone", reason="fiftyone is not installed")
    (path,) = export(folder, "fiftyone")
    samples = [fiftyone.Sample.from_dict(each) for each in json.loads(path.read_text())["samples"]]
    assert [sample.label.label for sample in samples] == ["cat", "dog", "dog", "dog"]
    assert np.array_equal(samples[0].evidence.mask, CAT + 2 * BORDER)


def test_unknown_formats_and_images_elsewhere_are_refused(folder):
    with pytest.raises(InputError, match="expected one of coco, label_studio, label_studio_predictions, cvat,"):
        export(folder, "voc")
    (folder.parent / "outside.png").write_bytes((folder / "images/a/1.png").read_bytes())
    (folder / "labels.csv").write_text("image,label\n../outside.png,cat\n")
    with pytest.raises(InputError, match="lies outside"):
        export(folder, "coco")
    assert all(writer.name == name for name, writer in WRITERS.items())


def test_several_images_of_a_name_are_told_apart(folder, tmp_path):
    convert(export(folder, "label_studio")[0], tmp_path / "back")
    assert {path.name for path in (tmp_path / "back/images").iterdir()} == {"1.png", "1-1.png", "2.png", "3.png"}
