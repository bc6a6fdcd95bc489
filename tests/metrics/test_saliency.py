import itertools
import math
import statistics

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lookright.metrics import auc_judd, correlation, kl_divergence, normalised_scanpath_saliency, similarity

FUNCTIONS = [correlation, similarity, kl_divergence, normalised_scanpath_saliency, auc_judd]
EPS = 2.220446049250313e-16


def inputs(seed=0, soft=True):
    """Maps on the grid of the human maps; ignored pixels in every image."""
    generator = torch.Generator().manual_seed(seed)
    map, human = torch.rand(4, 7, 9, generator=generator) + 0.01, torch.rand(4, 7, 9, generator=generator)
    ignore = (torch.rand(4, 7, 9, generator=generator) > 0.8).float()
    return map, human if soft else (human > 0.9).float(), ignore


def pixels(map, human, ignore):
    """Of one image: the values that count, as plain numbers."""
    pairs = zip(map.flatten().tolist(), human.flatten().tolist(), ignore.flatten().tolist())
    return tuple(zip(*[(a, b) for a, b, away in pairs if away < 0.5]))


def scaled(values):
    return [(value - min(values)) / (max(values) - min(values)) for value in values]


def shares(values):
    return [value / sum(values) for value in values]


def naive(function, a, b):
    if function is correlation:
        return stats.pearsonr(a, b).statistic
    if function is similarity:
        return sum(min(p, q) for p, q in zip(shares(scaled(a)), shares(scaled(b))))
    if function is kl_divergence:
        return sum(q * math.log(EPS + q / (EPS + p)) for p, q in zip(shares(a), shares(b)))
    if function is normalised_scanpath_saliency:
        centre, spread = statistics.mean(a), statistics.stdev(a)
        return sum(q * (p - centre) / spread for p, q in zip(a, b)) / sum(b)
    hits, others = [p for p, q in zip(a, b) if q >= 0.5], [p for p, q in zip(a, b) if q < 0.5]
    points = [(0.0, 0.0)]
    for count, threshold in enumerate(sorted(hits, reverse=True), start=1):
        points.append((sum(p >= threshold for p in others) / len(others), count / len(hits)))
    points.append((1.0, 1.0))
    return sum((x1 - x0) * (y0 + y1) / 2 for (x0, y0), (x1, y1) in itertools.pairwise(points))


@pytest.mark.parametrize("soft", [True, False])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_against_a_loop(function, soft):
    map, human, ignore = inputs(soft=soft)
    for given_ignore in (None, ignore):
        found = function(map, human, ignore=given_ignore)
        away = torch.zeros_like(ignore) if given_ignore is None else given_ignore
        expected = [naive(function, *pixels(*image)) for image in zip(map, human, away)]
        assert found.tolist() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_perfect_and_flat_maps(function):
    _, human, _ = inputs()
    perfect, flat = function(human, human), function(torch.ones(4, 2, 3), human)
    if function in (correlation, similarity):
        torch.testing.assert_close(perfect, torch.ones(4))
    elif function is kl_divergence:
        torch.testing.assert_close(perfect, torch.zeros(4), atol=1e-6, rtol=0)
    elif function is auc_judd:
        assert (perfect == 1).all()
    else:
        assert (perfect > function(inputs(seed=1)[0], human)).all()
    if function is auc_judd:
        torch.testing.assert_close(flat, torch.full((4,), 0.5))
    elif function is kl_divergence:
        assert (flat > 0).all()
    else:
        assert flat.isnan().all()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_without_fixations_it_is_undefined(function):
    map, human, _ = inputs()
    human[1] = 0
    assert function(map, human).isnan().tolist() == [False, True, False, False]
    map[2, 0, 0] = torch.nan
    assert function(map, human).isnan().tolist() == [False, True, True, False]


@pytest.mark.parametrize("function", FUNCTIONS)
@given(scale=st.floats(0.01, 100), seed=st.integers(0, 50))
def test_the_scale_of_the_map_does_not_count(function, scale, seed):
    map, human, _ = inputs(seed)
    torch.testing.assert_close(function(scale * map, human), function(map, human), rtol=1e-4, atol=1e-5)


@given(seed=st.integers(0, 50))
def test_only_the_order_counts_for_the_auc(seed):
    map, human, _ = inputs(seed, soft=False)
    torch.testing.assert_close(auc_judd(map.exp() ** 2, human), auc_judd(map, human), equal_nan=True)


def test_a_pixel_that_is_looked_at_and_left_out_is_dear():
    value = kl_divergence(torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.5, 0.5]]])).item()
    assert value == pytest.approx(0.5 * math.log(0.5) + 0.5 * math.log(0.5 / EPS), abs=1e-4)
