import json
import subprocess
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from werkzeug.test import Client

from lookright.cli import main
from lookright.studio.annotations import Annotations
from lookright.studio.app import Studio
from lookright.studio.folder import StudioFolder
from lookright.training.run import train

TOKEN, PORT = "token-of-the-test", 8000


def write_bare(folder, images=8, size=32):
    """Images without masks, each with one bright square."""
    random = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    rows = []
    for number in range(images):
        pixels = random.integers(0, 90, (size, size, 3), dtype=np.uint8)
        x, y = random.integers(2, size - 12, 2)
        pixels[y : y + 10, x : x + 10, number % 3] = 255
        Image.fromarray(pixels).save(folder / f"images/{number}.png")
        rows.append(
            {
                "image": f"images/{number}.png",
                "label": ("red", "green", "blue")[number % 3],
                "split": "train" if number < 0.75 * images else "test",
                "domain": ("even", "odd")[number % 2],
            }
        )
    pd.DataFrame(rows).to_csv(folder / "labels.csv", index=False)
    return folder


@pytest.fixture(name="write_bare")
def write_bare_fixture():
    """The function `write_bare`."""
    return write_bare


@pytest.fixture
def bare(tmp_path):
    """A folder of images without masks."""
    return write_bare(tmp_path / "bare")


@pytest.fixture
def annotations(bare):
    return Annotations(StudioFolder(bare))


class Page:
    """What a page in a browser asks the studio for."""

    def __init__(self, studio):
        self.client = Client(studio)
        self.host = f"127.0.0.1:{PORT}"

    def get(self, path, **query):
        return self.client.get(f"/{TOKEN}/{path}", query_string=query, headers={"Host": self.host})

    def post(self, path, body):
        headers = {"Host": self.host, "Origin": f"http://{self.host}"}
        return self.client.post(
            f"/{TOKEN}/{path}", data=json.dumps(body), content_type="application/json", headers=headers
        )


def studio_of(folder, **more):
    return Studio(StudioFolder(folder), TOKEN, PORT, "Ada", **more)


@pytest.fixture(name="studio_of")
def studio_of_fixture():
    """The function `studio_of`: the application of a folder."""
    return studio_of


@pytest.fixture
def page_of():
    """The class `Page`."""
    return Page


@pytest.fixture
def page(bare):
    return Page(studio_of(bare))


@pytest.fixture(scope="module")
def fenced_page(tmp_path_factory):
    """A page that nothing may be written through, and its folder, whose table names what lies outside."""
    folder = write_bare(tmp_path_factory.mktemp("fenced") / "bare")
    (folder.parent / "outside.png").write_bytes((folder / "images/1.png").read_bytes())
    (folder / "link.png").symlink_to(folder.parent / "outside.png")
    (folder / "loop.png").symlink_to(folder / "loop.png")
    with (folder / "labels.csv").open("a") as file:
        file.writelines(f"{name},red,train,even\n" for name in ("link.png", "loop.png", "../outside.png"))
    return Page(studio_of(folder)), folder


@pytest.fixture(scope="session")
def trained(tmp_path_factory, squares, settings):
    """A run that needed no masks."""
    return train(settings(squares, tmp_path_factory.mktemp("runs") / "run", epochs=1))


@pytest.fixture
def training_here(monkeypatch):
    """The page trains in this process: that `lookright train` is one of its own changes nothing of what is trained."""

    class Process(subprocess.Popen):
        def __init__(self, command, **_):
            self.arguments, self.returncode = command[3:], None

        def communicate(self):
            self.returncode = main(self.arguments)
            return "", ""

        def poll(self):
            return self.returncode

    own = SimpleNamespace(Popen=Process, DEVNULL=subprocess.DEVNULL, PIPE=subprocess.PIPE)
    monkeypatch.setattr("lookright.studio.trainer.subprocess", own)
