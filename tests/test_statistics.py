import itertools
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from lookright import statistics

numbers = st.floats(-100, 100, allow_nan=False).map(lambda value: round(value, 4))
SCORES = np.random.default_rng(0).normal(0.6, 0.3, (5, 4))
BASELINE = np.random.default_rng(1).normal(0.5, 0.3, (3, 4))


@pytest.fixture(autouse=True)
def _no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@given(st.lists(numbers, min_size=2, max_size=8))
def test_mean_interval_is_the_t_interval(values):
    estimate = statistics.mean_interval(values)
    mean = sum(values) / len(values)
    assert estimate.value == pytest.approx(mean, abs=1e-9)
    assert estimate.count == len(values)
    if len(set(values)) > 1:
        deviation = (sum((value - mean) ** 2 for value in values) / (len(values) - 1)) ** 0.5
        half = stats.t.ppf(0.975, len(values) - 1) * deviation / len(values) ** 0.5
        assert estimate.high - estimate.value == pytest.approx(half, rel=1e-6)
        assert estimate.value - estimate.low == pytest.approx(half, rel=1e-6)


@pytest.mark.parametrize("values", [[], [np.nan], [0.3], [0.3, np.nan], [0.1 + 0.2, 0.3, 0.3]])
def test_no_interval_where_nothing_varies(values):
    estimate = statistics.mean_interval(values)
    assert np.isnan([estimate.low, estimate.high]).all()
    assert estimate.count == np.count_nonzero(~np.isnan(values))


@given(st.lists(st.tuples(numbers, numbers), min_size=3, max_size=8))
def test_paired_difference_against_the_formulas(pairs):
    difference = statistics.paired_difference([a for a, _ in pairs], [b for _, b in pairs])
    gaps = [a - b for a, b in pairs]
    mean, count = sum(gaps) / len(gaps), len(gaps)
    assert difference.value == pytest.approx(mean, abs=1e-9)
    deviation = (sum((gap - mean) ** 2 for gap in gaps) / (count - 1)) ** 0.5
    if deviation < 1e-6:
        return
    error = deviation / count**0.5
    assert difference.p_value == pytest.approx(2 * stats.t.sf(abs(mean) / error, count - 1), rel=1e-6, abs=1e-12)
    assert difference.high - mean == pytest.approx(stats.t.ppf(0.975, count - 1) * error, rel=1e-6)
    # The approximation of Hedges' correction that textbooks give is good to a few per cent from three pairs on.
    assert difference.effect_size == pytest.approx(mean / deviation * (1 - 3 / (4 * (count - 1) - 1)), rel=0.04)


def test_interval_and_test_agree():
    for shift in np.linspace(0, 0.3, 13):
        difference = statistics.paired_difference(SCORES[:, 0] + shift, SCORES[:, 1])
        assert (difference.p_value < 0.05) == (difference.low > 0 or difference.high < 0)


@pytest.mark.parametrize(
    ("values", "baseline", "count"),
    [([0.8], [0.7], 1), ([0.3, 0.4, 0.9], [0.2, 0.3, 0.8], 3), ([0.5, 0.5], [0.5, 0.5], 2), ([np.nan, 1], [1, 0], 1)],
)
def test_nothing_is_claimed_without_spread(values, baseline, count):
    difference = statistics.paired_difference(values, baseline)
    assert difference.count == count
    assert difference.value == pytest.approx(np.nanmean(np.subtract(values, baseline)))
    assert np.isnan([difference.low, difference.high, difference.p_value, difference.effect_size]).all()


def test_two_pairs_have_no_effect_size():
    difference = statistics.paired_difference([1.0, 2.0], [0.0, 1.5])
    assert np.isnan(difference.effect_size)
    assert difference.low < 0.75 < difference.high


def test_nothing_in_common():
    difference = statistics.paired_difference([np.nan, 1.0], [1.0, np.nan])
    assert difference.count == 0
    assert np.isnan(difference.value)


def test_unequal_lengths_are_refused():
    with pytest.raises(ValueError, match="one pair per seed"):
        statistics.paired_difference([1.0], [1.0, 2.0])


