"""Data sets of the field, in small, with their own layout."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from lookright.data.convert import convert, write_folder
from lookright.data.formats import annotated_items
from lookright.data.formats.fixations import Gaze, density
from lookright.data.samples import read_samples
from lookright.data.table import read_table
from lookright.errors import InputError

CAT = np.zeros((6, 9), bool)
CAT[1:4, 2:7] = True
DOG = np.zeros((6, 9), bool)
DOG[4:6, 0:3] = True


def picture(path, array=None, size=(9, 6)):
    path.parent.mkdir(parents=True, exist_ok=True)
    photo = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3))
    Image.fromarray((photo if array is None else array).astype(np.uint8)).save(path)


def read(out):
    """By image: label, evidence in [0, 1], and what is ignored."""
    table = read_table(out)
    samples = read_samples(out, table)[1]
    found = {}
    for name, label, sample in zip(table["image"], table["label"], samples, strict=True):
        planes = None if sample.mask is None else sample.mask.numpy() / ((sample.mask.max().item() > 1 and 255) or 1)
        ignored = planes is not None and len(planes) == 2 and planes[1] > 0
        found[name.removeprefix("images/")] = (label, None if planes is None else planes[0], ignored)
    return found, table


@pytest.mark.parametrize("place", ["birds", ".", "CUB_200_2011"])
def test_waterbirds_keep_their_groups_and_the_soft_masks_of_cub(tmp_path, place):
    folder = tmp_path / "birds"
    names = ["001.Black_footed_Albatross/a.jpg", "059.California_Gull/b.jpg"]
    soft = np.linspace(0, 255, 54).reshape(6, 9).round()
    for name in names:
        picture(folder / name)
    picture((tmp_path / place / "segmentations" / names[0]).with_suffix(".png"), soft)
    rows = [(1, names[0], 1, 2, 0, "x"), (2, names[1], 0, 0, 1, "y")]
    columns = ["img_id", "img_filename", "y", "split", "place", "place_filename"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "metadata.csv", index=False)
    convert(folder, tmp_path / "out")
    found, table = read(tmp_path / "out")
    assert found["a.jpg"][0] == "waterbird"
    assert np.allclose(found["a.jpg"][1], soft / 255)
    assert found["b.jpg"][1] is None
    assert table["group"].tolist() == ["waterbird on land", "landbird on water"]
    assert table["split"].tolist() == ["test", "train"]


def test_waterbirds_without_segmentations_say_where_to_get_them(tmp_path):
    (tmp_path / "birds").mkdir()
    (tmp_path / "birds/metadata.csv").write_text("img_id,img_filename,y,split,place,place_filename\n")
    with pytest.raises(InputError, match=r"segmentations.tgz of CUB-200-2011"):
        convert(tmp_path / "birds", tmp_path / "out")


def test_imagenet_s_ids_are_places_among_the_folders(tmp_path):
    folder = tmp_path / "ImageNetS300"
    for number in range(300):
        (folder / f"validation-segmentation/n{number:08d}").mkdir(parents=True)
    wnid = "n00000299"
    ids = np.where(CAT, 300, np.where(DOG, 1000, 0))
    picture(folder / f"validation/{wnid}/a.JPEG")
    mask = folder / f"validation-segmentation/{wnid}/a.png"
    picture(mask, np.stack([ids % 256, ids // 256, ids * 0], -1))
    convert(folder, tmp_path / "out")
    found, table = read(tmp_path / "out")
    label, evidence, ignored = found["a.JPEG"]
    assert (label, table["split"][0]) == (wnid, "val")
    assert np.array_equal(evidence > 0, CAT)
    assert np.array_equal(ignored, DOG)
    (folder / "validation-segmentation/n00000000").rmdir()  # now the numbers are others
    with pytest.raises(InputError, match="marks the class 300, and n00000299 is number 299 of 299"):
        convert(folder, tmp_path / "part")


def test_chexlocalize(tmp_path):
    coco = pytest.importorskip("pycocotools.mask")
    region = {
        name: {"size": [6, 9], "counts": coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()}
        for name, mask in (("Edema", CAT), ("Cardiomegaly", CAT & False), ("Lung Lesion", DOG))
    }
    only = {name: region[name] for name in ("Edema", "Cardiomegaly")}
    content = {"patient1_study1_view1_frontal": only, "patient2_study3_view1_frontal": region}
    for patient in ("patient1/study1", "patient2/study3"):
        picture(tmp_path / f"source/CheXpert/val/{patient}/view1_frontal.jpg")
    path = tmp_path / "source/gt_segmentations_val.json"
    path.write_text(json.dumps(content))
    _, left_out = convert(path, tmp_path / "out")
    assert left_out == ["view1_frontal.jpg: Edema, Lung Lesion is marked, and an image has one label."]
    (found,) = read(tmp_path / "out")[0].values()
    assert found[0] == "Edema"
    assert np.array_equal(found[1] > 0, CAT)
    path.write_text(json.dumps({"patient9_study1_view1_frontal": region}))
    with pytest.raises(InputError, match="No radiograph 'patient9_study1_view1_frontal'"):
        convert(path, tmp_path / "missing")


def test_the_density_of_dwell_time_is_a_sum_of_gaussians():
    random = np.random.default_rng(0)
    gaze = Gaze(random.uniform(0, 8, (3, 2)), random.uniform(1, 2, 3), random.uniform(1, 2, (3, 2)))
    expected = np.zeros((6, 9))
    for row in range(6):
        for column in range(9):
            for (x, y), weight, (wide, high) in zip(gaze.points, gaze.weight, gaze.kernel):
                distance = ((column + 0.5 - x) / wide) ** 2 + ((row + 0.5 - y) / high) ** 2
                expected[row, column] += weight * np.exp(-distance / 2) / (wide * high)
    assert np.allclose(density(gaze, 6, 9), expected / expected.max())
    seen = density(gaze._replace(window=np.tile([2.0, 1, 6, 5], (3, 1))), 6, 9)
    assert seen.max() == 1
    assert not seen[0].any()
    assert not seen[:, 6:].any()
    assert not density(Gaze(np.zeros((0, 2)), np.zeros(0), np.zeros((0, 2))), 6, 9).any()


def gazed(tmp_path, fixations, layout="", labels="image,label\na.png,cat\n"):
    folder = tmp_path / "gaze"
    picture(folder / "images/a.png", size=(40, 20))
    (folder / "fixations.csv").write_text(fixations)
    if layout:
        (folder / "fixations.yaml").write_text(layout)
    (folder / "labels.csv").write_text(labels)
    convert(folder, tmp_path / "out")
    (found,) = read(tmp_path / "out")[0].values()
    return found


@pytest.mark.parametrize(
    ("fixations", "layout"),
    [
        ("image,x,y\na.png,30,5\n", "kernel: 2"),
        ("image,x,y,duration,label\na.png,30,5,200,cat\na.png,0,0,40,cat\n", "kernel: 2\nshortest: 100"),
        ("image,x,y\na,0.75,0.25\n", "unit: fraction\nkernel: 2"),
        ("image,x,y,l,t\nimages/a.png,160,60,100,50\n", "unit: screen\nleft: l\ntop: t\nshown_width: 80\n"
         "shown_height: 40\nkernel: 4\nkernel_unit: screen"),
        ("image,x,y\na.png,30,5\n", "kernel: 0.5\nkernel_unit: degrees\npixels_per_degree: 4"),
        ("DICOM_ID,FPOGX,FPOGY,X_ORIGINAL,Y_ORIGINAL,FPOGD\na,0,0,30,5,1.5\n", ""),
    ],
)  # fmt: skip
def test_one_fixation_in_every_unit(tmp_path, fixations, layout):
    label, evidence, _ = gazed(tmp_path, fixations, layout)
    sigma = 2 if layout else 150
    y, x = np.mgrid[:20, :40] + 0.5
    expected = np.exp(-((x - 30) ** 2 + (y - 5) ** 2) / (2 * sigma**2))
    assert label == "cat"
    assert np.abs(evidence - expected / expected.max()).max() < 0.003


@pytest.mark.parametrize(
    ("fixations", "layout", "labels", "message"),
    [
        ("image,x,y\na.png,1,1\n", "", "image,label\na.png,cat\n", "Nothing says how wide a fixation is"),
        ("image,x,y\na.png,1,1\n", "kernel: 2", "image,label\n", "No label of 'a.png'"),
        ("image,x,y\nb.png,1,1\n", "kernel: 2", "image,label\n", "No image 'b.png'"),
        ("image,x,z\na.png,1,1\n", "kernel: 2", "image,label\na.png,cat\n", "No column 'y' of fixations"),
        ("image,x,y\na.png,1,1\n", "kernel: 0", "image,label\na.png,cat\n", "0 pixels wide"),
        ("image,x,y\na.png,1,1\n", "colonel: 2", "image,label\na.png,cat\n", "Unknown key 'colonel'"),
    ],
)
def test_what_is_missing_beside_fixations_is_told(tmp_path, fixations, layout, labels, message):
    with pytest.raises(InputError, match=message):
        gazed(tmp_path, fixations, layout, labels)


def test_cub_gha(tmp_path):
    folder = tmp_path / "gha"
    picture(folder / "CUB_200_2011/images/001.Albatross/a.jpg", size=(40, 20))
    (folder / "CUB_200_2011/images.txt").write_text("1 001.Albatross/a.jpg\n")
    (folder / "CUB_200_2011/train_test_split.txt").write_text("1 0\n")
    # shown at 1600 x 800, 160 from the left and 140 from the top: the point is 30, 5 of the image
    (folder / "Fixation.txt").write_text("1,40,20,1600,800,160,140,1360,340,500\n")
    convert(folder, tmp_path / "out")
    found, table = read(tmp_path / "out")
    y, x = np.mgrid[:20, :40] + 0.5
    sigma = 75 / 40
    expected = np.exp(-((x - 30) ** 2 + (y - 5) ** 2) / (2 * sigma**2))
    assert np.abs(found["a.jpg"][1] - expected / expected.max()).max() < 0.003
    assert table[["label", "split"]].to_numpy().tolist() == [["001.Albatross", "test"]]


def test_reflacx_is_the_mean_of_its_readings_within_what_was_shown(tmp_path):
    folder = tmp_path / "reflacx"
    picture(folder / "files/p10/x.png", size=(40, 20))
    (folder / "labels.csv").write_text("image,label\nx,oedema\n")
    main = folder / "main_data"
    columns = (
        "timestamp_start_fixation,timestamp_end_fixation,x_position,y_position,angular_resolution_x_pixels_per_degree,"
        "angular_resolution_y_pixels_per_degree,xmin_shown_from_image,ymin_shown_from_image,xmax_shown_from_image,"
        "ymax_shown_from_image\n"
    )
    for reading, row in (
        ("r1", "0,1,30,5,2,2,0,0,40,20"),
        ("r2", "3,4,10,5,2,2,0,0,20,20"),
        ("r3", "0,9,20,19,2,2,0,0,40,20"),
    ):
        (main / reading).mkdir(parents=True)
        (main / reading / "fixations.csv").write_text(columns + row + "\n")
    metadata = "id,image,dicom_id,eye_tracking_data_discarded\n"
    image = "physionet.org/files/p10/x.dcm,x"
    (main / "metadata_phase_1.csv").write_text(metadata + f"r1,{image},False\nr2,{image},False\nr3,{image},True\n")
    convert(folder, tmp_path / "out")
    label, evidence, _ = read(tmp_path / "out")[0]["x.png"]
    y, x = np.mgrid[:20, :40] + 0.5
    two = [np.exp(-((x - at) ** 2 + (y - 5) ** 2) / 8) for at in (30, 10)]
    two[1][:, 20:] = 0
    expected = two[0] / two[0].max() + two[1] / two[1].max()
    assert label == "oedema"
    assert np.abs(evidence - expected / expected.max()).max() < 0.003


def test_huggingface_data_sets_on_disk(tmp_path):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["dog", "cat"]), "mask": datasets.Image()}
    )
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 255, (6, 9, 3)).astype(np.uint8))
    rows = {
        "image": [photo, photo],
        "label": [1, 0],
        "mask": [Image.fromarray(CAT.astype(np.uint8)), None],
    }
    part = datasets.Dataset.from_dict(rows, features)
    datasets.DatasetDict({"train": part, "validation": part}).save_to_disk(str(tmp_path / "saved"))
    convert(tmp_path / "saved", tmp_path / "out")
    found, table = read(tmp_path / "out")
    assert table["split"].tolist() == ["train", "train", "val", "val"]
    assert found["train-0.png"][0] == "cat"
    assert np.array_equal(found["train-0.png"][1] > 0, CAT)
    assert found["train-1.png"][:2] == ("dog", None)
    assert np.array_equal(np.array(Image.open(tmp_path / "out/images/val-0.png")), np.array(photo))
    # in memory, too
    write_folder(annotated_items(part), tmp_path / "memory")
    assert np.array_equal(read(tmp_path / "memory")[0]["item-0.png"][1] > 0, CAT)


class Own(torch.utils.data.Dataset):
    classes = ("dog", "cat")

    def __init__(self, item):
        self.item = item

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return self.item


PHOTO = torch.arange(162).view(3, 6, 9) / 255


@pytest.mark.parametrize(
    "item",
    [
        {"image": PHOTO, "label": torch.tensor(1), "mask": torch.from_numpy(CAT)[None].float()},
        {"image": (PHOTO * 255).byte(), "label": 1, "mask": torch.from_numpy(CAT)},
        ((PHOTO * 255).byte().permute(1, 2, 0).numpy(), 1, CAT.astype(np.uint8) * 255),
        (Image.fromarray((PHOTO * 255).byte().permute(1, 2, 0).numpy()), 1, Image.fromarray(CAT)),
    ],
)
def test_a_torch_data_set_of_ones_own(tmp_path, item):
    write_folder(annotated_items(Own(item)), tmp_path / "out")
    label, evidence, _ = read(tmp_path / "out")[0]["item-0.png"]
    assert label == "cat"
    assert np.array_equal(evidence > 0, CAT)
    found = np.array(Image.open(tmp_path / "out/images/item-0.png"))
    assert np.array_equal(found.transpose(2, 0, 1).reshape(-1), np.arange(162))


def test_items_of_16_bits_keep_them(tmp_path):
    deep = np.linspace(0, 4095, 54).reshape(6, 9).astype(np.uint16)
    write_folder(annotated_items(Own((Image.fromarray(deep), 1, CAT))), tmp_path / "out")
    assert np.array_equal(np.array(Image.open(tmp_path / "out/images/item-0.png")), deep)
    _, samples, _ = read_samples(tmp_path / "out", read_table(tmp_path / "out"))
    assert samples[0].image.min() == 0
    assert samples[0].image.max() == 255


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ((np.zeros((6, 9, 3), np.uint16), 1), "expected bytes"),
        ((PHOTO * 3, 1), "before they are normalised"),
        ({"image": PHOTO, "kind": 1}, "no label"),
        (PHOTO, "expected a dict or a tuple"),
        ((PHOTO, 1, torch.zeros(2, 6, 9)), "expected .H, W. or"),
    ],
)
def test_items_that_are_no_image_label_and_mask_are_refused(tmp_path, item, message):
    with pytest.raises(InputError, match=message):
        write_folder(annotated_items(Own(item)), tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", '{"patient1": {"Edema": {"size": [99999999, 99999], "counts": "1"}}}'),
        ("a.json", '{"patient1": {"Edema": {"size": [6, 9], "counts": "1"}}}'),
        ("metadata.csv", "img_filename,y,split,place\n../outside.png,0,0,0\n"),
        ("metadata.csv", "img_filename,y,split,place\npatient1.png,7,0,0\n"),
        ("fixations.csv", "\x00\x01\x02"),
        ("fixations.csv", "image,x_position,y_position\npatient1.png,a,b\n"),
        ("Fixation.txt", "1,2,3\n"),
        ("dataset_dict.json", "{}"),
    ],
)
def test_broken_files_end_in_a_sentence_and_leave_nothing(tmp_path, name, content):
    folder = tmp_path / "source"
    (folder / "segmentations").mkdir(parents=True)
    picture(folder / "patient1.png")
    picture(tmp_path / "outside.png")
    (folder / name).write_text(content)
    with pytest.raises(InputError):
        convert(folder / name if name == "a.json" else folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()
