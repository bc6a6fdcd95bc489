import inspect
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics import MetricCollection

from lookright import InputError
from lookright.metrics import (
    AttentionGap,
    EnergyInMask,
    IoU,
    PointingGame,
    RelevanceRank,
    attention_gap,
    energy_in_mask,
    iou,
    pointing_game,
    relevance_rank,
)

FUNCTIONS = [energy_in_mask, attention_gap, pointing_game, iou, relevance_rank]
METRICS = [EnergyInMask, AttentionGap, PointingGame, IoU, RelevanceRank]


def maps_and_masks(seed=0, batch=6, grid=(4, 5), size=(12, 10), soft=False):
    generator = torch.Generator().manual_seed(seed)
    map = torch.randn(batch, *grid, generator=generator)
    mask = torch.rand(batch, *size, generator=generator)
    return map, mask if soft else (mask > 0.7).float()


def on_mask(map, mask):
    resized = F.interpolate(map[None, None], mask.shape, mode="bilinear")[0, 0]
    return [
        (resized[row, column].item(), mask[row, column].item(), row, column)
        for row in range(mask.shape[0])
        for column in range(mask.shape[1])
    ]


def naive_energy_in_mask(map, mask):
    pixels = on_mask(map.clamp_min(0), mask)
    return sum(value * weight for value, weight, *_ in pixels) / sum(value for value, *_ in pixels)


def naive_attention_gap(map, mask):
    pixels = on_mask((map - map.min()) / (map.max() - map.min()), mask)
    inside = sum(value * weight for value, weight, *_ in pixels) / sum(weight for _, weight, *_ in pixels)
    outside = sum(value * (1 - weight) for value, weight, *_ in pixels) / sum(1 - weight for _, weight, *_ in pixels)
    return inside - outside


def naive_pointing_game(map, mask, tolerance=0):
    pixels = on_mask(map, mask)
    hits = []
    for value, _, row, column in pixels:
        if value >= max(pixels)[0] - 1e-6:
            near = [weight for _, weight, r, c in pixels if math.hypot(r - row, c - column) <= tolerance]
            hits.append(max(near) >= 0.5)
    return sum(hits) / len(hits)


def naive_iou(map, mask):
    pixels = sorted(on_mask(map, mask), reverse=True)
    area = sum(weight >= 0.5 for _, weight, *_ in pixels)
    lowest = pixels[area - 1][0]
    tied = [weight >= 0.5 for value, weight, *_ in pixels if abs(value - lowest) <= 1e-6]
    above = [weight >= 0.5 for value, weight, *_ in pixels if value > lowest + 1e-6]
    intersection = sum(above) + (area - len(above)) * sum(tied) / len(tied)
    return intersection / (2 * area - intersection)


