"""What can fool each number? A worked example each, on digits before scenery whose colour gives the label away.

A small network learns from 1,200 digits of scikit-learn, most of them before the colour of their class; at the test the
tie is broken. Then one thing at a time is done that has nothing to do with looking at the evidence, and what a number
makes of it is measured. The page docs/what-can-fool-each-number.md is written from the figures.

    python benchmarks/fooled.py
"""

import argparse
import copy
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor

from lookright import Classifier, metrics
from lookright.attribution import class_map, common_share, contrast, minmax, relu
from lookright.classifier import evaluating
from lookright.perturb import Inpaint, ZeroFill, blend, inpaint
from lookright.run_directory.environment import processor
from lookright.training.small_cnn import SmallCNN

SIZE, DIGIT, TRAINING, TEST = 32, 16, 1200, 300
RESULTS = Path(__file__).parent / "results/fooled.json"
PAGE = Path(__file__).parents[1] / "docs/what-can-fool-each-number.md"


@dataclass(frozen=True)
class Images:
    """Of one split: images, labels, masks of the strokes."""

    image: Tensor
    label: Tensor
    mask: Tensor


def digits() -> tuple[Images, Images, Images, Images]:
    """Training, three of four colours tied to the class, and without a tie; test with all tied, and without a tie."""
    generator = torch.Generator().manual_seed(0)
    pixels, label = (torch.from_numpy(array) for array in load_digits(return_X_y=True))
    chosen = torch.randperm(len(label), generator=generator)[: TRAINING + TEST]
    stroke = F.interpolate((pixels[chosen] / 16).float().view(-1, 1, 8, 8), DIGIT, mode="bilinear")[:, 0]
    label = label[chosen]
    shape = torch.zeros(len(label), SIZE, SIZE)
    for row, (y, x) in enumerate(torch.randint(SIZE - DIGIT + 1, (len(label), 2), generator=generator).tolist()):
        shape[row, y : y + DIGIT, x : x + DIGIT] = stroke[row]
    texture = 0.15 * torch.rand(len(label), 3, SIZE, SIZE, generator=generator)
    hue = torch.rand(10, 3, generator=torch.Generator().manual_seed(3))
    other = torch.randint(10, (len(label),), generator=generator)
    tied, broken = (
        (hue[colour] * 0.8)[:, :, None, None].expand(-1, -1, SIZE, SIZE) * (1 - shape[:, None])
        + shape[:, None]
        + texture
        for colour in (label, other)
    )
    # The strokes and two pixels around them: an edge is evidence.
    mask = F.max_pool2d((shape > 0.3).float()[:, None], 5, 1, 2)[:, 0]
    training, test = slice(TRAINING), slice(TRAINING, None)
    mostly = torch.where((torch.arange(len(label)) % 4 > 0)[:, None, None, None], tied, broken)
    return tuple(
        Images(2 * image[part] - 1, label[part], mask[part])
        for image, part in ((mostly, training), (broken, training), (tied, test), (broken, test))
    )  # type: ignore[return-value]


