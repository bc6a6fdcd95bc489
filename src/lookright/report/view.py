"""What the page shows, computed: one view per protocol and model, one per test split in it."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from markupsafe import Markup

from lookright.measures import RANDOM, Measure
from lookright.metrics import reliability
from lookright.report import figure, gallery
from lookright.report.comparison import Score, Section, sections
from lookright.report.directory import Evaluation, StudyResults, read_evaluation
from lookright.report.metric import is_open_set
from lookright.report.number import decimal, p_value
from lookright.report.sentence import split_words, summary
from lookright.statistics import CriticalDifferences, Estimate, critical_differences, image_bootstrap

# Beyond this many maps a page becomes heavy: fewer images are shown then.
MOST_MAPS = 800
GLANCE = ("accuracy", "worst_group_accuracy", "energy_in_mask", "contrast_energy_in_mask", "insertion", "deletion")
ATTENTION_CAPTION = "Accuracy against attention: small marks are runs, large ones means with their 95 % intervals."
# A worst group, or a bin of confidence, of fewer images says nothing.
FEW = 10
BINS = 10
RELIABILITY_CAPTION = "Calibration: on the dashed line a model is as often right as it is sure; below it, too sure."
# With fewer seeds Nemenyi's test can tell nothing apart.
FEWEST_RANKED = 5
PER_IMAGE = {"accuracy": "correct", "energy_in_mask": "energy_in_mask"}


@dataclass(frozen=True)
class Row:
    """One line of a table: a method's score and where it lies on the metric's own small axis (0 to 100)."""

    score: Score
    series: int
    verdict: str
    dots: list[float]
    middle: float
    low: float
    high: float


@dataclass(frozen=True)
class Group:
    """A metric and the methods' lines.

    Attributes:
        column: of the results.
        metric: what it means.
        rows: of the methods.
        floors: in words, what a flat and a random map score; empty where that is not known.
        few: how many images the value rests on where these are too few to say anything, else 0.
    """

    column: str
    metric: Measure
    rows: list[Row]
    floors: str
    few: int

    def row(self, name: str) -> Row | None:
        """A method's line; None where it has no value."""
        return next((row for row in self.rows if row.score.name == name), None)


@dataclass(frozen=True)
class SplitView:
    """Everything the page shows of one test split."""

    key: str
    name: str
    words: str
    groups: list[Group]
    figures: list[tuple[str, Markup]]
    cards: list[gallery.Card]
    seed: int | None
    counts: str


@dataclass(frozen=True)
class SectionView:
    """Everything the page shows of one protocol and model."""

    section: Section
    title: str
    sentences: list[str]
    splits: list[SplitView]
    headline: SplitView
    figure: Markup | None
    notes: list[str]
    glance: list[Group]
    open_set: list[tuple[str, list[tuple[SplitView, Group]]]]

    @property
    def any_interval(self) -> bool:
        """Whether a mean in the table at the top has an interval."""
        return any(row.score.mean.low <= row.score.mean.high for group in self.glance for row in group.rows)