def naive_relevance_rank(map, mask):
    overlap = naive_iou(map, mask)
    return 2 * overlap / (1 + overlap)


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize(
    ("function", "naive"),
    [
        (energy_in_mask, naive_energy_in_mask),
        (attention_gap, naive_attention_gap),
        (pointing_game, naive_pointing_game),
        (iou, naive_iou),
        (relevance_rank, naive_relevance_rank),
    ],
)
def test_against_a_loop(function, naive, soft):
    map, mask = maps_and_masks(soft=soft)
    expected = torch.tensor([naive(*pair) for pair in zip(map, mask, strict=True)])
    torch.testing.assert_close(function(map, mask), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("tolerance", [1, 2, 3])
def test_pointing_game_tolerance_is_a_euclidean_distance(tolerance):
    map, mask = maps_and_masks(batch=20)
    mask = (torch.rand(mask.shape, generator=torch.Generator().manual_seed(3)) > 0.97).float()
    mask[:, 0, 0] = 1
    expected = torch.tensor([naive_pointing_game(*pair, tolerance) for pair in zip(map, mask, strict=True)])
    assert torch.equal(pointing_game(map, mask, tolerance=tolerance), expected)
    assert 0 < expected.mean() < 1


def test_worked_by_hand():
    map = torch.tensor([[[4.0, 3.0], [1.0, -2.0]]])
    mask = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
    assert energy_in_mask(map, mask).item() == pytest.approx(5 / 8)
    assert attention_gap(map, mask).item() == pytest.approx((6 + 3) / 12 - (5 + 0) / 12)
    assert pointing_game(map, mask).item() == 1
    assert iou(map, mask).item() == pytest.approx(1 / 3)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_empty_mask_is_undefined_never_a_hit_nor_a_miss(function):
    map, mask = maps_and_masks()
    mask[1] = 0
    assert function(map, mask).isnan().tolist() == [False, True, False, False, False, False]


@pytest.mark.parametrize(
    ("function", "expected"),
    [(energy_in_mask, 1.0), (attention_gap, math.nan), (pointing_game, 1.0), (iou, 1.0), (relevance_rank, 1.0)],
)
def test_full_mask(function, expected):
    map, mask = maps_and_masks(batch=1)
    torch.testing.assert_close(
        function(map, torch.ones_like(mask)), torch.tensor([expected]), equal_nan=True, atol=1e-6, rtol=0
    )


@pytest.mark.parametrize("level", [0.1, 3.0])
def test_flat_map_scores_as_no_better_than_chance(level):
    _, mask = maps_and_masks(batch=1)
    map = torch.full((1, 4, 5), level)
    area = mask.mean().item()
    assert energy_in_mask(map, mask).item() == pytest.approx(area, abs=1e-5)
    assert attention_gap(map, mask).item() == 0
    assert pointing_game(map, mask).item() == pytest.approx(area, abs=1e-6)
    assert iou(map, mask).item() == pytest.approx(area / (2 - area), abs=1e-5)


def test_energy_of_a_map_without_positive_values_is_undefined():
    map, mask = maps_and_masks()
    map[0], map[1] = 0, -1
    assert energy_in_mask(map, mask).isnan().tolist() == [True, True, False, False, False, False]


def test_half_of_the_maxima_in_the_mask_is_half_a_hit():
    map, mask = torch.zeros(1, 6, 6), torch.zeros(1, 6, 6)
    map[0, 1, 1] = map[0, 4, 4] = 1
    mask[0, 4, 4] = 1
    assert pointing_game(map, mask).item() == 0.5


def test_iou_does_not_favour_the_top_of_the_image_among_ties():
    map = torch.zeros(2, 8, 8)
    map[:, 3, 3] = 1
    mask = torch.zeros(2, 8, 8)
    mask[0, :2], mask[1, -2:] = 1, 1
    top, bottom = iou(map, mask)
    assert top == bottom
    assert 0 < top < 0.2


@pytest.mark.parametrize("function", FUNCTIONS)
@given(st.floats(1e-3, 1e3))
@settings(max_examples=15)
def test_scale_of_the_map_does_not_matter(function, scale):
    map, mask = maps_and_masks()
    torch.testing.assert_close(function(scale * map, mask), function(map, mask), atol=1e-5, rtol=0)


@pytest.mark.parametrize("function", FUNCTIONS)
@given(seed=st.integers(0, 1000), soft=st.booleans())
@settings(max_examples=15)
def test_ranges(function, seed, soft):
    value = function(*maps_and_masks(seed, soft=soft))
    assert (value >= (-1 if function is attention_gap else 0)).all()
    assert (value <= 1 + 1e-6).all()


@given(st.integers(0, 1000))
@settings(max_examples=15)
def test_swapping_inside_and_outside_negates_the_gap_and_complements_the_energy(seed):
    map, mask = maps_and_masks(seed, soft=True)
    torch.testing.assert_close(attention_gap(map, 1 - mask), -attention_gap(map, mask), atol=1e-5, rtol=0)
    torch.testing.assert_close(energy_in_mask(map, 1 - mask), 1 - energy_in_mask(map, mask), atol=1e-5, rtol=0)


@pytest.mark.parametrize("function", [attention_gap, pointing_game, iou, relevance_rank])
def test_offset_of_the_map_does_not_matter(function):
    map, mask = maps_and_masks()
    torch.testing.assert_close(function(map - 7, mask), function(map, mask), atol=1e-5, rtol=0)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_map_of_the_mask_itself_is_best(function):
    _, mask = maps_and_masks()
    torch.testing.assert_close(function(mask, mask), torch.ones(len(mask)))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_nan_map_is_undefined_and_spoils_no_other_image(function):
    map, mask = maps_and_masks()
    expected = function(map, mask)[1:]
    map[0, 0, 0] = torch.nan
    assert function(map, mask)[0].isnan()
    assert torch.equal(function(map, mask)[1:], expected)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_computes_in_single_precision(function, dtype):
    map, mask = maps_and_masks()
    map = map.to(dtype)
    torch.testing.assert_close(function(map, mask), function(map.float(), mask))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(function(map, mask), function(map.float(), mask))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_shapes_that_do_not_fit_are_refused(function):
    map, mask = maps_and_masks()
    with pytest.raises(InputError, match=r"\(6, 4, 5\) and mask \(5, 12, 10\)"):
        # Past the shape check of the tests, which users do not have.
        inspect.unwrap(function)(map, mask[:5])


@pytest.mark.parametrize(("metric", "function"), list(zip(METRICS, FUNCTIONS, strict=True)))
def test_metric_is_the_mean_over_images_that_have_a_mask(metric, function):
    map, mask = maps_and_masks()
    mask[4] = 0
    weight = torch.tensor([1.0, 0.0, 0.3, 1.0, 1.0, 1.0])
    whole, first, second = metric(), metric(), metric()
    whole.update(map, mask, weight)
    torch.testing.assert_close(whole.compute(), function(map, mask)[[0, 2, 3, 5]].mean())
    assert (whole.defined, whole.undefined) == (4, 2)
    first.update(map[:3], mask[:3], weight[:3])
    second.update(map[3:], mask[3:], weight[3:])
    first.merge_state(second)
    torch.testing.assert_close(first.compute(), whole.compute())
    assert metric.higher_is_better


@pytest.mark.parametrize(
    ("function", "peer"),
    [
        (energy_in_mask, "RelevanceMassAccuracy"),
        (relevance_rank, "RelevanceRankAccuracy"),
        (pointing_game, "PointingGame"),
    ],
)
def test_agreement_with_quantus(classifier, function, peer):
    """Of maps without negative values and without ties, on the grid of the mask."""
    quantus = pytest.importorskip("quantus")
    generator = torch.Generator().manual_seed(0)
    map, mask = torch.rand(6, 12, 10, generator=generator), torch.rand(6, 12, 10, generator=generator) > 0.6
    theirs = getattr(quantus, peer)(disable_warnings=True)(
        model=classifier.model,
        x_batch=torch.zeros(6, 3, 12, 10).numpy(),
        y_batch=torch.zeros(6, dtype=torch.long).numpy(),
        a_batch=map[:, None].numpy(),
        s_batch=mask[:, None].numpy(),
    )
    assert function(map, mask.float()).tolist() == pytest.approx([float(value) for value in theirs], abs=1e-6)


def test_pointing_game_metric_has_a_tolerance():
    map, mask = torch.zeros(1, 5, 5), torch.zeros(1, 5, 5)
    map[0, 0, 0] = mask[0, 0, 2] = 1
    for tolerance, hit in ((1, 0), (2, 1)):
        metric = PointingGame(tolerance=tolerance)
        metric.update(map, mask)
        assert metric.compute() == hit


def test_faint_tails_of_a_map_have_an_order():
    row = torch.arange(64) - 31.3
    distance = (row[:, None] + 0.1) ** 2 + (row * 1.001) ** 2
    map = torch.exp(-distance.double() / (2 * 3.0**2)).float()
    disc = (distance <= distance.flatten().sort().values[1249]).float()
    assert iou(map[None], disc[None]).item() == 1


@pytest.mark.parametrize("level", [0.1, 1 / 3, 1e-30])
def test_a_plateau_stays_one_when_it_is_resized(level):
    """Half the map is one value, which resizing rounds differently from place to place."""
    map = torch.zeros(1, 7, 6)
    map[..., :3] = level
    mask = torch.zeros(1, 45, 37)
    mask[0, 3:20, 2:9] = 1
    plateau = F.interpolate((map[:, None] > 0).double(), mask.shape[-2:], mode="bilinear")[0, 0] > 1 - 1e-9
    expected = (mask[0] * plateau).sum() / plateau.sum()
    assert pointing_game(map, mask).item() == pytest.approx(expected.item(), abs=1e-6)


@pytest.mark.parametrize("function", FUNCTIONS)
@given(seed=st.integers(0, 1000), soft=st.booleans())
@settings(max_examples=15)
def test_ignored_pixels_change_nothing(function, seed, soft):
    """Neither what the map has there nor what the mask has; and a crop without them scores the same."""
    map, mask = maps_and_masks(seed, grid=(12, 10), soft=soft)
    ignore = torch.zeros_like(mask)
    ignore[:, 8:] = 1
    other_map, other_mask = map.clone(), mask.clone()
    other_map[:, 8:], other_mask[:, 8:] = 100.0, 1.0
    value = function(map, mask, ignore=ignore)
    torch.testing.assert_close(function(other_map, other_mask, ignore=ignore), value, equal_nan=True)
    torch.testing.assert_close(function(map[:, :8], mask[:, :8]), value, equal_nan=True, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_what_is_ignored_nowhere_or_everywhere(function):
    map, mask = maps_and_masks()
    torch.testing.assert_close(function(map, mask, ignore=torch.zeros_like(mask)), function(map, mask))
    assert function(map, mask, ignore=torch.ones_like(mask)).isnan().all()


def test_half_ignored_pixels_weigh_half():
    map = torch.tensor([[[3.0, 1.0]]])
    mask, ignore = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.5, 0.0]]])
    assert energy_in_mask(map, mask, ignore=ignore).item() == pytest.approx(1.5 / 2.5)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_masks_out_of_range_are_refused(function):
    map, mask = maps_and_masks()
    with pytest.raises(InputError, match="mask has values from 0 to 255: expected 0 to 1"):
        function(map, 255 * mask)
    with pytest.raises(InputError, match="ignore has values"):
        function(map, mask, ignore=-mask)
    with pytest.raises(InputError, match=r"ignore has shape \(6, 12, 9\): expected that of the mask, \(6, 12, 10\)"):
        inspect.unwrap(function)(map, mask, ignore=mask[..., :9])


def test_what_stands_in_place_of_an_absent_mask_does_not_matter():
    map, mask = maps_and_masks()
    mask[1] = torch.nan
    metric = EnergyInMask()
    metric.update(
        map, mask, torch.tensor([1.0, 0, 1, 1, 1, 1]), torch.full_like(mask, torch.nan).where(mask != mask, 0)
    )
    torch.testing.assert_close(metric.compute(), energy_in_mask(map, mask.nan_to_num())[[0, 2, 3, 4, 5]].mean())


def test_a_collection_keeps_its_metrics_apart():
    """torchmetrics joins metrics that have the same states after the first batch, which here has no mask."""
    kinds = {kind.__name__: kind for kind in METRICS} | {"near": lambda: PointingGame(tolerance=1)}
    together, alone = (
        MetricCollection({name: kind() for name, kind in kinds.items()}),
        {n: k() for n, k in kinds.items()},
    )
    for weight in (0.0, 1.0):
        batch = (*maps_and_masks(), torch.full((6,), weight))
        together.update(*batch)
        for metric in alone.values():
            metric.update(*batch)
    assert together.compute() == {name: metric.compute() for name, metric in alone.items()}