def train(images: Images, change: Callable[[Tensor, Tensor], Tensor] | None = None, epochs: int = 12) -> Classifier:
    """A small network, plainly trained; `change` makes other images of images and masks."""
    torch.manual_seed(0)
    classifier = Classifier(SmallCNN(10, width=12))
    optimizer = torch.optim.AdamW(classifier.parameters(), 3e-3)
    image = images.image if change is None else change(images.image, images.mask)
    for _ in range(epochs):
        for rows in torch.randperm(len(image)).split(64):
            loss = F.cross_entropy(classifier(image[rows]).logits, images.label[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    classifier.eval()
    return classifier


@torch.no_grad()
def paint_the_map(classifier: Classifier, images: Images, strength: float = 30.0) -> Classifier:
    """The same classifier with one vector u added to every row of its head: other class maps, no other probability.

    u is what makes u·F most like the mask less a quarter, by least squares over all cells; nothing else is changed.
    """
    features = classifier(images.image).features
    wanted = F.adaptive_avg_pool2d(images.mask[:, None], features.shape[-2:]).flatten()
    cells = features.permute(0, 2, 3, 1).flatten(0, 2)
    cells = cells.double()
    gram = cells.T @ cells + 1e-2 * torch.eye(cells.shape[1], dtype=torch.float64)
    u = torch.linalg.solve(gram, cells.T @ (wanted.double() - 0.25)).float()
    painted = copy.deepcopy(classifier)
    painted.head.weight += strength * u
    return painted


@torch.no_grad()
def surer(classifier: Classifier, factor: float) -> Classifier:
    """The same classifier with all logits times a factor: the same decisions, another confidence."""
    changed = copy.deepcopy(classifier)
    changed.head.weight *= factor
    changed.head.bias *= factor
    return changed


@dataclass(frozen=True)
class Look:
    """A classifier on images: what it says, and its maps of what it says."""

    classifier: Classifier
    images: Images
    logits: Tensor
    predicted: Tensor
    signed: Tensor
    map: Tensor
    contrast: Tensor

    def mean(self, function: Callable[..., Tensor], first: int = TEST, **options: object) -> float:
        """The mean over images of a faithfulness metric."""
        given = (self.images.image[:first], self.signed[:first], self.predicted[:first])
        value = function(self.classifier, *given, **options)
        return (metrics.auc(value) if value.ndim == 2 else value).nanmean().item()


def look(classifier: Classifier, images: Images) -> Look:
    with evaluating(classifier):
        output = classifier(images.image)
        predicted = output.logits.argmax(1)
        signed = class_map(classifier, output, predicted).detach()
        contrasted = contrast(classifier, output, predicted).detach()
    return Look(
        classifier,
        images,
        output.logits.detach(),
        predicted,
        signed,
        *(minmax(relu(map)) for map in (signed, contrasted)),
    )


@dataclass(frozen=True)
class Example:
    """One number: what fools it, the figures, and what to read beside it."""

    title: str
    trick: str
    figures: dict[str, dict[str, float]]
    instead: str


def curves(seen: Look) -> dict[str, dict[str, float]]:
    """Areas from all 29 points, from two fifths of them where curves bend, and from as many at equal steps."""
    given = (seen.classifier, seen.images.image, seen.signed, seen.predicted)
    kinds = {"insertion": (metrics.insertion, metrics.Insertion), "deletion": (metrics.deletion, metrics.Deletion)}
    whole = {kind: metrics.auc(function(*given, fill=ZeroFill())) for kind, (function, _) in kinds.items()}
    rows = {}
    for name, options in (("29 points", {}), ("budget 0.4", {"budget": 0.4}), ("11 points", {"steps": 10})):
        row: dict[str, float] = {}
        for kind, (function, metric) in kinds.items():
            area = metrics.auc(function(*given, fill=ZeroFill(), **options))
            bounded = metric(fill=ZeroFill(), **options)
            bounded.update(*given)
            row |= {
                kind: area.mean().item(),
                f"{kind}: off by, image by image": (area - whole[kind]).abs().mean().item(),
                f"{kind}: bound": bounded.bound.item() if name == "budget 0.4" else math.nan,
            }
        rows[name] = {column: value for column, value in row.items() if not math.isnan(value)}
    return rows


def examples() -> list[Example]:
    """All of them; under a minute on one core."""
    training, untied, tied, broken = digits()
    plain = train(training)
    honest, before = look(plain, tied), look(plain, broken)
    painted = look(paint_the_map(plain, training), broken)
    sure = look(surer(plain, 3.0), broken)
    unsure = look(surer(plain, 0.2), broken)
    generator = torch.Generator().manual_seed(0)

    def aligned(seen: Look, map: Tensor | None = None) -> dict[str, float]:
        map, mask = seen.map if map is None else map, seen.images.mask
        return {
            "energy in mask": metrics.energy_in_mask(map, mask).nanmean().item(),
            "gap": metrics.attention_gap(map, mask).nanmean().item(),
            "pointing game": metrics.pointing_game(map, mask).nanmean().item(),
            "IoU": metrics.iou(map, mask).nanmean().item(),
            "PxAP": metrics.pixel_average_precision(map, mask).item(),
        }

    def accuracy(seen: Look) -> float:
        return metrics.accuracy(seen.logits, seen.images.label).item()

    found = [
        Example(
            "Accuracy",
            "A tie between label and scenery. The test images are the same digits before the colour of their class, "
            "and "
            "before any colour.",
            {
                "tie as in training": {"accuracy": accuracy(honest)},
                "tie broken": {"accuracy": accuracy(before)},
            },
            "`scenery_accuracy`, and accuracy where the tie is broken (the protocol `Shortcut`).",
        )
    ]

    right = (before.predicted == broken.label).float()
    order = torch.randperm(TEST, generator=generator)
    groups = {size: right[order].view(-1, size).mean(1).min().item() for size in (100, 30, 3)}
    found.append(
        Example(
            "Worst-group accuracy",
            "Groups that are drawn at random, so that none is worse than another: the smaller they are, the worse the "
            "worst.",
            {f"groups of {size}": {"worst-group accuracy": value} for size, value in groups.items()},
            "The size of the smallest group, which reports tell; with fewer than ten images they say *noise* in place "
            "of a "
            "number.",
        )
    )

    rare = torch.arange(TEST) % 20 == 0
    one_class = torch.where(rare, 1, 0)
    constant = torch.tensor([3.0, 0.0]).expand(TEST, 2)
    prior = torch.bincount(broken.label, minlength=10).float().log().expand(TEST, 10)
    found += [
        Example(
            "Accuracy with rare classes",
            "A classifier that says the same of every image, where 95 of 100 images are of that class.",
            {
                "constant": {
                    "accuracy": metrics.accuracy(constant, one_class).item(),
                    "balanced accuracy": metrics.balanced_accuracy(constant, one_class).item(),
                }
            },
            "`balanced_accuracy`.",
        ),
        Example(
            "Calibration error",
            "A classifier that knows how frequent classes are and does not look at the image.",
            {
                name: {
                    "calibration error": metrics.expected_calibration_error(logits, broken.label).item(),
                    "accuracy": metrics.accuracy(logits, broken.label).item(),
                }
                for name, logits in (("frequencies", prior), ("network", before.logits))
            },
            "Accuracy, and the reliability diagram: it has one point.",
        ),
        Example(
            "Negative log-likelihood and Brier score",
            "All logits three times as large: the same decisions, another confidence.",
            {
                name: {
                    "NLL": metrics.negative_log_likelihood(seen.logits, broken.label).item(),
                    "Brier": metrics.brier_score(seen.logits, broken.label).item(),
                    "accuracy": accuracy(seen),
                }
                for name, seen in (("as trained", before), ("surer", sure))
            },
            "Accuracy. One image that is called impossible costs any amount of NLL, and at most 2 of Brier.",
        ),
        Example(
            "Energy in mask, gap, pointing game, IoU, PxAP",
            "*PaintTheMap*: one vector u, added to every row of the head. It is found by least squares from features "
            "to "
            "masks; no weight else is touched, and no probability moves.",
            {
                "as trained": aligned(before)
                | {"accuracy": accuracy(before), "common share": common_share(before.classifier)},
                "painted": aligned(painted)
                | {"accuracy": accuracy(painted), "common share": common_share(painted.classifier)},
                "as trained, contrast map": aligned(before, before.contrast),
                "painted, contrast map": aligned(painted, painted.contrast),
            },
            "The same of the contrast map, in which u cancels; `common_share`; and what needs no map "
            "(`evidence_accuracy`).",
        ),
    ]
    found.append(
        Example(
            "Curves from fewer points",
            "A sharp bend between two points that are computed: the straight line cuts it off.",
            curves(before),
            "`budget=0.4` in place of fewer steps: as many forwards, spent where curves bend; and `Insertion.bound`, "
            "which holds "
            "where curves are monotone between the points.",
        )
    )
    flat = torch.ones_like(before.map)
    grown = {
        reach: F.max_pool2d(broken.mask[:, None], 2 * reach + 1, 1, reach)[:, 0] if reach else broken.mask
        for reach in (0, 3, 6)
    }
    found.append(
        Example(
            "Energy in mask, again",
            "Larger masks, of the same images and the same map.",
            {
                f"masks grown by {reach} pixels": {
                    "energy in mask": metrics.energy_in_mask(before.map, mask).nanmean().item(),
                    "of a flat map": metrics.energy_in_mask(flat, mask).nanmean().item(),
                    "gap": metrics.attention_gap(before.map, mask).nanmean().item(),
                }
                for reach, mask in grown.items()
            },
            "The floor beside it: what a flat and a random map score on the same masks. The gap does not grow with "
            "masks.",
        )
    )
    noise = torch.rand(TEST, 4, 4, generator=generator)
    found.append(
        Example(
            "Pointing game, again",
            "A tolerance, for maps of random numbers.",
            {
                f"tolerance {pixels}": {
                    "of random maps": metrics.pointing_game(noise, broken.mask, tolerance=pixels).mean().item()
                }
                for pixels in (0, 3, 8)
            },
            "The same tolerance for the floor.",
        )
    )
    logit = {"score": "logit"}
    found += [
        Example(
            "Insertion and deletion",
            "All logits three times as large: the same maps, up to their scale, and the same decisions.",
            {
                name: {
                    "insertion": seen.mean(metrics.insertion, fill=ZeroFill()),
                    "deletion": seen.mean(metrics.deletion),
                }
                for name, seen in (("as trained", before), ("surer", sure))
            },
            'The difference to a random map on the same classifier, `score="logit"`, and curves rather than areas.',
        ),
        Example(
            "Sufficiency and comprehensiveness",
            "The same: logits three times as large.",
            {
                name: {
                    "sufficiency": seen.mean(metrics.sufficiency),
                    "comprehensiveness": seen.mean(metrics.comprehensiveness),
                    "largest fall that any order attains": metrics.attainable_range(
                        seen.classifier, broken.image[:60], seen.predicted[:60]
                    )[:, 1]
                    .mean()
                    .item(),
                    "comprehensiveness, normalised": seen.mean(metrics.normalised_comprehensiveness, 60),
                }
                for name, seen in (("as trained", before), ("surer", sure))
            },
            "`normalised_sufficiency` and `normalised_comprehensiveness`: shares of what the classifier's own range "
            "allows. "
            'Confidence still bends the curve within it; `score="logit"` does not.',
        ),
        Example(
            "ROAD",
            "The same: logits three times as large.",
            {
                name: {
                    "ROAD": seen.mean(metrics.road, 60),
                    "ROAD of logits / spread of logits": seen.mean(metrics.road, 60, **logit)
                    / seen.logits.std().item(),
                }
                for name, seen in (("as trained", before), ("surer", sure))
            },
            "A random map's ROAD on the same classifier. In-painting takes the hole's outline away, not the "
            "confidence.",
        ),
        Example(
            "Infidelity",
            "All logits five times as small: every fall of the probability is smaller, and so is every error.",
            {
                name: {
                    "infidelity": seen.mean(metrics.infidelity, 100),
                    "infidelity of a map of zeros": metrics.infidelity(
                        seen.classifier, broken.image[:100], 0 * seen.signed[:100], seen.predicted[:100]
                    )
                    .mean()
                    .item(),
                    "sensitivity-n": seen.mean(metrics.sensitivity_n, 100),
                }
                for name, seen in (("as trained", before), ("less sure", unsure))
            },
            "The infidelity of a map of zeros on the same classifier, or `sensitivity_n`, a correlation.",
        ),
    ]

    def shifted(classifier: Classifier, image: Tensor, map: Tensor, target: Tensor) -> Tensor:
        return metrics.sensitivity_n(classifier, image, map + 100, target)

    found.append(
        Example(
            "Sensitivity-n",
            "A hundred added to every cell of the map: now everything speaks for the class, by far.",
            {
                "the map": {"sensitivity-n": before.mean(metrics.sensitivity_n, 100)},
                "the map + 100": {"sensitivity-n": before.mean(shifted, 100)},
            },
            "Infidelity, for which the zero of a map counts.",
        )
    )

    def explain(classifier: Classifier, image: Tensor, target: Tensor) -> Tensor:
        return class_map(classifier, classifier(image), target).detach()

    def of_image(classifier: Classifier, image: Tensor, target: Tensor) -> Tensor:
        return F.avg_pool2d(image, 8).mean(1)

    def constant_map(classifier: Classifier, image: Tensor, target: Tensor) -> Tensor:
        return torch.ones(len(image), 4, 4)

    of_maps = {}
    for name, function in (
        ("class map", explain),
        ("a map of ones", constant_map),
        ("the image's brightness", of_image),
    ):
        given = (plain, broken.image[:60], function(plain, broken.image[:60], before.predicted[:60]).detach())
        of_maps[name] = {
            "max-sensitivity": metrics.max_sensitivity(*given, before.predicted[:60], explain=function)
            .nanmean()
            .item(),
            "left of the map without learning": metrics.randomisation_similarity(
                *given, before.predicted[:60], explain=function
            )
            .nanmean()
            .item(),
        }
    found.append(
        Example(
            "Max-sensitivity",
            "A map that does not depend on the image, and one that depends on nothing else.",
            of_maps,
            "`randomisation_similarity`: what is left of the map when the classifier has learnt nothing (undefined, "
            "NaN, for "
            "a map that is flat). A map of random numbers passes that one.",
        )
    )

    y, x = torch.meshgrid(torch.linspace(-1, 1, SIZE), torch.linspace(-1, 1, SIZE), indexing="ij")
    centre = torch.exp(-4 * (x**2 + y**2)).expand(TEST, -1, -1)
    looked_at = (torch.rand(TEST, SIZE, SIZE, generator=generator) < 0.05 * centre).float()
    found += [
        Example(
            "AUC-Judd, NSS and CC",
            "Fixations near the centre of every image, as people's are, and a map of the centre, the same for all "
            "images.",
            {
                "map of the centre": {
                    "AUC-Judd": metrics.auc_judd(centre, looked_at).nanmean().item(),
                    "NSS": metrics.normalised_scanpath_saliency(centre, looked_at).nanmean().item(),
                    "CC": metrics.correlation(centre, looked_at).nanmean().item(),
                    "shuffled AUC": metrics.shuffled_auc(centre, looked_at).nanmean().item(),
                }
            },
            "`shuffled_auc`.",
        ),
        Example(
            "KL",
            "A hundredth of the maximum added to every pixel of the map.",
            {
                name: {
                    "KL": metrics.kl_divergence(map, broken.mask).nanmean().item(),
                    "SIM": metrics.similarity(map, broken.mask).nanmean().item(),
                }
                for name, map in (("class map", before.map), ("class map + 0.01", before.map + 0.01))
            },
            "SIM or CC: of maps with zeros KL tells the zeros.",
        ),
    ]

    silhouettes = train(untied, lambda image, mask: blend(image, torch.zeros_like(image), 1 - mask))
    with_outline, without = (
        metrics.scenery_accuracy(silhouettes, broken.image, broken.mask, broken.label, fill=fill).nanmean().item()
        for fill in (ZeroFill(), Inpaint())
    )
    oracle = train(untied, lambda image, mask: blend(image, inpaint(image, mask), mask))
    found.append(
        Example(
            "Accuracy on the scenery and on the evidence",
            "The outline of what was cut out. A network is trained without a tie, on images whose evidence is "
            "replaced by zeros: no "
            "pixel "
            "of a digit is left, but its shape is.",
            {
                "evidence replaced by zeros": {"accuracy on the scenery": with_outline},
                "evidence in-painted": {"accuracy on the scenery": without},
                "the oracle (`EvidenceAlone`)": {
                    "accuracy on the evidence": metrics.evidence_accuracy(
                        oracle, broken.image, broken.mask, broken.label
                    )
                    .nanmean()
                    .item()
                },
                "the network of the other examples": {
                    "accuracy on the evidence": metrics.evidence_accuracy(
                        plain, broken.image, broken.mask, broken.label
                    )
                    .nanmean()
                    .item()
                },
            },
            "In-painting as the fill (the default), and the oracle beside it: what the evidence alone can give.",
        )
    )
    sensitivities = {}
    for reach, mask in grown.items():
        under_noise = metrics.accuracy_under_noise(
            plain,
            broken.image,
            mask,
            broken.label,
            generator=torch.Generator().manual_seed(0),
            mean=(0.5,) * 3,
            std=(0.5,) * 3,
        )
        sensitivities[f"masks grown by {reach} pixels"] = {
            "relative foreground sensitivity": metrics.relative_foreground_sensitivity(under_noise).item()
        }
    found.append(
        Example(
            "Relative foreground sensitivity",
            "The size of the masks: the larger part of the image gets the larger noise.",
            sensitivities,
            "Methods on the same images and masks, never data sets.",
        )
    )
    return found


def page(found: list[Example], device: str) -> str:
    """The Markdown page."""
    lines = [
        "# What can fool each number",
        "",
        "Each number of this library can be moved by something that has nothing to do with looking at the evidence. "
        "Here is "
        "a worked example for each: what is done, what the number makes of it, and what to read beside it. Written, "
        "with all "
        f"figures, by `python benchmarks/fooled.py` ({device}); do not edit by hand.",
        "",
        f"The setting: digits of scikit-learn before coloured scenery, {SIZE} x {SIZE} pixels. In three of four of "
        f"the {TRAINING:,} "
        "training "
        "images the colour is that of the class. A small network learns from them; it is tested on "
        f"{TEST} other digits, before random colours unless said otherwise. One network, one seed: the examples show "
        "that a "
        "number can be fooled, not by how much it is elsewhere.",
        "",
    ]
    for example in found:
        columns = list(dict.fromkeys(name for row in example.figures.values() for name in row))
        lines += [f"## {example.title}", "", example.trick, ""]
        lines += [f"| | {' | '.join(columns)} |", "| --- |" + " ---: |" * len(columns)]
        for name, row in example.figures.items():
            cells = [_figure(row[column]) if column in row else "" for column in columns]
            lines.append(f"| {name} | {' | '.join(cells)} |")
        lines += ["", f"*Read beside it:* {example.instead}", ""]
    return "\n".join(lines)


def _figure(value: float) -> str:
    if math.isnan(value):
        return "undefined"
    return f"{value:.1e}" if 0 < abs(value) < 5e-4 else f"{value:.3f}".replace("-", "−")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    torch.set_num_threads(1)
    found = examples()
    device = f"one thread of {processor()}"
    figures = {example.title: example.figures for example in found}
    RESULTS.write_text(json.dumps({"device": device, "figures": figures}, indent=2) + "\n")
    PAGE.write_text(page(found, device))


if __name__ == "__main__":
    main()
