import shutil

import pytest
from PIL import Image

from lookright.data.image_folders import index_image_folders
from lookright.studio.arrivals import join_arrivals
from lookright.studio.folder import StudioFolder
from lookright.studio.server import server_of


@pytest.fixture
def indexed(bare):
    """A folder `class/image` with the labels.csv that its folders tell."""
    for number in range(8):
        place = bare / ("cat", "dog")[number % 2]
        place.mkdir(exist_ok=True)
        (bare / f"images/{number}.png").rename(place / f"{number}.png")
    (bare / "images").rmdir()
    (bare / "labels.csv").unlink()
    index_image_folders(bare)
    return bare


def add(folder, name):
    (folder / name).parent.mkdir(exist_ok=True)
    shutil.copy(next(folder.glob("*/*.png")), folder / name)


def test_images_that_came_later_join_with_the_labels_of_their_folders(indexed, capsys, page_of, studio_of):
    shown = StudioFolder(indexed)
    assert join_arrivals(shown) == ""
    for name in ("cat/new.png", "bird/first.png", "masks/2.png", "evidence/2.png", "cat/0_mask.png"):
        add(indexed, name)
    Image.new("L", (32, 32), 255).save(indexed / "evidence/2.png")
    shown.set_cells("cat/2.png", {"mask": "evidence/2.png", "annotator": "Ada"})
    before = (indexed / "labels.csv").read_text()
    server, studio, _ = server_of(indexed)
    server.server_close()
    table = studio.folder.table
    assert table["image"].tolist()[8:] == ["bird/first.png", "cat/new.png"]
    assert table["label"].tolist()[8:] == ["bird", "cat"]
    assert (indexed / "labels.csv").read_text().startswith(before)
    assert (indexed / "masks/.history/labels.csv").read_text() == before
    said = "New images joined labels.csv, labelled by their folders: 'bird/first.png' and 1 more."
    assert said in capsys.readouterr().out
    assert page_of(studio_of(indexed, notice=said)).get("api/folder").json["notice"] == said
    assert join_arrivals(shown) == ""


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("image,label\ncat/0.png,tiger\n", "cat/2.png"),
        ("image,label,split\ncat/0.png,cat,train\n", "cat/2.png"),
        ("image,label\ncat/0.png,cat\n", "deep/cat/2.png"),
        ("image,label\ncat/0.png,cat\n", "Cat/2.png"),
        ("image,label\ncat/0.png,cat\n", "bird /2.png"),
        ("image,label\n/elsewhere/cat/0.png,cat\n", "cat/2.png"),
    ],
    ids=["other label", "split", "deeper", "spelling", "no name", "elsewhere"],
)
def test_images_whose_row_cannot_be_told_are_named(indexed, text, name):
    (indexed / name).parent.mkdir(parents=True, exist_ok=True)
    (indexed / name).write_bytes((indexed / "cat/0.png").read_bytes())
    for path in {*indexed.glob("*/*.png")} - {indexed / "cat/0.png", indexed / name}:
        path.unlink()
    (indexed / "labels.csv").write_text(text)
    said = join_arrivals(StudioFolder(indexed))
    assert "labels.csv does not name" in said
    assert (indexed / "labels.csv").read_text() == text


def test_on_a_full_disk_they_are_told(indexed, fill_disk):
    rows = (indexed / "labels.csv").read_text().splitlines()
    text = "\n".join([f"{rows[0]},note", *(f"{row},{'long ' * 200}" for row in rows[1:])])
    (indexed / "labels.csv").write_text(text)
    add(indexed, "cat/new.png")
    shown = StudioFolder(indexed)
    fill_disk(True)
    said = join_arrivals(shown)
    fill_disk(False)
    assert "large" in said
    assert "'cat/new.png'" in said
    assert (indexed / "labels.csv").read_text() == text
