"""The results in words, no bolder than the numbers allow."""

import pandas as pd

from lookright.measures import CONTRAST
from lookright.report.comparison import Score, Section
from lookright.report.number import decimal, p_value, percent
from lookright.statistics import Estimate, PairedDifference, paired_difference

SPLITS = {
    "aligned": "aligned pairs",
    "conflicting": "conflicting pairs",
    "unseen": "unseen domains",
    "test": "the test images",
}
# Beside accuracy and attention, the metrics that the summary tells; AUROC with other scores is in the tables.
ALSO_TOLD = {"auroc": "told unknown images from known ones with an"}
# How far the map and the contrast map of several runs, or of one, are apart before the summary tells it.
APART, APART_IN_ONE_RUN = 0.01, 0.05


def split_words(split: str) -> str:
    """What a test split is called in a sentence.

    >>> split_words("conflicting"), split_words("night")
    ('conflicting pairs', 'the split “night”')
    """
    return SPLITS.get(split, f"the split “{split}”")


def summary(section: Section, over_images: dict[tuple[str, str], Estimate]) -> dict[str, str]:
    """What is to say about each method that is compared with the baseline, or about the only one.

    Args:
        section: the numbers.
        over_images: (name, metric) to the bootstrap over test images of the headline split, for methods that share
            a single seed with the baseline.

    Returns:
        Method to sentences, the most accurate on the headline split first.
    """
    split = section.headline_split()
    accuracy = {score.name: score.mean.value for score in _scores(section, split, "accuracy").values()}
    compared = section.names[1:] or section.names
    said = {}
    for name in sorted(compared, key=lambda name: -accuracy.get(name, 0)):
        is_best = len(section.names) > 2 and name in accuracy and accuracy[name] == max(accuracy.values())
        clauses = [
            _accuracy(section, split, name, over_images.get((name, "accuracy")), is_best),
            _attention(section, split, name, over_images.get((name, "energy_in_mask"))),
        ]
        first = "; ".join(clause for clause in clauses if clause)
        sentences = _disagreement(section, split, name) + ([f"On {split_words(split)} {first}."] if first else [])
        sentences += _free_direction(section, split, name) + _also(section, name)
        if sentences:
            said[name] = " ".join(sentences)
    return said


def _scores(section: Section, split: str, column: str) -> dict[str, Score]:
    if column not in section.metrics_of(split):
        return {}
    return {score.name: score for score in section.scores(split, column)}


def _accuracy(section: Section, split: str, name: str, over_images: Estimate | None, is_best: bool) -> str:
    scores = _scores(section, split, "accuracy")
    if name not in scores:
        return ""
    score, difference = scores[name], scores[name].difference
    subject = f"{name}, the most accurate of {len(scores)} methods," if is_best else name
    if difference is None:
        return f"{subject} classified {percent(score.mean.value)} of images correctly{_alone(score)}"
    digits = _digits(difference)
    own, other = percent(score.mean.value, digits), percent(scores[section.baseline].mean.value, digits)
    if score.is_clear:
        return (
            f"{subject} classified {own} of images correctly, {_points(abs(difference.value), digits)} "
            f"{'more' if difference.value > 0 else 'fewer'} than {section.baseline} "
            f"({_interval(difference, digits)}, {_test(score)})"
        )
    return (
        f"{subject} classified {own} of images correctly and {section.baseline} {other}, "
        f"{_doubt(score, digits)}{_over_images(over_images)}"
    )


def _attention(section: Section, split: str, name: str, over_images: Estimate | None) -> str:
    scores = _scores(section, split, "energy_in_mask")
    if name not in scores:
        return ""
    score, difference = scores[name], scores[name].difference
    if difference is None:
        return f"{percent(score.mean.value)} of its attention fell inside the mask"
    digits = _digits(difference)
    own, other = percent(score.mean.value, digits), percent(scores[section.baseline].mean.value, digits)
    if score.is_clear:
        return (
            f"{own} of its attention fell inside the mask instead of {other} "
            f"({_interval(difference, digits)}, {p_value(score.holm)})"
        )
    return (
        f"{own} of its attention fell inside the mask and {other} of {section.baseline}'s"
        f"{_over_images(over_images) if difference.count == 1 else ', ' + _doubt(score, digits)}"
    )


def _disagreement(section: Section, split: str, name: str) -> list[str]:
    """A sentence where the maps clearly moved towards the evidence, and what needs no map did not follow."""
    maps, without = (_scores(section, split, column).get(name) for column in ("energy_in_mask", "evidence_accuracy"))
    if maps is None or without is None or maps.difference is None or without.difference is None:
        return []
    gain = without.difference
    if not maps.is_clear or maps.difference.value <= 0 or gain.count < 2 or (without.is_clear and gain.value > 0):
        return []
    digits = _digits(gain)
    change = f"{decimal(100 * gain.value, digits, sign=True)} points"
    if gain.low <= gain.high:
        change += f", {_interval(gain, digits)}"
    return [
        f"The maps of {name} moved onto the evidence, but its accuracy on the evidence alone shows no clear gain over "
        f"{section.baseline} ({change}): its maps are not yet a sign that it uses the evidence more."
    ]


