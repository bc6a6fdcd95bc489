import threading

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lookright.data.convert import convert
from lookright.data.encoding import write_encoding
from lookright.data.export import export
from lookright.data.images import ORIENTATION
from lookright.data.samples import read_samples
from lookright.data.table import read_table
from lookright.errors import InputError
from lookright.studio.annotations import KEPT, Annotations, Outdated
from lookright.studio.drawing import EVIDENCE, IGNORE, NUISANCE
from lookright.studio.folder import StudioFolder

ONE = "images/1.png"
FILE = "masks/drawn/Ada/1.png.png"


def marking(code, rows):
    def change(codes):
        changed = codes.copy()
        changed[rows] = code
        return changed

    return change


def as_read(folder, image=ONE):
    """What a training gets."""
    table = read_table(folder)
    _, samples, _ = read_samples(folder, table, cache=0.0)
    return samples[table["image"].tolist().index(image)].mask


def test_a_mask_that_was_drawn_is_what_a_training_gets(annotations):
    first = annotations.change(ONE, "Ada", "", marking(EVIDENCE, slice(0, 4)))
    annotations.change(ONE, "Ada", first.version, marking(IGNORE, slice(4, 6)))
    mask = as_read(annotations.folder.root)
    assert (mask[0, :4] == 255).all()
    assert not mask[0, 4:].any()
    assert (mask[1, 4:6] == 255).all()
    assert not mask[1, 6:].any()
    assert as_read(annotations.folder.root, "images/2.png") is None


def test_nuisance_alone_says_nothing_of_the_rest(annotations):
    first = annotations.change(ONE, "Ada", "", marking(NUISANCE, slice(0, 4)))
    mask = as_read(annotations.folder.root)
    assert not mask[0].any()
    assert not mask[1, :4].any()
    assert (mask[1, 4:] == 255).all()
    annotations.change(ONE, "Ada", first.version, marking(EVIDENCE, slice(4, 6)))  # now the rest is known
    mask = as_read(annotations.folder.root)
    assert (mask[0, 4:6] == 255).all()
    assert len(mask) == 1
    assert (annotations.read(ONE, "Ada").codes[:4] == NUISANCE).all()  # what was painted is kept


def test_nothing_is_evidence_is_an_empty_mask_and_not_an_absent_one(annotations):
    annotations.change(ONE, "Ada", "", np.zeros_like)
    mask = as_read(annotations.folder.root)
    assert mask is not None
    assert not mask.any()
    table = read_table(annotations.folder.root).set_index("image")
    assert table.loc[ONE, "mask_weight"] == 1
    assert table.loc["images/2.png", "mask_weight"] == 0


def test_two_windows_lose_nothing(annotations):
    seen = annotations.read(ONE, "Ada").version
    annotations.change(ONE, "Ada", seen, marking(EVIDENCE, 0))
    with pytest.raises(Outdated) as told:
        annotations.change(ONE, "Ada", seen, marking(EVIDENCE, 1))
    codes = annotations.read(ONE, "Ada").codes
    assert (codes[0] == EVIDENCE).all()
    assert not codes[1].any()
    assert (annotations.change(ONE, "Ada", told.value.version, marking(EVIDENCE, 1)).codes[:2] == EVIDENCE).all()