@given(st.lists(st.floats(0, 1), max_size=7))
def test_holm_against_its_definition(p_values):
    adjusted = statistics.holm(p_values)
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    so_far = 0.0
    for rank, index in enumerate(order):
        so_far = max(so_far, min(1.0, (len(p_values) - rank) * p_values[index]))
        assert adjusted[index] == pytest.approx(so_far)


def test_holm_leaves_undefined_comparisons_out():
    np.testing.assert_allclose(statistics.holm([np.nan, 0.04, 0.01]), [np.nan, 0.04, 0.02])


def naive_iqm(scores):
    flat = sorted(scores.ravel())
    cut = int(0.25 * len(flat))
    middle = flat[cut : len(flat) - cut]
    return sum(middle) / len(middle)


def naive_improvement(scores, baseline):
    total = 0.0
    for environment in range(scores.shape[1]):
        wins = [
            1.0 if ours > theirs else 0.5 if ours == theirs else 0.0
            for ours in scores[:, environment]
            for theirs in baseline[:, environment]
        ]
        total += sum(wins) / len(wins)
    return total / scores.shape[1]


matrices = hnp.arrays(
    float, st.tuples(st.integers(2, 5), st.integers(1, 4)), elements=st.sampled_from([0, 0.5, 0.7, 2])
)


@settings(max_examples=25)
@given(matrices)
def test_aggregates_against_naive_loops(scores):
    means = [sum(column) / len(column) for column in scores.T]
    estimates = statistics.aggregate(scores, replicates=20)
    assert estimates["iqm"].value == pytest.approx(naive_iqm(scores))
    assert estimates["mean"].value == pytest.approx(sum(means) / len(means))
    assert estimates["median"].value == pytest.approx(np.median(means))
    assert estimates["optimality_gap"].value == pytest.approx(1 - sum(min(v, 1) for v in scores.ravel()) / scores.size)


@settings(max_examples=25)
@given(matrices, st.data())
def test_probability_of_improvement_against_naive_loop(scores, data):
    baseline = data.draw(hnp.arrays(float, (3, scores.shape[1]), elements=st.sampled_from([0, 0.5, 0.7, 2])))
    estimate = statistics.probability_of_improvement(scores, baseline, replicates=20)
    assert estimate.value == pytest.approx(naive_improvement(scores, baseline))
    assert 0 <= estimate.low <= estimate.high <= 1


def naive_stratified_interval(scores, statistic, replicates=4000):
    rng = np.random.default_rng(7)
    found = []
    for _ in range(replicates):
        drawn = np.empty_like(scores)
        for environment in range(scores.shape[1]):
            for run in range(scores.shape[0]):
                drawn[run, environment] = scores[rng.integers(scores.shape[0]), environment]
        found.append(statistic(drawn))
    return np.quantile(found, [0.025, 0.975])


@pytest.mark.parametrize(
    ("name", "statistic"),
    [
        ("iqm", naive_iqm),
        ("mean", lambda scores: scores.mean(0).mean()),
        ("median", lambda scores: np.median(scores.mean(0))),
        ("optimality_gap", lambda scores: 1 - np.minimum(scores, 1).mean()),
    ],
)
def test_runs_are_resampled_within_their_environment(name, statistic):
    scores = SCORES + np.array([0, 1, 2, 3])  # far apart: resampling across environments would be much wider
    estimate = statistics.aggregate(scores)[name]
    low, high = naive_stratified_interval(scores, statistic)
    assert estimate.low == pytest.approx(low, abs=0.02)
    assert estimate.high == pytest.approx(high, abs=0.02)


def test_performance_profile_against_naive_loop():
    levels = [-0.5, 0.2, 0.6, 0.9, 3.0]
    profile, low, high = statistics.performance_profile(SCORES, levels)
    for index, level in enumerate(levels):
        assert profile[index] == pytest.approx(sum(score > level for score in SCORES.ravel()) / SCORES.size)
        expected = naive_stratified_interval(SCORES, lambda scores, level=level: (scores > level).mean(), 1500)
        np.testing.assert_allclose([low[index], high[index]], expected, atol=0.051)


