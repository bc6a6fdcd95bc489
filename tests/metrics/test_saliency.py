import itertools
import math
import statistics

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lookright import InputError
from lookright.metrics import (
    AUCJudd,
    Correlation,
    KLDivergence,
    NormalisedScanpathSaliency,
    ShuffledAUC,
    Similarity,
    auc_judd,
    correlation,
    energy_in_mask,
    kl_divergence,
    normalised_scanpath_saliency,
    shuffled_auc,
    similarity,
    split_half_agreement,
)

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


@pytest.mark.parametrize("with_ignore", [False, True])
def test_shuffled_auc_against_a_loop(with_ignore):
    map, human, ignore = inputs(soft=False)
    map = (4 * map).round()  # ties
    away = ignore if with_ignore else torch.zeros_like(ignore)
    found = shuffled_auc(map, human, ignore=ignore if with_ignore else None)
    for b in range(4):
        own, others = [], []
        for c, y, x in (human * (away < 0.5)).nonzero().tolist():
            if away[b, y, x] < 0.5:
                (own if c == b else others).append(map[b, y, x].item())
        wins = [(a > b) + 0.5 * (a == b) for a in own for b in others]
        assert found[b].item() == pytest.approx(sum(wins) / len(wins), abs=1e-6)
    # Given the others' fixations of the same batch, it is the same.
    fixated = human * (away < 0.5)
    others = fixated.sum(0) - fixated
    torch.testing.assert_close(shuffled_auc(map, human, ignore=away, others=others), found)


def test_shuffled_auc_of_what_is_common_to_all_is_chance():
    """A map of where people look in general detects fixations, and says nothing of this image."""
    generator = torch.Generator().manual_seed(0)
    y, x = torch.meshgrid(torch.linspace(-1, 1, 15), torch.linspace(-1, 1, 15), indexing="ij")
    centre = (-3 * (x**2 + y**2)).exp()
    human = (torch.rand(60, 15, 15, generator=generator) < 0.2 * centre).float()
    shared = centre.expand(60, 15, 15)
    assert shuffled_auc(shared, human).nanmean().item() == pytest.approx(0.5, abs=0.02)
    assert auc_judd(shared, human).nanmean() > 0.75
    torch.testing.assert_close(
        shuffled_auc(shared.exp(), human), shuffled_auc(shared, human), equal_nan=True, atol=1e-6, rtol=0
    )
    assert shuffled_auc(shared[:1], human[:1]).isnan().all()


def test_shuffled_auc_is_undefined_without_fixations_and_for_nan():
    map, human, _ = inputs(soft=False)
    human[1], map[2, 0, 0] = 0, torch.nan
    assert shuffled_auc(map, human).isnan().tolist() == [False, True, True, False]


def test_halves_of_viewers_agree_as_far_as_viewers_do():
    generator = torch.Generator().manual_seed(0)
    looked_at = torch.rand(3, 1, 6, 8, generator=generator)
    for spread, least, most in ((0.0, 0.999, 1.001), (3.0, 0.3, 0.9), (100.0, -0.3, 0.3)):
        noise = torch.rand(3, 10, 6, 8, generator=generator)
        viewers = (looked_at + spread * noise) / (1 + spread)
        agreement = split_half_agreement(viewers, correlation)
        assert ((agreement > least) & (agreement < most)).all()
        shuffled = split_half_agreement(viewers[[2, 0, 1]], correlation)
        torch.testing.assert_close(shuffled, agreement[[2, 0, 1]])
    viewers[1] = 0
    assert split_half_agreement(viewers, correlation).isnan().tolist() == [False, True, False]
    assert split_half_agreement(viewers, energy_in_mask, splits=1).isnan().tolist() == [False, True, False]
    with pytest.raises(InputError, match="1 viewers"):
        split_half_agreement(viewers[:, :1], correlation)


def test_split_half_by_hand():
    """Two viewers, one half each: whichever is the map, they share one of their two pixels."""
    viewers = torch.tensor([[[[1.0, 1.0, 0.0]], [[0.0, 1.0, 1.0]]]])
    assert split_half_agreement(viewers, similarity).item() == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("metric", "function"),
    [
        (Correlation, correlation),
        (Similarity, similarity),
        (KLDivergence, kl_divergence),
        (NormalisedScanpathSaliency, normalised_scanpath_saliency),
        (AUCJudd, auc_judd),
        (ShuffledAUC, shuffled_auc),
    ],
)
def test_metric_is_the_mean_over_images_that_have_a_human_map(metric, function):
    map, human, ignore = inputs(soft=False)
    human[0], map[1, 0, 0] = 0, torch.nan
    found = metric()
    assert found.higher_is_better == (function is not kl_divergence)
    found.update(map, human, torch.tensor([1.0, 1.0, 0.5, 0.0]), ignore)
    without = human * torch.tensor([1.0, 1.0, 1.0, 0.0])[:, None, None]
    torch.testing.assert_close(found.compute(), function(map, without, ignore=ignore)[2])
    assert (found.defined, found.undefined) == (1, 3)
