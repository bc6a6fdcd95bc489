import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lookright.data.check import as_text, check, difference_hash, write_html
from lookright.data.probe import probe


@pytest.fixture
def discs(tmp_path):
    """Discs off the middle on scenery of one colour a class; the table has splits."""
    random = np.random.default_rng(0)
    (tmp_path / "masks").mkdir()
    rows = []
    for number in range(40):
        x, y = random.integers(8, 20), random.integers(8, 40)
        mask = np.hypot(*(np.mgrid[:48, :48] - np.array([y, x])[:, None, None])) < 7
        image = random.integers(0, 25, (48, 48, 3))
        image += random.integers(0, 40, (6, 6, 3)).repeat(8, 0).repeat(8, 1)  # no two look alike
        image[..., number % 2] += 60
        image[mask] = 230
        Image.fromarray(image.astype(np.uint8)).save(tmp_path / f"{number}.png")
        Image.fromarray((mask * 255).astype(np.uint8)).save(tmp_path / f"masks/{number}.png")
        split = "train" if number < 30 else "test"
        rows.append([f"{number}.png", "ab"[number % 2], f"masks/{number}.png", split])
    pd.DataFrame(rows, columns=["image", "label", "mask", "split"]).to_csv(tmp_path / "labels.csv", index=False)
    return tmp_path


def change(folder, number, function):
    path = folder / f"masks/{number}.png"
    Image.fromarray(np.ascontiguousarray(function(np.array(Image.open(path))))).save(path)


def test_planted_faults_come_first(discs, tmp_path):
    assert check(discs).faults.empty
    change(discs, 3, lambda mask: mask[:, ::-1])
    change(discs, 5, np.zeros_like)
    change(discs, 7, lambda mask: np.full_like(mask, 255))
    change(discs, 8, lambda mask: np.roll(mask, 20, axis=1))
    (discs / "31.png").write_bytes((discs / "4.png").read_bytes())  # in test, and in train
    (discs / "masks/31.png").write_bytes((discs / "masks/4.png").read_bytes())
    found = check(discs)
    faults = dict(zip(found.faults["image"], found.faults["fault"]))
    assert set(faults) == {"3.png", "5.png", "7.png", "8.png", "31.png"}
    assert faults["3.png"] == "mask perhaps mirrored"
    assert faults["5.png"] == "empty mask"
    assert faults["7.png"] == "full mask"
    assert faults["31.png"] == "duplicate in another split"
    assert found.faults["score"].is_monotonic_decreasing
    weights = dict(zip(found.weights["image"], found.weights["mask_weight"]))
    assert {image for image, weight in weights.items() if weight == 0} == {"3.png", "5.png", "7.png", "8.png"}
    text = as_text(found, most=2)
    assert "31.png: duplicate in another split" in text
    assert "and 3 more" in text
    write_html(found, discs / "check.html")
    page = (discs / "check.html").read_text()
    assert page.count("<figure>") == 5


@pytest.mark.browser
def test_nothing_on_the_page_keeps_anybody_out(discs, browser, barriers):
    change(discs, 5, np.zeros_like)
    write_html(check(discs), discs / "check.html")
    page = browser.new_page()
    page.goto((discs / "check.html").as_uri())
    assert barriers(page) == []
    page.close()


def test_scenery_that_gives_the_class_away_is_told_and_shapes_that_do_not(discs):
    found = check(discs)
    assert found.probes["scenery"].accuracy > 0.95
    assert "The scenery alone gives the class away" in as_text(found)
    assert found.probes["shape"].accuracy < found.probes["shape"].limit + 0.15


def test_the_probe_is_at_chance_on_noise_and_sees_a_mean():
    random = np.random.default_rng(1)
    label = random.integers(0, 4, 400)
    noise = random.normal(size=(400, 20))
    assert abs(probe(noise, label).accuracy - 0.25) < 0.07
    told = noise.copy()
    told[:, 0] += 4 * label
    assert probe(told, label).accuracy > 0.6


def test_copies_have_near_hashes():
    image = np.random.default_rng(0).integers(0, 255, (12, 12, 3)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
    other = np.random.default_rng(1).integers(0, 255, (12, 12, 3)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
    brighter = np.clip(image.astype(int) * 0.8 + 20, 0, 255).astype(np.uint8)
    assert (difference_hash(image) ^ difference_hash(brighter)).bit_count() <= 2
    assert (difference_hash(image) ^ difference_hash(other)).bit_count() > 10