def test_missing_runs_are_left_out():
    scores = SCORES.copy()
    scores[4, 1] = np.nan
    estimate = statistics.aggregate(scores)
    kept = np.concatenate([SCORES[:, 0], SCORES[:4, 1], SCORES[:, 2], SCORES[:, 3]])
    assert estimate["iqm"].value == pytest.approx(naive_iqm(kept))
    assert estimate["iqm"].count == 19
    assert estimate["mean"].low < estimate["mean"].value < estimate["mean"].high


def test_one_run_has_no_interval():
    estimate = statistics.aggregate(SCORES[:1])["iqm"]
    assert np.isfinite(estimate.value)
    assert np.isnan([estimate.low, estimate.high]).all()


def test_scores_of_the_wrong_shape_are_refused():
    with pytest.raises(ValueError, match="runs, environments"):
        statistics.aggregate([0.1, 0.2])
    with pytest.raises(ValueError, match="without any run"):
        statistics.aggregate([[0.1, np.nan], [0.2, np.nan]])
    with pytest.raises(ValueError, match="4 environments against 3"):
        statistics.probability_of_improvement(SCORES, BASELINE[:, :3])


def test_same_seed_same_numbers():
    assert statistics.aggregate(SCORES, replicates=200, seed=3) == statistics.aggregate(SCORES, replicates=200, seed=3)
    assert statistics.aggregate(SCORES, replicates=200, seed=3) != statistics.aggregate(SCORES, replicates=200, seed=4)


def test_image_bootstrap_keeps_pairs_together():
    rng = np.random.default_rng(0)
    baseline = rng.random((1, 400)) < 0.5
    values = baseline.copy()
    values[0, :40] = True
    estimate = statistics.image_bootstrap(values, baseline)
    gain = (values.astype(float) - baseline).mean()
    error = (values.astype(float) - baseline).std() / 20
    assert estimate.value == pytest.approx(gain)
    # Unpaired, the interval would be three times as wide.
    assert estimate.high - estimate.low == pytest.approx(2 * 1.96 * error, rel=0.15)


def test_image_bootstrap_is_clustered_by_seed():
    rng = np.random.default_rng(0)
    effect = np.array([[0.0], [0.2], [0.4], [0.6]])  # seeds differ much more than images
    values = effect + rng.normal(0, 0.01, (4, 300))
    baseline = np.zeros((4, 300))
    naive = [effect[rng.integers(4, size=4)].mean() for _ in range(4000)]
    estimate = statistics.image_bootstrap(values, baseline)
    np.testing.assert_allclose([estimate.low, estimate.high], np.quantile(naive, [0.025, 0.975]), atol=0.03)


def test_image_bootstrap_leaves_undefined_images_out():
    estimate = statistics.image_bootstrap([[1.0, np.nan, 0.5, 0.6]], [[0.5, 0.1, np.nan, 0.2]])
    assert estimate.value == pytest.approx(0.45)
    assert estimate.count == 2
    nothing = statistics.image_bootstrap([[np.nan]], [[1.0]])
    assert nothing.count == 0
    assert np.isnan(nothing.value)


def test_agreement_with_rliable():
    """Runs where rliable imports: version 1.2.0 does not beside pandas 3."""
    library = pytest.importorskip("rliable.library", exc_type=Exception)
    metrics = pytest.importorskip("rliable.metrics", exc_type=Exception)

    def all_aggregates(scores):
        return np.array(
            [
                metrics.aggregate_iqm(scores),
                metrics.aggregate_median(scores),
                metrics.aggregate_mean(scores),
                metrics.aggregate_optimality_gap(scores),
            ]
        )

    theirs, intervals = library.get_interval_estimates({"method": SCORES}, all_aggregates, reps=4000)
    ours = statistics.aggregate(SCORES, replicates=20_000)
    for index, estimate in enumerate(ours.values()):
        assert estimate.value == pytest.approx(theirs["method"][index])
        np.testing.assert_allclose([estimate.low, estimate.high], intervals["method"][:, index], atol=0.02)
    levels = np.linspace(0, 1.2, 7)
    profile, _ = library.create_performance_profile({"method": SCORES}, levels, reps=2)
    np.testing.assert_allclose(statistics.performance_profile(SCORES, levels)[0], profile["method"])
    improvement = statistics.probability_of_improvement(SCORES, BASELINE, replicates=20_000)
    theirs, intervals = library.get_interval_estimates(
        {"pair": (SCORES, BASELINE)}, lambda x, y: np.array([metrics.probability_of_improvement(x, y)]), reps=500
    )
    assert improvement.value == pytest.approx(theirs["pair"][0])
    np.testing.assert_allclose([improvement.low, improvement.high], intervals["pair"][:, 0], atol=0.04)


