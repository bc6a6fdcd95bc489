"""Every signature is checked while testing; a small folder of images and masks for whoever needs one."""

from jaxtyping import install_import_hook

install_import_hook("lookright", "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")

import resource
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import settings
from PIL import Image

settings.register_profile("lookright", deadline=None)  # a busy processor is no failure
settings.load_profile("lookright")


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing that is remembered while testing outlives it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def fill_disk() -> Iterator[Callable[[bool], None]]:
    """True: no file can hold more than 4 kB from now on, which stands for the end of the disk; False: as before."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(full: bool) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096 if full else soft, hard))

    yield fill
    fill(False)


def write_squares(folder: Path, images: int = 90, size: int = 32) -> Path:
    """Noise with one bright square, whose colour is the label and which is the mask; every fifth image has no mask."""
    random = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    rows = []
    for number in range(images):
        colour = number % 3
        image = random.integers(0, 90, (size, size, 3), dtype=np.uint8)
        mask = np.zeros((size, size), np.uint8)
        x, y = random.integers(2, size - 12, 2)
        image[y : y + 10, x : x + 10, colour] = 255
        mask[y : y + 10, x : x + 10] = 255
        Image.fromarray(image).save(folder / f"images/{number}.png")
        Image.fromarray(mask).save(folder / f"masks/{number}.png")
        rows.append(
            {
                "image": f"images/{number}.png",
                "label": ("red", "green", "blue")[colour],
                "mask": f"masks/{number}.png" if number % 5 else "",
                "split": "train" if number < 0.6 * images else "val" if number < 0.8 * images else "test",
                "domain": ("even", "odd")[number % 2],
            }
        )
    pd.DataFrame(rows).to_csv(folder / "labels.csv", index=False)
    return folder


@pytest.fixture(scope="session")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that no test changes."""
    return write_squares(tmp_path_factory.mktemp("data") / "squares")


@pytest.fixture
def own_squares(tmp_path: Path) -> Path:
    """A folder to break."""
    return write_squares(tmp_path / "squares", images=30)


def settings(data: Path, out: Path, **more: object) -> dict[str, object]:
    """Of a run that takes a second or two."""
    return {
        "data": str(data),
        "out": str(out),
        "model": "small_cnn",
        "model_arguments": {"width": 8},
        "size": 32,
        "epochs": 3,
        "batch_size": 12,
        "lr": 0.01,
        "workers": 0,
        "curve_points": 4,
        "gallery": 5,
        "accelerator": "cpu",
    } | more


@pytest.fixture(scope="session", name="settings")
def settings_fixture():
    """The function `settings`."""
    return settings


CHROMIUM = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium; tests are skipped, and it is said, where none is installed."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra dev)")
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    executable = next(filter(None, map(shutil.which, names)), None)
    if executable is None:
        pytest.skip("no Chromium is installed; on Debian: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, args=CHROMIUM, timeout=120_000)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def barriers() -> Callable[[Any], list[str]]:
    """What axe-core finds on a page that keeps people out, light on a phone and dark on a laptop: rule and place."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed (extra dev)").Axe()

    def find(page: Any) -> list[str]:
        found = []
        for scheme, width in (("light", 390), ("dark", 1280)):
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": width, "height": 800})
            for rule in axe.run(page).response["violations"]:
                found += [f"{scheme} {width} {rule['id']}: {node['html'][:200]}" for node in rule["nodes"]]
        return found

    return find