def test_of_many_at_once_each_stroke_is_in_or_is_told(annotations):
    done, told = [], []

    def draw(row):
        while True:
            version = annotations.read(ONE, "Ada").version
            try:
                annotations.change(ONE, "Ada", version, marking(EVIDENCE, row))
                done.append(row)
                return
            except Outdated:
                told.append(row)

    threads = [threading.Thread(target=draw, args=(row,)) for row in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == list(range(6))
    assert (annotations.read(ONE, "Ada").codes[:6] == EVIDENCE).all()


def test_undo_goes_back_step_by_step_to_the_table_as_it_was(own_squares):
    annotations = Annotations(StudioFolder(own_squares))
    text = (own_squares / "labels.csv").read_text()
    original = as_read(own_squares)
    codes = [annotations.read(ONE, "Ada").codes]
    assert np.array_equal(codes[0] == EVIDENCE, original[0] == 255)
    version = ""
    for row in range(3):
        found = annotations.change(ONE, "Ada", version, marking(IGNORE, row))
        version = found.version
        codes.append(found.codes)
    for expected in codes[-2::-1]:
        found = annotations.undo(ONE, "Ada", version)
        version = found.version
        assert np.array_equal(found.codes, expected)
    assert not found.is_own
    with pytest.raises(InputError, match="nothing to undo"):
        annotations.undo(ONE, "Ada", version)
    before, after = pd.read_csv(own_squares / "labels.csv", dtype=str), text.splitlines()
    assert before[["image", "label", "mask", "split", "domain"]].to_csv(index=False).splitlines() == after
    assert (own_squares / "masks/1.png").is_file()
    assert not (own_squares / FILE).exists()


def test_a_bounded_number_of_former_masks_is_kept(annotations, monkeypatch):
    monkeypatch.setattr("lookright.studio.annotations.KEPT", 3)
    version = ""
    for row in range(6):
        version = annotations.change(ONE, "Ada", version, marking(EVIDENCE, row)).version
    for _ in range(3):
        version = annotations.undo(ONE, "Ada", version).version
    with pytest.raises(InputError, match="oldest"):
        annotations.undo(ONE, "Ada", version)
    assert KEPT > 50


def test_annotators_do_not_see_each_other_and_the_last_one_saved_counts(annotations):
    annotations.change(ONE, "Ada", "", marking(EVIDENCE, 0))
    assert not annotations.read(ONE, "Grace Hopper").codes.any()
    annotations.change(ONE, "Grace Hopper", "", marking(EVIDENCE, 5))
    assert annotations.by_image() == {ONE: ["Ada", "Grace Hopper"]}
    assert (as_read(annotations.folder.root)[0, 5] == 255).all()
    assert (annotations.read(ONE, "Ada").codes[0] == EVIDENCE).all()
    row = annotations.folder.row(ONE)
    assert row["annotator"] == "Grace Hopper"


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a\\b", ".history", "x" * 41, "a\0", " a", "a\n"])
def test_names_that_are_paths_are_refused(annotations, name):
    with pytest.raises(InputError):
        annotations.change(ONE, name, "", marking(EVIDENCE, 0))


def test_a_full_disk_leaves_the_former_mask_and_table(annotations, fill_disk):
    Image.new("RGB", (300, 300)).save(annotations.folder.root / ONE)
    first = annotations.change(ONE, "Ada", "", marking(EVIDENCE, 0))
    text = (annotations.folder.root / "labels.csv").read_text()
    noise = np.random.default_rng(0).choice([0, NUISANCE, IGNORE], (300, 300)).astype(np.uint8)
    fill_disk(True)
    with pytest.raises(OSError, match="large"):
        annotations.change(ONE, "Ada", first.version, lambda codes: noise)
    fill_disk(False)
    assert (annotations.folder.root / "labels.csv").read_text() == text
    assert np.array_equal(annotations.read(ONE, "Ada").codes, first.codes)


@pytest.mark.parametrize("encoding", [{"channel": "alpha"}, {"channel": "rgb_id"}, {"polarity": "nuisance"}, {}])
def test_masks_are_read_right_whatever_the_others_are_encoded_as(annotations, encoding):
    if encoding:
        write_encoding(annotations.folder.root, **encoding)
    fresh = Annotations(StudioFolder(annotations.folder.root))
    version = fresh.change(ONE, "Ada", "", marking(EVIDENCE, slice(0, 4))).version
    assert (fresh.change(ONE, "Ada", version, marking(IGNORE, 4)).codes[:4] == EVIDENCE).all()
    mask = as_read(annotations.folder.root)
    assert (mask[0, :4] == 255).all()
    assert not mask[0, 4:].any()
    assert (mask[1, 4] == 255).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_masks_of_photographs_that_are_turned_lie_upright(annotations, orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.new("RGB", (30, 20)).save(annotations.folder.root / ONE, exif=exif)
    found = annotations.change(ONE, "Ada", "", marking(EVIDENCE, slice(0, 4)))
    assert found.codes.shape == ((20, 30) if orientation < 5 else (30, 20))
    mask = as_read(annotations.folder.root)
    assert (mask[0, :4] == 255).all()
    assert not mask[0, 4:].any()


def test_a_weight_of_zero_becomes_one_when_a_mask_is_drawn(annotations):
    path = annotations.folder.root / "labels.csv"
    pd.read_csv(path, dtype=str).assign(mask_weight="0").to_csv(path, index=False)
    annotations.change(ONE, "Ada", "", marking(EVIDENCE, 0))
    weights = read_table(annotations.folder.root).set_index("image")["mask_weight"]
    assert weights[ONE] == 1
    assert weights.sum() == 1


@pytest.mark.parametrize("format", ["label_studio", "cvat"])
def test_masks_go_to_other_tools_and_come_back(annotations, tmp_path, format):
    annotations.change(ONE, "Ada", "", marking(EVIDENCE, slice(0, 4)))
    first, *_ = export(annotations.folder.root, format)
    table, _ = convert(first, tmp_path / "back", format)
    image = next(name for name in table["image"] if name.endswith("1.png"))
    mask = as_read(tmp_path / "back", image)
    assert (mask[0, :4] == 255).all()
    assert not mask[0, 4:].any()


def test_masks_that_lead_outside_are_not_written(annotations, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (annotations.folder.root / "masks").mkdir()
    (annotations.folder.root / "masks/drawn").symlink_to(outside)
    with pytest.raises(InputError, match="outside"):
        annotations.change(ONE, "Ada", "", marking(EVIDENCE, 0))
    assert not any(outside.iterdir())