@given(st.lists(st.tuples(numbers, numbers), min_size=2, max_size=6))
def test_permutation_against_all_signs(pairs):
    ours, theirs = np.array(pairs).T
    difference = ours - theirs
    found = statistics.permutation_p_value(ours, theirs)
    if np.isnan(found):
        assert np.ptp(difference) <= 1e-12 * np.abs(pairs).max()
        return
    signs = itertools.product((1, -1), repeat=len(difference))
    means = [abs(np.mean(difference * np.array(sign))) for sign in signs]
    observed = abs(difference.mean())
    expected = np.mean([mean >= observed - 1e-9 * max(observed, 1e-9) for mean in means])
    assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("level", [0.5, 0.25, 0.1, 0.05, 0.01, 0.001])
def test_with_fewer_pairs_no_permutation_test_reaches_the_level(level):
    pairs = statistics.fewest_pairs(level)
    gains = np.arange(1, pairs + 1)
    if pairs > 1:
        assert pairs == 2 or statistics.permutation_p_value(gains[1:], np.zeros(pairs - 1)) > level
        assert statistics.permutation_p_value(gains, np.zeros(pairs)) <= level


@pytest.mark.parametrize("margin", [0.01, 0.05, 0.5])
def test_equivalence_is_what_the_interval_says(margin):
    """Two one-sided tests at 5 % agree with the 90 % interval: equivalent where it lies within the margin."""
    for seed in range(20):
        generator = np.random.default_rng(seed)
        ours, theirs = generator.normal(0.02 * (seed % 3), 0.03, 6), generator.normal(0, 0.01, 6)
        interval = statistics.paired_difference(ours, theirs, confidence=0.9)
        within = -margin < interval.low and interval.high < margin
        assert (statistics.equivalence_p_value(ours, theirs, margin) < 0.05) == within


def test_pairs_are_dropped_and_refused():
    gaps = ([0.5, 0.6, np.nan, 0.8], [0.4, 0.55, 0.3, 0.6])
    whole = ([0.5, 0.6, 0.8], [0.4, 0.55, 0.6])
    for test in (statistics.permutation_p_value, lambda a, b: statistics.equivalence_p_value(a, b, 0.3)):
        assert test(*gaps) == test(*whole)
        assert np.isnan(test([0.5], [0.4]))
        assert np.isnan(test([], []))
        with pytest.raises(ValueError, match="expected one pair per seed"):
            test([0.5], [0.4, 0.5])
    with pytest.raises(ValueError, match="margin 0"):
        statistics.equivalence_p_value(*whole, 0)
    with pytest.raises(ValueError, match="level 1"):
        statistics.fewest_pairs(1)


def test_hierarchical_bootstrap_against_a_loop():
    generator = np.random.default_rng(3)
    seeds = [generator.normal(0.6, 0.2, size) for size in (12, 9, 20, 15)]
    found = statistics.hierarchical_bootstrap(seeds, replicates=4000)
    assert found.value == pytest.approx(np.mean([seed.mean() for seed in seeds]))
    means = []
    for _ in range(4000):
        drawn = [seeds[number] for number in generator.integers(4, size=4)]
        means.append(np.mean([generator.choice(images, len(images)).mean() for images in drawn]))
    low, high = np.quantile(means, [0.025, 0.975])
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.01)
    assert found == statistics.hierarchical_bootstrap(seeds, replicates=4000)


