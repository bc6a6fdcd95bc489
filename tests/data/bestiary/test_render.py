from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lookright.data.bestiary import CREATURES, KNOWN_CREATURES, LEVELS, UNKNOWN_CREATURES, engine, render_bestiary
from lookright.data.bestiary import render as module
from lookright.errors import InputError

pytest.importorskip("vizdoom")

SMALL = {
    "images_per_pair": 2,
    "images_at_home": 4,
    "creatures": ("Cacodemon", "DoomImp", "PainElemental"),
    "levels": ("MAP30", "MAP05"),
    "seed": 7,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "new" / "bestiary"
    render_bestiary(folder, **SMALL)
    return folder


@pytest.fixture(scope="module")
def table(folder):
    return pd.read_csv(folder / "labels.csv")


def digest(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_defaults_hold_what_the_protocols_need():
    assert len(set(KNOWN_CREATURES)) >= 8
    assert len(set(UNKNOWN_CREATURES) - set(KNOWN_CREATURES)) >= 4
    assert len(set(LEVELS)) >= 12
    assert set(CREATURES) <= set(module.RADIUS)


def test_native_layout(folder, table):
    assert list(table.columns) == ["image", "label", "mask", "domain"]
    named = {"labels.csv", *table["image"], *table["mask"]}
    assert named == {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert [path.name for path in folder.parent.iterdir()] == ["bestiary"]  # no draft left


def test_every_creature_in_every_level(table):
    counts = table.groupby(["label", "domain"]).size()
    assert counts.to_dict() == {
        ("Cacodemon", "MAP30"): 4,
        ("Cacodemon", "MAP05"): 2,
        ("DoomImp", "MAP30"): 2,
        ("DoomImp", "MAP05"): 4,
        ("PainElemental", "MAP30"): 2,
        ("PainElemental", "MAP05"): 2,
    }


def test_masks_are_binary_and_of_a_seemly_size(folder, table):
    for row in table.itertuples():
        image, mask = Image.open(folder / row.image), Image.open(folder / row.mask)
        assert (image.mode, image.size, mask.mode, mask.size) == ("RGB", (96, 96), "L", (96, 96))
        values = np.asarray(mask)
        assert set(np.unique(values)) == {0, 255}
        assert 0.02 <= (values > 0).mean() <= 0.5


def test_no_two_images_of_a_level_are_nearly_the_same(folder, table):
    for _, rows in table.groupby("domain"):
        coarse = [
            np.asarray(Image.open(folder / image).convert("L"), float).reshape(12, 8, 12, 8).mean((1, 3))
            for image in rows["image"]
        ]
        for number, one in enumerate(coarse):
            for other in coarse[:number]:
                assert np.abs(one - other).mean() > 4


def test_the_same_seed_gives_the_same_bytes_whatever_the_number_of_workers(folder, tmp_path):
    render_bestiary(tmp_path / "again", **SMALL, workers=1)
    assert digest(tmp_path / "again") == digest(folder)


def test_another_seed_gives_other_images(folder, tmp_path):
    render_bestiary(tmp_path / "other", images_per_pair=1, creatures=["Cacodemon"], levels=["MAP30"], seed=8)
    assert not set(digest(tmp_path / "other").values()) & set(digest(folder).values())


def test_a_folder_that_holds_files_is_refused_and_left_alone(tmp_path):
    (tmp_path / "precious.txt").write_text("keep")
    with pytest.raises(InputError, match="not empty"):
        render_bestiary(tmp_path, **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def test_a_level_without_room_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "start_method", lambda preload: "fork")  # takes what was replaced along
    monkeypatch.setattr(module, "_LEAST_DIFFERENCE", 256)
    monkeypatch.setattr(module, "_ATTEMPTS", 20)
    with pytest.raises(InputError, match="Level MAP30 lacks room for another DoomImp"):
        render_bestiary(tmp_path / "new", images_per_pair=2, creatures=["DoomImp"], levels=["MAP30"])
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"creatures": ["Unicorn"]}, "No creature Unicorn. Expected some of Arachnotron"),
        ({"levels": ["MAP99"]}, "No level 'MAP99'"),
        ({"images_per_pair": 0}, "images_per_pair is 0"),
        ({"size": 2000}, "at most 768"),
    ],
)
def test_bad_arguments(tmp_path, arguments, message):
    with pytest.raises(InputError, match=message):
        render_bestiary(tmp_path / "new", **arguments)
    assert not any(tmp_path.iterdir())
