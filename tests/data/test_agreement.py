import numpy as np
import pytest

from lookright.data.agreement import misfits, own_fit, shared_fit, suspicions, traits


@pytest.fixture
def folder():
    """Images with a bright disc where the mask is, the last one with a mask on the other side."""
    random = np.random.default_rng(0)
    pairs = []
    for number in range(9):
        y, x = random.integers(6, 12, 2)
        mask = (np.hypot(*(np.mgrid[:32, :32] - np.array([y, x])[:, None, None])) < 5).astype(float)
        image = random.integers(0, 60, (32, 32, 3)) + (mask * 120).astype(int)[..., None]
        pairs.append((image.astype(np.uint8), mask if number < 8 else mask[:, ::-1]))
    return pairs


def test_the_own_fit_is_the_share_of_variance_that_least_squares_explain(folder):
    image, mask = folder[0]
    one = traits(image, mask)
    # With the Gram matrix's root as pixels, least squares on pixels and on their moments are the same problem.
    root = np.linalg.cholesky(one.gram + 1e-3 * np.eye(len(one.gram))).T
    for turn, value in enumerate(own_fit(one)):
        target = np.linalg.solve(root.T, one.covariance[:, turn])
        solution, *_ = np.linalg.lstsq(root, target, rcond=None)
        assert value == pytest.approx(np.log(max(target @ root @ solution, 1e-4)))


def test_the_shared_fit_leaves_each_image_out(folder):
    parts = [traits(*pair) for pair in folder]
    found = shared_fit(parts)
    others = parts[:3] + parts[4:]
    gram = np.mean([one.gram for one in others], axis=0) + 1e-3 * np.eye(len(parts[0].gram))
    weights = np.linalg.inv(gram) @ np.mean([one.covariance[:, 0] for one in others], axis=0)
    expected = weights @ parts[3].covariance / np.sqrt(weights @ parts[3].gram @ weights)
    assert found[3] == pytest.approx(expected, rel=1e-6)


def test_a_mask_that_fits_better_turned_is_the_most_suspicious(folder):
    parts = [traits(*pair) for pair in folder]
    edges, own = np.array([one.edges for one in parts]), np.array([own_fit(one) for one in parts])
    for fit in (edges, own, shared_fit(parts)):
        assert fit[8].argmax() == 1  # mirrored
        assert suspicions(fit).argmax() == 8
    assert misfits(parts).argmax() == 8


def test_edges_are_ranks_along_the_inside_of_the_outline():
    image = np.zeros((6, 6, 3), np.uint8)
    image[:, 3:] = 255
    mask = np.zeros((6, 6))
    mask[:, :3] = 1  # its outline, column 2, lies on the step, as that of its mirror image does
    found = traits(image, mask).edges
    strongest = np.arange(24, 36).mean() / 36  # the twelve steepest of 36 pixels are columns 2 and 3
    assert found[:2].mean() == pytest.approx(strongest)


def test_suspicions_are_counted_in_spreads():
    fit = np.array([[0.9, 0.5, 0.5, 0.4], [0.8, 0.5, 0.5, 0.4], [0.7, 0.1, 0.9, 0.1]])
    spread = 1.4826 * 0.1
    assert suspicions(fit) == pytest.approx([-0.5 / spread, -0.3 / spread, 0.3 / spread])


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_mask_of_nothing_or_all_has_no_traits(folder, value):
    assert traits(folder[0][0], np.full((32, 32), value)) is None
