"""The results in words, no bolder than the numbers allow."""

from lookright.report.comparison import Score, Section
from lookright.report.metric import is_open_set, metric
from lookright.report.number import decimal, p_value, percent
from lookright.statistics import Estimate, PairedDifference

SPLITS = {
    "aligned": "aligned pairs",
    "conflicting": "conflicting pairs",
    "unseen": "unseen domains",
    "unknown": "unknown classes",
    "test": "test images",
}


def split_words(split: str) -> str:
    """What a test split is called in a sentence.

    >>> split_words("conflicting"), split_words("night")
    ('conflicting pairs', 'the split “night”')
    """
    return SPLITS.get(split, f"the split “{split}”")


def summary(section: Section, over_images: dict[tuple[str, str], Estimate]) -> list[str]:
    """One sentence per method that is compared with the baseline, or one about the only method.

    Args:
        section: the numbers.
        over_images: (name, metric) to the bootstrap over test images of the headline split, where a single seed
            leaves no interval over seeds.
    """
    split = section.headline_split()
    sentences = []
    for name in section.names[1:] or section.names:
        parts = [
            _accuracy(section, split, name, over_images.get((name, "accuracy"))),
            _attention(section, split, name, over_images.get((name, "energy_in_mask"))),
        ]
        said = "; ".join(part for part in parts if part)
        if said:
            sentences.append(f"On {split_words(split)} {said}.")
        sentences += _open_set(section, name)
    return sentences


def _pair(section: Section, split: str, column: str, name: str) -> tuple[Score, Score] | None:
    """A method's score and the baseline's; None where either is missing."""
    if column not in section.metrics:
        return None
    scores = {score.name: score for score in section.scores(split, column)}
    if name not in scores or section.baseline not in scores:
        return None
    return scores[name], scores[section.baseline]


def _accuracy(section: Section, split: str, name: str, over_images: Estimate | None) -> str:
    pair = _pair(section, split, "accuracy", name)
    if pair is None:
        return ""
    score, baseline = pair
    difference = score.difference
    if difference is None:
        return f"{name} classified {percent(score.mean.value)} of images correctly ({_interval_of(score)})"
    digits = _digits(difference)
    own, other = percent(score.mean.value, digits), percent(baseline.mean.value, digits)
    if score.is_clear:
        return (
            f"{name} classified {own} of images correctly, {_points(abs(difference.value), digits)} "
            f"{'more' if difference.value > 0 else 'fewer'} than {baseline.name} ({_evidence(score)})"
        )
    if difference.count == 1:
        return (
            f"the one compared run of {name} classified {own} of images correctly, that of {baseline.name} {other}"
            f"{_images(over_images)}; one seed says nothing about another training"
        )
    return f"{name} classified {own} of images correctly and {baseline.name} {other}, {_unclear(score)}"


def _attention(section: Section, split: str, name: str, over_images: Estimate | None) -> str:
    pair = _pair(section, split, "energy_in_mask", name)
    if pair is None:
        return ""
    score, baseline = pair
    difference = score.difference
    digits = 0 if difference is None else _digits(difference)
    own, other = percent(score.mean.value, digits), percent(baseline.mean.value, digits)
    if difference is None:
        return f"{own} of its attention fell on the object"
    if score.is_clear:
        return f"{own} of its attention fell on the object instead of {other} ({_evidence(score)})"
    if difference.count == 1:
        return f"{own} of its attention fell on the object, {other} of {baseline.name}'s{_images(over_images)}"
    return f"{own} of its attention fell on the object and {other} of {baseline.name}'s, {_unclear(score)}"


def _open_set(section: Section, name: str) -> list[str]:
    """A sentence per split and open-set score: how well unknown images are told from known ones."""
    sentences = []
    for split in section.splits:
        for column in section.metrics_of(split):
            pair = _pair(section, split, column, name) if column.startswith("auroc") else None
            if pair is None or not is_open_set(column):
                continue
            score, baseline = pair
            own, other = decimal(score.mean.value), decimal(baseline.mean.value)
            said = f"Known and unknown images: {name} reached an {metric(column).label} of {own}"
            difference = score.difference
            if difference is None:
                sentences.append(f"{said} ({_interval_of(score)}).")
            elif score.is_clear:
                low, high = decimal(difference.low, sign=True), decimal(difference.high, sign=True)
                sentences.append(
                    f"{said}, {decimal(abs(difference.value))} {'above' if difference.value > 0 else 'below'} "
                    f"{baseline.name} (95\u202f% interval {low} to {high}, {_test(score)})."
                )
            elif difference.count == 1:
                sentences.append(f"{said}, {baseline.name} {other}, with one seed each.")
            else:
                sentences.append(f"{said} and {baseline.name} {other}, not a clear difference ({_test(score)}).")
    return sentences


def _digits(difference: PairedDifference) -> int:
    """Whole points, but a digit more where the difference would round away."""
    return 0 if abs(difference.value) >= 0.015 else 1


def _points(value: float, digits: int) -> str:
    text = decimal(100 * value, digits)
    return f"{text} point" if text == "1" else f"{text} points"


def _interval(low: float, high: float, digits: int) -> str:
    ends = [decimal(100 * end, digits, sign=True) for end in (low, high)]
    return f"95\u202f% interval {ends[0]} to {ends[1]}"


def _test(score: Score) -> str:
    assert score.difference is not None
    if score.comparisons > 1:
        return f"{p_value(score.holm)} corrected for {score.comparisons} comparisons, {score.difference.count} seeds"
    return f"{p_value(score.difference.p_value)}, {score.difference.count} seeds"


def _evidence(score: Score) -> str:
    assert score.difference is not None
    difference = score.difference
    return f"{_interval(difference.low, difference.high, _digits(difference))}, {_test(score)}"


def _unclear(score: Score) -> str:
    """Why a difference over at least two seeds, or over none, is not a finding."""
    assert score.difference is not None
    difference = score.difference
    if difference.count == 0:
        return "without a seed in common to compare them on"
    if difference.value == 0 and not difference.p_value >= 0:
        return f"the same in all {difference.count} seeds"
    if not difference.p_value >= 0:
        return f"the same difference in all {difference.count} seeds, which leaves no spread to test against"
    return f"a difference that {difference.count} seeds do not tell from chance ({_evidence(score)})"


def _images(over_images: Estimate | None) -> str:
    if over_images is None or not over_images.low <= over_images.high:
        return ""
    return (
        f" (difference over the same {over_images.count} images {decimal(100 * over_images.value, 1, sign=True)} "
        f"points, {_interval(over_images.low, over_images.high, 1)})"
    )


def _interval_of(score: Score) -> str:
    seeds = f"{score.mean.count} seed{'s' if score.mean.count > 1 else ''}"
    if not score.mean.low <= score.mean.high:
        return seeds
    low, high = percent(score.mean.low), percent(score.mean.high)
    return f"95\u202f% interval {low} to {high}, {seeds}"