def test_images_of_a_seed_count_less_than_seeds():
    """All images of a seed say the same: as many images as there may be, there are three observations."""
    few = statistics.hierarchical_bootstrap([np.full(5, value) for value in (0.2, 0.5, 0.8)])
    many = statistics.hierarchical_bootstrap([np.full(500, value) for value in (0.2, 0.5, 0.8)])
    assert (few.low, few.high) == pytest.approx((many.low, many.high))
    assert many.high - many.low > 0.4


def test_hierarchical_bootstrap_of_differences_and_of_what_is_undefined():
    ours, theirs = [[1, 1, np.nan, 0], [np.nan], [1, 0]], [[0, 1, 1, 0], [1], [1, 0]]
    found = statistics.hierarchical_bootstrap(ours, theirs)
    assert (found.value, found.count) == (pytest.approx((1 / 3 + 0) / 2), 2)
    assert np.isnan(statistics.hierarchical_bootstrap([[np.nan], []]).value)
    assert np.isnan(statistics.hierarchical_bootstrap([[0.5]]).low)
    with pytest.raises(ValueError, match="expected the same"):
        statistics.hierarchical_bootstrap(ours, theirs[:2])


def naive_ranks(row):
    return [sum(other > score for other in row) + (1 + sum(other == score for other in row)) / 2 for score in row]


@given(
    hnp.arrays(float, st.tuples(st.integers(2, 8), st.integers(3, 6)), elements=st.sampled_from([0.1, 0.2, 0.5, 0.9]))
)
def test_mean_ranks_and_groups_against_a_loop(scores):
    names = [f"M{number}" for number in range(scores.shape[1])]
    found = statistics.critical_differences(scores, names)
    expected = dict(zip(names, np.mean([naive_ranks(row) for row in scores.tolist()], axis=0)))
    assert dict(zip(found.names, found.ranks)) == pytest.approx(expected)
    assert found.ranks == sorted(found.ranks)
    told_apart = {
        (a, b)
        for a, b in itertools.combinations(range(len(names)), 2)
        if found.ranks[b] - found.ranks[a] > found.difference
    }
    together = {pair for first, last in found.groups for pair in itertools.combinations(range(first, last + 1), 2)}
    assert together == set(itertools.combinations(range(len(names)), 2)) - told_apart
    turned = statistics.critical_differences(-scores, names, higher_is_better=False)
    assert turned == found


def test_critical_difference_of_demsar():
    """His example: four methods on 14 data sets, CD = 1.25 at 5 %."""
    found = statistics.critical_differences(np.random.default_rng(0).random((14, 4)), list("ABCD"))
    assert found.difference == pytest.approx(2.569 * (4 * 5 / (6 * 14)) ** 0.5, abs=1e-3)


def test_ranks_need_data_sets_and_methods():
    with pytest.raises(ValueError, match="three names or more"):
        statistics.critical_differences([[1, 2], [2, 1]], ["A", "B"])
    with pytest.raises(ValueError, match="1 data sets"):
        statistics.critical_differences([[1, 2, 3], [1, np.nan, 2]], ["A", "B", "C"])
    assert statistics.critical_differences([[1, 1, 1], [2, 2, 2]], ["A", "B", "C"]).p_value == 1


def test_agreement_with_autorank():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        autorank = pytest.importorskip("autorank").autorank
        import pandas as pd

        scores = np.random.default_rng(0).normal(size=(12, 5)) + np.arange(5)
        theirs = autorank(pd.DataFrame(scores, columns=list("ABCDE")), force_mode="nonparametric", verbose=False)
    ours = statistics.critical_differences(scores, list("ABCDE"))
    assert ours.difference == pytest.approx(theirs.cd, rel=1e-3)
    assert dict(zip(ours.names, ours.ranks)) == pytest.approx(theirs.rankdf["meanrank"].to_dict())
    assert ours.p_value == pytest.approx(theirs.pvalue)
