import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as draw
from hypothesis.extra.numpy import arrays

from lookright.errors import InputError
from lookright.studio.drawing import EVIDENCE, IGNORE, NUISANCE, drawn

EMPTY = np.zeros((40, 60), np.uint8)
CENTRES = np.stack(np.meshgrid(np.arange(60) + 0.5, np.arange(40) + 0.5), axis=-1)


@given(draw.tuples(*[draw.floats(-20, 80)] * 4))
def test_a_box_covers_the_pixels_between_its_rounded_corners(corners):
    x0, y0, x1, y1 = corners
    found = drawn(EMPTY, {"shape": "box", "paint": "evidence", "points": [[x0, y0], [x1, y1]]})
    expected = np.zeros_like(EMPTY)
    left, right = sorted((round(x0), round(x1)))
    top, bottom = sorted((round(y0), round(y1)))
    expected[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = EVIDENCE
    assert np.array_equal(found, expected)


def test_a_stroke_covers_what_is_near_its_line():
    points = [[10.0, 10.0], [45.0, 30.0]]
    found = drawn(EMPTY, {"shape": "stroke", "paint": "nuisance", "points": points, "width": 9}) == NUISANCE
    a, b = np.array(points)
    along = np.clip(((CENTRES - a) @ (b - a)) / ((b - a) @ (b - a)), 0, 1)
    distance = np.linalg.norm(CENTRES - (a + along[..., None] * (b - a)), axis=-1)
    assert found[distance < 3.4].all()
    assert not found[distance > 5.6].any()


def test_a_single_touch_is_a_dot():
    found = drawn(EMPTY, {"shape": "stroke", "paint": "ignore", "points": [[20, 20]], "width": 8}) == IGNORE
    assert 40 < found.sum() < 75


def test_a_polygon_is_filled():
    found = drawn(EMPTY, {"shape": "polygon", "paint": "evidence", "points": [[10, 5], [50, 5], [10, 35]]})
    inside = (CENTRES[..., 0] > 11) & (CENTRES[..., 1] > 6) & (CENTRES[..., 0] / 40 + CENTRES[..., 1] / 30 < 1.36)
    assert (found[inside] == EVIDENCE).all()
    assert found[30, 45] == 0


@given(arrays(np.uint8, (6, 8), elements=draw.sampled_from([0, NUISANCE, IGNORE, EVIDENCE])))
def test_the_eraser_takes_only_what_it_touches_and_nothing_takes_all(codes):
    erased = drawn(codes, {"shape": "box", "paint": "erase", "points": [[0, 0], [4, 6]]})
    assert not erased[:, :4].any()
    assert np.array_equal(erased[:, 4:], codes[:, 4:])
    assert not drawn(codes, {"shape": "nothing"}).any()


@pytest.mark.parametrize(
    "operation",
    [
        {},
        {"shape": "circle"},
        {"shape": ["box"]},
        {"shape": "box", "paint": "evidence"},
        {"shape": "box", "paint": "evidence", "points": [[1, 2]]},
        {"shape": "box", "paint": "gold", "points": [[1, 2], [3, 4]]},
        {"shape": "box", "paint": None, "points": [[1, 2], [3, 4]]},
        {"shape": "polygon", "paint": "evidence", "points": [[1, 2], [3, 4], [5]]},
        {"shape": "polygon", "paint": "evidence", "points": [[1, 2], [3, 4], "56"]},
        {"shape": "stroke", "paint": "evidence", "points": [[1, float("nan")]], "width": 3},
        {"shape": "stroke", "paint": "evidence", "points": [[1, True]], "width": 3},
        {"shape": "stroke", "paint": "evidence", "points": [[1, 1]]},
        {"shape": "stroke", "paint": "evidence", "points": [[1, 1]], "width": 10**9},
        {"shape": "stroke", "paint": "evidence", "points": [[1, 1]] * 20_001, "width": 3},
    ],
    ids=range(14),
)
def test_what_is_no_shape_is_refused(operation):
    with pytest.raises(InputError):
        drawn(EMPTY, operation)


def test_endless_coordinates_end_at_the_image():
    found = drawn(EMPTY, {"shape": "box", "paint": "evidence", "points": [[-(10**400), -1e308], [1e308, 10**400]]})
    assert (found == EVIDENCE).all()
