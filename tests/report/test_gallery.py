import base64
import io
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lookright.report import gallery
from lookright.report.comparison import sections
from lookright.report.directory import Evaluation, read_results

SIZE = 32


def pixels(uri):
    return Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1])))


@pytest.fixture
def section(tmp_path):
    (tmp_path / "results.csv").write_text("method,seed,split,accuracy\nERM,0,test,0.5\nCAMAL,0,test,0.6\n")
    return sections(read_results(tmp_path))[0]


def evaluation(files, map, mask=None, **columns):
    count = len(files)
    mask = np.zeros((SIZE, SIZE), np.uint8) if mask is None else mask
    return Evaluation(
        pd.DataFrame(
            {"image": files, "label": "cat", "prediction": "dog", "confidence": 0.7, "correct": 0.0} | columns
        ),
        {
            "gallery_row": np.arange(count),
            "gallery_image": np.full((count, SIZE, SIZE, 3), 100, np.uint8),
            "gallery_mask": np.repeat(mask[None], count, 0),
            "gallery_mask_weight": np.full(count, float(mask.any())),
            "gallery_map": np.repeat(np.asarray(map, np.float16)[None], count, 0),
        },
    )


def test_methods_are_matched_by_file_not_by_position(section):
    erm = evaluation(["a", "b", "c"], np.zeros((2, 2)), energy_in_mask=[0.1, 0.2, 0.3])
    camal = evaluation(["c", "b"], np.zeros((2, 2)), energy_in_mask=[0.9, 0.8])
    cards = gallery.cards(section, {"ERM": erm, "CAMAL": camal})
    assert [card.file for card in cards] == ["b", "c"]
    assert [[picture.alignment for picture in card.pictures] for card in cards] == [[0.2, 0.8], [0.3, 0.9]]
    assert [card.gap for card in cards] == pytest.approx([0.6, 0.6])
    assert not cards[0].pictures[0].correct


def test_overlay_lies_on_the_map_bilinearly(section):
    map = np.array([[0.0, 0.0], [0.0, 1.0]])
    (card,) = gallery.cards(section, {"ERM": evaluation(["a"], map)})
    alpha = np.asarray(pixels(card.pictures[0].overlay).convert("RGBA"))[..., 3].astype(int)
    assert alpha.shape == (SIZE, SIZE)
    assert alpha[-1, -1] == 255
    assert alpha[: SIZE // 4, : SIZE // 4].max() == 0
    assert (np.diff(alpha[-1]) >= 0).all()
    assert 0 < alpha[-1, SIZE // 2] < 255


def test_colours_rise_in_lightness(section):
    ramp = np.linspace(0, 1, SIZE)[None].repeat(SIZE, 0)
    (card,) = gallery.cards(section, {"ERM": evaluation(["a"], ramp)})
    lightness = np.asarray(pixels(card.pictures[0].overlay).convert("RGBA").convert("L"))[0].astype(int)
    assert (np.diff(lightness) >= 0).all()


def test_outline_encloses_the_mask_even_at_the_border(section):
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[20:, 4:12] = 255
    (card,) = gallery.cards(section, {"ERM": evaluation(["a"], np.ones((2, 2)), mask)})
    points = np.array(re.findall(r"([\d.]+) ([\d.]+)", card.outline), float)
    np.testing.assert_allclose(points.min(0), [4, 20], atol=0.5)
    np.testing.assert_allclose(points.max(0), [12, SIZE], atol=0.5)
    assert card.outline.endswith("Z")


def test_no_outline_without_a_mask(section):
    (card,) = gallery.cards(section, {"ERM": evaluation(["a"], np.ones((2, 2)))})
    assert card.outline == ""
    assert np.isnan(card.gap)


def test_large_images_shrink_and_small_ones_do_not_grow(section):
    erm = evaluation(["a"], np.ones((2, 2)))
    erm.arrays["gallery_image"] = np.zeros((1, 600, 300, 3), np.uint8)
    erm.arrays["gallery_mask"] = np.full((1, 600, 300), 255, np.uint8)
    erm.arrays["gallery_mask_weight"] = np.ones(1)
    (card,) = gallery.cards(section, {"ERM": erm})
    assert (card.width, card.height) == (112, 224)
    assert pixels(card.photo).size == (112, 224)
    assert pixels(card.pictures[0].overlay).size == (32, 64)
    assert np.array(re.findall(r"([\d.]+) ([\d.]+)", card.outline), float).max(0) == pytest.approx([112, 224], abs=0.5)


def test_many_images_are_thinned_evenly(section):
    erm = evaluation([f"{index:03d}" for index in range(100)], np.ones((2, 2)))
    files = [card.file for card in gallery.cards(section, {"ERM": erm}, maximum=5)]
    assert files == ["000", "025", "050", "074", "099"]


def test_undefined_values_do_not_crash(section):
    erm = evaluation(["a"], np.full((2, 2), np.nan), confidence=[np.nan], energy_in_mask=[np.nan])
    (card,) = gallery.cards(section, {"ERM": erm})
    assert np.asarray(pixels(card.pictures[0].overlay).convert("RGBA"))[..., 3].max() == 0