def views(study: StudyResults) -> list[SectionView]:
    """Everything the page shows, in the order of the results."""
    found = sections(study)
    maps = sum(len(section.splits) * len(section.names) for section in found)
    maximum = max(4, min(gallery.MAXIMUM, MOST_MAPS // maps))
    return [_section_view(study, section, index, maximum) for index, section in enumerate(found)]


def _section_view(study: StudyResults, section: Section, index: int, maximum: int) -> SectionView:
    headline = section.headline_split()
    over_images: dict[tuple[str, str], Estimate] = {}
    splits = []
    for number, split in enumerate(section.splits):
        evaluations = _evaluations(study, section, split)
        if split == headline:
            over_images = _over_images(section, evaluations)
        seed = _gallery_seed(evaluations)
        shown = {name: runs[seed] for name, runs in evaluations.items() if seed in runs}
        key = f"{index}-{number}"
        splits.append(
            SplitView(
                key=key,
                name=split,
                words=split_words(split),
                groups=[_group(section, split, column) for column in section.metrics_of(split)],
                figures=_figures(section, split, key, evaluations),
                cards=gallery.cards(section, shown, maximum),
                seed=seed,
                counts=_counts(section, split),
            )
        )
    top = splits[section.splits.index(headline)]
    return SectionView(
        section=section,
        title=" · ".join(part for part in (section.protocol, section.model) if part) or "All methods",
        sentences=list(summary(section, over_images).values()),
        splits=splits,
        headline=top,
        figure=_attention_figure(section, headline, f"{index}-summary"),
        notes=_notes(section, headline),
        glance=[group for group in top.groups if group.column in GLANCE],
        open_set=_open_set(splits),
    )


def _evaluations(study: StudyResults, section: Section, split: str) -> dict[str, dict[int, Evaluation]]:
    """Per method and seed the evaluation on the split, where it was kept."""
    found: dict[str, dict[int, Evaluation]] = {}
    for name in section.names:
        rows = section.results[(section.results["name"] == name) & (section.results["split"] == split)]
        for seed, run in sorted(zip(rows["seed"], rows["run"], strict=True)):
            evaluation = read_evaluation(study.directory / run, split)
            if evaluation is not None:
                found.setdefault(name, {})[int(seed)] = evaluation
    return found


def _gallery_seed(evaluations: dict[str, dict[int, Evaluation]]) -> int | None:
    """The first seed that as many methods as possible have pictures of."""
    seeds = [
        seed for runs in evaluations.values() for seed, evaluation in runs.items() if "gallery_map" in evaluation.arrays
    ]
    return min(seeds, key=lambda seed: (-seeds.count(seed), seed), default=None)


def _over_images(section: Section, evaluations: dict[str, dict[int, Evaluation]]) -> dict[tuple[str, str], Estimate]:
    """Bootstrap over the test images for methods that have one seed in common with the baseline."""
    found: dict[tuple[str, str], Estimate] = {}
    baseline = evaluations.get(section.baseline, {})
    for name, runs in evaluations.items():
        seeds = runs.keys() & baseline.keys()
        if name == section.baseline or len(seeds) != 1:
            continue
        seed = seeds.pop()
        both = runs[seed].images.merge(baseline[seed].images, on="image", suffixes=("", "_baseline"))
        for column, score in PER_IMAGE.items():
            if score in both and f"{score}_baseline" in both:
                found[name, column] = image_bootstrap([both[score]], [both[f"{score}_baseline"]])
    return found


def _group(section: Section, split: str, column: str) -> Group:
    scores = section.scores(split, column)
    about = section.measure(column)
    values = [value for score in scores for value in score.values]
    ends = [end for score in scores for end in (score.mean.low, score.mean.high) if not np.isnan(end)]
    # Two seeds give intervals many times as wide as what was seen: they may leave the axis.
    spread = max(values) - min(values) or abs(values[0]) or 1.0
    low = max(min(values + ends), min(values) - spread)
    high = min(max(values + ends), max(values) + spread)

    def place(value: float) -> float:
        return float(np.clip(4 + 92 * (value - low) / (high - low), 0, 100)) if high > low else 50.0

    rows = [
        Row(
            score,
            section.names.index(score.name),
            _verdict(score, about),
            [place(value) for value in score.values],
            place(score.mean.value),
            place(score.mean.value if np.isnan(score.mean.low) else score.mean.low),
            place(score.mean.value if np.isnan(score.mean.high) else score.mean.high),
        )
        for score in scores
    ]
    few = section.smallest_group(split) if column == "worst_group_accuracy" else FEW
    return Group(column, about, rows, _floors(section, split, column), int(few) if few < FEW else 0)


def _floors(section: Section, split: str, column: str) -> str:
    """What maps score that know nothing."""
    known = [
        (words, floor)
        for words, floor in (
            ("a flat map scores", section.floor(split, column)),
            ("a random map", section.floor(split, column, RANDOM)),
        )
        if not np.isnan(floor)
    ]
    said = ", ".join(f"{words} {decimal(floor)}" for words, floor in known)
    return f"{said[:1].upper()}{said[1:]}." if said else ""


def _verdict(score: Score, about: Measure) -> str:
    if not score.is_clear or score.difference is None or about.higher_is_better is None:
        return ""
    return "better" if (score.difference.value > 0) == about.higher_is_better else "worse"


def _attention_figure(section: Section, split: str, name: str) -> Markup | None:
    if not {"accuracy", "energy_in_mask"} <= set(section.metrics_of(split)):
        return None
    attention = {score.name: score for score in section.scores(split, "energy_in_mask")}
    accuracy = {score.name: score for score in section.scores(split, "accuracy")}
    methods = [(attention.get(method), accuracy.get(method)) for method in section.names]
    return figure.accuracy_against_attention(name, methods)


def _figures(
    section: Section, split: str, key: str, evaluations: dict[str, dict[int, Evaluation]]
) -> list[tuple[str, Markup]]:
    """Caption and SVG of each figure that the split has data for."""
    found = []
    attention = _attention_figure(section, split, f"{key}-attention")
    if attention is not None:
        found.append((ATTENTION_CAPTION, attention))
    for kind, caption, label in (
        ("insertion", "Insertion: pixels revealed, most attended first. Higher is better.", "Share of pixels shown"),
        ("deletion", "Deletion: pixels removed, most attended first. Lower is better.", "Share of pixels removed"),
    ):
        fraction, curves = _curves(section, evaluations, f"{kind}_curve")
        if fraction is not None:
            found.append((caption, figure.curve(f"{key}-{kind}", label, fraction, curves)))
    if "expected_calibration_error" in section.metrics_of(split):
        bins = [_reliability(list(evaluations.get(name, {}).values())) for name in section.names]
        if any(len(confidence) for confidence, _ in bins):
            found.append((RELIABILITY_CAPTION, figure.reliability(f"{key}-reliability", bins)))
    ranked = _ranks(section, split)
    if ranked is not None:
        told = (
            f"Mean ranks by accuracy over {ranked.count} seeds, 1 the best; a bar joins methods not told apart "
            f"(Nemenyi, 5\u202f%; Friedman {p_value(ranked.p_value)})."
        )
        found.append((told, figure.critical_differences(f"{key}-ranks", ranked, section.names)))
    return found


def _reliability(runs: list[Evaluation]) -> tuple[np.ndarray, np.ndarray]:
    """Confidence and accuracy of each bin that has images enough to say something, over the images of all runs."""
    tables = [run.images for run in runs if {"confidence", "correct"} <= set(run.images)]
    if not tables:
        return np.empty(0), np.empty(0)
    images = pd.concat(tables)[["confidence", "correct"]].dropna()
    confidence, correct = (torch.tensor(images[column].to_numpy(np.float32)) for column in images)
    means, accuracy, count = reliability(confidence.clamp(0, 1), correct, bins=BINS)
    enough = (count >= FEW).numpy()
    return means.numpy()[enough], accuracy.numpy()[enough]


def _ranks(section: Section, split: str) -> CriticalDifferences | None:
    """Mean ranks of three or more methods over the seeds that all have; None for fewer of either than can be ranked."""
    if "accuracy" not in section.metrics_of(split):
        return None
    rows = section.results[section.results["split"] == split]
    table = rows.pivot(index="seed", columns="name", values="accuracy").dropna()
    names = [name for name in section.names if name in table]
    if len(names) < 3 or len(table) < FEWEST_RANKED:
        return None
    return critical_differences(table[names].to_numpy(), names)


def _curves(
    section: Section, evaluations: dict[str, dict[int, Evaluation]], kind: str
) -> tuple[np.ndarray | None, list[np.ndarray]]:
    """The shares of pixels, and per method the curves of its runs; runs on other shares are left out."""
    fraction = None
    curves = []
    for name in section.names:
        runs = []
        for evaluation in evaluations.get(name, {}).values():
            if kind not in evaluation.arrays or "fraction" not in evaluation.arrays:
                continue
            if fraction is None:
                fraction = evaluation.arrays["fraction"]
            if np.array_equal(fraction, evaluation.arrays["fraction"]):
                runs.append(evaluation.arrays[kind])
        curves.append(np.array(runs))
    return fraction, curves


def _notes(section: Section, split: str) -> list[str]:
    """What is missing, and what the comparison rests on therefore."""
    notes = []
    runs: dict[tuple[str, int], list[str]] = {}
    for name, seed, missing in section.missing:
        runs.setdefault((name, seed), []).append(missing)
    if runs:
        listed = [
            f"{name} seed {seed}" + ("" if len(missing) == len(section.splits) else f" on {', '.join(missing)}")
            for (name, seed), missing in runs.items()
        ]
        notes.append(f"Missing: {'; '.join(listed)}.")
    seeds = {name: set(section.seeds(name, split)) for name in section.names}
    reference = seeds[section.baseline]
    if any(own != reference for own in seeds.values()):
        common = [
            f"{name}: {', '.join(map(str, sorted(seeds[name] & reference))) or 'none'}" for name in section.names[1:]
        ]
        notes.append(f"Differences are over the seeds shared with {section.baseline} ({'; '.join(common)}).")
    return notes


def _open_set(splits: list[SplitView]) -> list[tuple[str, list[tuple[SplitView, Group]]]]:
    """Columns of the table of closed set beside open set; empty where nothing was measured on unknown images.

    Attacks of the types that training showed are no unknown images, though their rate has the name of an open-set one.
    """
    closed, opened = [], []
    for split in splits:
        has_unknown = any(group.column == "auroc" for group in split.groups)
        for group in split.groups:
            if is_open_set(group.column) and has_unknown:
                opened.append((split, group))
            elif is_open_set(group.column) or group.column == "accuracy":
                closed.append((split, group))
    return [("Closed set", closed), ("Open set", opened)] if closed and opened else []


def _counts(section: Section, split: str) -> str:
    """How many images the split has."""
    rows = section.results[section.results["split"] == split]
    parts = []
    for column, words in (("images", "images"), ("images_with_mask", "with a mask")):
        if column in rows and rows[column].notna().any():
            low, high = int(rows[column].min()), int(rows[column].max())
            parts.append(f"{low} {words}" if low == high else f"{low} to {high} {words}")
    if (few := section.smallest_group(split)) < FEW:
        parts.append(f"{int(few)} in the smallest group, whose accuracy is noise")
    return ", ".join(parts)