def _free_direction(section: Section, split: str, name: str) -> list[str]:
    """A sentence where the map and the contrast map clearly tell different things."""
    raw, contrast = (_by_seed(section, split, prefix + "energy_in_mask") for prefix in ("", CONTRAST))
    if name not in raw or name not in contrast:
        return []
    is_compared = name != section.baseline and section.baseline in raw and section.baseline in contrast
    told, found = (of[name] - (of[section.baseline] if is_compared else 0.0) for of in (raw, contrast))
    both = pd.concat([told, found], axis=1).dropna()
    apart = paired_difference(both.iloc[:, 0], both.iloc[:, 1])
    is_clear = apart.p_value < 0.05 if apart.count > 1 else abs(apart.value) >= APART_IN_ONE_RUN
    if not is_clear or abs(apart.value) < APART:
        return []
    own = percent(contrast[name].mean())
    if is_compared:
        gains = [decimal(100 * gain.mean(), 0, sign=True) for gain in (both.iloc[:, 1], both.iloc[:, 0])]
        own += f" and {percent(contrast[section.baseline].mean())}, {gains[0]} points instead of {gains[1]}"
    return [
        "In the contrast map, without the free direction that all classes share and no probability depends on, "
        f"it is {own}."
    ]


def _by_seed(section: Section, split: str, column: str) -> dict[str, pd.Series]:
    return {name: pd.Series(score.values, score.seeds) for name, score in _scores(section, split, column).items()}


def _also(section: Section, name: str) -> list[str]:
    """A sentence per split and metric of `ALSO_TOLD`."""
    sentences = []
    for split in section.splits:
        for column, verb in ALSO_TOLD.items():
            scores = _scores(section, split, column)
            if name not in scores:
                continue
            score, difference = scores[name], scores[name].difference
            said = f"{name} {verb} {section.measure(column).label} of {decimal(score.mean.value)}"
            if sum(column in section.metrics_of(other) for other in section.splits) > 1:
                said += f" on {split_words(split)}"
            if difference is None:
                sentences.append(f"{said}.")
            elif score.is_clear:
                direction = "above" if difference.value > 0 else "below"
                low, high = decimal(difference.low, sign=True), decimal(difference.high, sign=True)
                sentences.append(
                    f"{said}, {decimal(abs(difference.value))} {direction} {section.baseline} "
                    f"(95\u202f% interval {low} to {high}, {_test(score)})."
                )
            else:
                other = decimal(scores[section.baseline].mean.value)
                sentences.append(f"{said} and {section.baseline} of {other}, which is no clear difference.")
    return sentences


def _digits(difference: PairedDifference) -> int:
    """Whole points, but a digit more where the difference would round away."""
    return 0 if abs(difference.value) >= 0.015 else 1


def _points(value: float, digits: int) -> str:
    text = decimal(100 * value, digits)
    return f"{text} point" if text == "1" else f"{text} points"


def _interval(estimate: PairedDifference | Estimate, digits: int) -> str:
    """In points, of a difference."""
    low, high = (decimal(100 * end, digits, sign=True) for end in (estimate.low, estimate.high))
    return f"95\u202f% interval {low} to {high}"


def _test(score: Score) -> str:
    assert score.difference is not None
    corrected = f" corrected for {score.comparisons} comparisons" if score.comparisons > 1 else ""
    return f"{p_value(score.holm)}{corrected}, {score.difference.count} seeds"


def _doubt(score: Score, digits: int) -> str:
    """Why a difference to the baseline is not a finding."""
    difference = score.difference
    assert difference is not None
    if difference.count == 0:
        return "but they have no seed in common yet"
    if difference.count == 1:
        return "in one run each, which says nothing about training once more"
    if difference.p_value >= 0:
        return f"a difference that may be chance ({_interval(difference, digits)}, {_test(score)})"
    if difference.value == 0:
        return f"the same for each of {difference.count} seeds"
    return f"by the same difference for each of {difference.count} seeds, so that there is no spread to test it against"


def _over_images(estimate: Estimate | None) -> str:
    if estimate is None or not estimate.low <= estimate.high:
        return ""
    return f" (difference over the same {estimate.count} images: {_interval(estimate, 1)} points)"


def _alone(score: Score) -> str:
    """How sure the mean of a method is that is compared with nothing."""
    if not score.mean.low <= score.mean.high:
        return f" ({score.mean.count} seed{'' if score.mean.count == 1 else 's'})"
    low, high = percent(score.mean.low), percent(score.mean.high)
    return f" (95\u202f% interval {low} to {high}, {score.mean.count} seeds)"
