import hashlib
import os
import tarfile

import pytest
from PIL import Image

from lookright.data.image_folders import index_image_folders, read_image_folders, unpack_vlcs
from lookright.data.table import read_table
from lookright.errors import InputError

FILES = ("Caltech101/bird/1.tif", "Caltech101/dog/2.JPG", "SUN09/bird/1.png", "SUN09/dog/7.jpg")


@pytest.fixture
def folder(tmp_path):
    for name in FILES:
        path = tmp_path / "VLCS" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(path, "PNG")
    return tmp_path / "VLCS"


def test_each_image_has_its_label_and_domain(folder):
    (folder / "SUN09" / "notes.txt").write_text("not an image")
    (folder / "SUN09" / "dog" / "Thumbs.db").write_text("not an image")
    (folder / "SUN09" / "dog" / "._7.jpg").write_text("not an image")
    table = read_image_folders(folder)
    assert table["image"].tolist() == sorted(FILES)
    assert table["label"].tolist() == ["bird", "dog", "bird", "dog"]
    assert table["domain"].tolist() == ["Caltech101", "Caltech101", "SUN09", "SUN09"]


def test_an_indexed_folder_is_a_native_one(folder):
    table = index_image_folders(folder)
    native = read_table(folder)
    assert native[["image", "label", "domain"]].equals(table)
    assert (native["mask_weight"] == 0).all()
    index_image_folders(folder)  # again: nothing changes


def test_a_table_of_the_users_is_not_overwritten(folder):
    (folder / "labels.csv").write_text("image,label\nmine.png,cat\n")
    with pytest.raises(InputError, match="Delete it"):
        index_image_folders(folder)
    assert "mine.png" in (folder / "labels.csv").read_text()


def test_what_has_another_layout_is_refused(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="domain/class/image"):
        read_image_folders(tmp_path / "empty")
    with pytest.raises(InputError, match="No folder"):
        read_image_folders(tmp_path / "nowhere")
    (folder / "SUN09" / "dog").rename(folder / "SUN09" / "Dog")
    with pytest.raises(InputError, match="'dog' and 'Dog'"):
        read_image_folders(folder)


def test_vlcs_is_unpacked_only_with_the_right_sum(folder, tmp_path):
    archive, out = tmp_path / "VLCS.tar.gz", tmp_path / "new" / "vlcs"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, "VLCS")
    with pytest.raises(InputError, match="8870171eba660927d9668f4e515928e4"):
        unpack_vlcs(archive, out)
    assert not out.exists()
    table = unpack_vlcs(archive, out, hashlib.md5(archive.read_bytes()).hexdigest())
    assert read_table(out)["image"].tolist() == table["image"].tolist() == sorted(FILES)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["VLCS", "VLCS.tar.gz", "new"]
    with pytest.raises(InputError, match="exists"):
        unpack_vlcs(archive, out)
    with pytest.raises(InputError, match=r"https://"):
        unpack_vlcs(tmp_path / "missing.tar.gz", tmp_path / "other")


def test_outer_folders_may_be_splits(tmp_path):
    for path in ("train/cat/0.png", "valid/cat/0.png", "test/dog/0.png"):
        (tmp_path / path).parent.mkdir(parents=True)
        Image.new("L", (4, 4)).save(tmp_path / path)
    table = read_image_folders(tmp_path)
    assert dict(zip(table["image"], table["split"], strict=True)) == {
        "train/cat/0.png": "train",
        "valid/cat/0.png": "val",
        "test/dog/0.png": "test",
    }
    assert "domain" not in table
    (tmp_path / "elsewhere/cat").mkdir(parents=True)
    Image.new("L", (4, 4)).save(tmp_path / "elsewhere/cat/0.png")
    with pytest.raises(InputError, match="some are splits"):
        read_image_folders(tmp_path)


def test_images_may_lie_in_folders_of_classes_or_in_none(folder):
    for place, labels in (("SUN09", ["bird", "dog"]), ("SUN09/dog", ["dog"])):
        table = read_image_folders(folder / place)
        assert table["label"].tolist() == labels
        assert list(table) == ["image", "label"]
    assert read_image_folders(folder / "SUN09/dog")["image"].tolist() == ["7.jpg"]


def test_a_single_outer_folder_is_no_domain(folder):
    (folder / "Caltech101").rename(folder.parent / "Caltech101")
    assert list(read_image_folders(folder)) == ["image", "label"]


def test_images_of_splits_need_no_classes(tmp_path):
    for path in ("train/0.png", "test/1.png"):
        (tmp_path / "pets" / path).parent.mkdir(parents=True)
        Image.new("L", (4, 4)).save(tmp_path / "pets" / path)
    table = read_image_folders(tmp_path / "pets")
    assert table["label"].tolist() == ["pets", "pets"]
    assert table["split"].tolist() == ["test", "train"]


def test_images_elsewhere_are_left_out_and_it_is_said(folder):
    Image.new("L", (4, 4)).save(folder / "overview.png")
    with pytest.warns(UserWarning, match=r"1 of 5 images .*overview\.png"):
        assert len(read_image_folders(folder)) == len(FILES)


@pytest.mark.parametrize("path", ["masks/bird/1.png", "SUN09/bird/1_mask.png"])
def test_masks_are_not_taken_for_images(folder, path):
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4)).save(folder / path)
    with pytest.raises(InputError, match="looks like a mask"):
        read_image_folders(folder)


def test_a_name_that_is_no_text_is_told(folder):
    Image.new("L", (4, 4)).save(os.fsencode(folder) + b"/SUN09/dog/\xff.png")
    with pytest.raises(InputError, match="Rename it"):
        read_image_folders(folder)
