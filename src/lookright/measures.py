"""Everything that is measured, in one table: evaluation, agents, reports and pages read it.

A new metric is one function (or `torchmetrics.Metric`) and one row. A user's own joins by import path, without a row:

    def dice(map, mask, *, ignore=None):
        \"\"\"Overlap of mask and positive map.\"\"\"
        ...

    dice.higher_is_better = True

is measured by `--measures "[my.module.dice]"`; its docstring's first line is the sentence that reports show.
"""

import inspect
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from lookright.errors import InputError, nearest
from lookright.import_path import imported

Kind = Literal["classification", "groups", "alignment", "evidence", "faithfulness", "model", "open set", "agents"]
When = Literal["always", "evidence", "curves", "all", "asked"]


@dataclass(frozen=True)
class Measure:
    """One row.

    Attributes:
        name: of the column in results.csv and of the key in result.json.
        label: what reports call it.
        higher_is_better: None where neither direction is, or it is not known.
        sentence: what it is.
        kind: where it applies, and what it is called with.
            `classification`: a `Metric` with `update(logits, label)`, over the images of known labels.
            `groups`: a `Metric(classes, domains)` with `update(logits, label, domain)`, where the data have domains.
            `alignment`: `function(map, mask, ignore=)` of (B, h, w), (B, H, W), (B, H, W): one value an image; or a
            `Metric` with `update(map, mask, weight, ignore)`.
            `evidence`: `function(classifier, image, mask, label, ignore=)`: one value an image; or a `Metric` with such
            an `update`.
            `faithfulness`: `function(classifier, image, map, target)`: one value an image, or its curve (B, points);
            where it takes `explain`, it is given a function of classifier, image and target that makes maps.
            `model`: `function(classifier)`: one value a run.
            The others are computed by their own code and listed for those who show them.
        function: its import path; empty where several numbers come from one computation.
        when: `always`; `evidence`: with that setting; `curves` and `all`: with the setting `faithfulness` of that or
            more; `asked`: by name only.
    """

    name: str
    label: str
    higher_is_better: bool | None
    sentence: str
    kind: Kind
    function: str = ""
    when: When = "always"

    def load(self) -> Callable[..., Any]:
        """The function or class."""
        return _import(self.function)

    def described(self) -> dict[str, Any]:
        """The row as JSON takes it."""
        return asdict(self)


_METRICS = "lookright.metrics."
CONTRAST = "contrast_"
"""Before the name of an alignment measure: the same of the contrast map, measured beside the map of the setting."""
FLAT = "flat_"
"""Before the name of an alignment measure: what a map scores that is the same everywhere, the floor to compare with."""
RANDOM = "random_"
"""Before the name of an alignment measure: what a map of random numbers on the same grid scores, another floor."""
LOGIT = "logit_"
"""Before the name of a faithfulness measure: the same of the logit, measured beside that of the probability."""

MEASURES: dict[str, Measure] = {
    row.name: row
    for row in (
        Measure(
            "accuracy",
            "Accuracy",
            True,
            "Share of images whose predicted class is the label.",
            "classification",
            _METRICS + "Accuracy",
        ),
        Measure(
            "balanced_accuracy",
            "Balanced accuracy",
            True,
            "Mean of the accuracies of the classes, whatever their sizes.",
            "classification",
            _METRICS + "BalancedAccuracy",
        ),
        Measure(
            "worst_group_accuracy",
            "Worst-group accuracy",
            True,
            "Accuracy in the group (label and domain) where it is lowest; of a group of a few images it is noise.",
            "groups",
            _METRICS + "WorstGroupAccuracy",
        ),
        Measure(
            "expected_calibration_error",
            "Calibration error",
            False,
            "Mean distance between confidence and accuracy over bins of confidence.",
            "classification",
            _METRICS + "ExpectedCalibrationError",
        ),
        Measure(
            "brier_score",
            "Brier score",
            False,
            "Mean squared distance between the predicted probabilities and the label's; 0 to 2.",
            "classification",
            _METRICS + "BrierScore",
        ),
        Measure(
            "negative_log_likelihood",
            "Negative log-likelihood",
            False,
            "Mean of −log of the probability that the label was given.",
            "classification",
            _METRICS + "NegativeLogLikelihood",
        ),
        Measure(
            "score",
            "Normalised return",
            True,
            "0 is what random play returns, ±1 the agents' return that lies farthest from it.",
            "agents",
        ),
        Measure(
            "energy_in_mask",
            "Energy in mask",
            True,
            "Share of the attention map's total that lies inside the mask: 1 is all of it.",
            "alignment",
            _METRICS + "energy_in_mask",
        ),
        Measure(
            "attention_gap",
            "Attention gap",
            True,
            "Mean of the map inside the mask minus its mean outside: 0 is no preference.",
            "alignment",
            _METRICS + "attention_gap",
        ),
        Measure(
            "pointing_game",
            "Pointing game",
            True,
            "Share of images where the map's maximum lies inside the mask.",
            "alignment",
            _METRICS + "pointing_game",
        ),
        Measure(
            "iou",
            "IoU",
            True,
            "Overlap of the mask with the map's strongest pixels, as many as the mask has, over their union.",
            "alignment",
            _METRICS + "iou",
        ),
        Measure(
            "relevance_rank",
            "Relevance rank",
            True,
            "Share of the map's strongest pixels, as many as the mask has, that lie in the mask.",
            "alignment",
            _METRICS + "relevance_rank",
            "asked",
        ),
        Measure(
            "correlation",
            "CC",
            True,
            "Pearson's correlation of the map and the human saliency map.",
            "alignment",
            _METRICS + "correlation",
            "asked",
        ),
        Measure(
            "normalised_scanpath_saliency",
            "NSS",
            True,
            "Mean of the standardised map at the fixations, or weighted by the human saliency map: 0 is chance.",
            "alignment",
            _METRICS + "normalised_scanpath_saliency",
            "asked",
        ),
        Measure(
            "auc_judd",
            "AUC-Judd",
            True,
            "Area under the ROC curve of the map as a detector of fixated pixels: 0.5 is chance.",
            "alignment",
            _METRICS + "auc_judd",
            "asked",
        ),
        Measure(
            "shuffled_auc",
            "Shuffled AUC",
            True,
            "Probability that the map is higher at a fixation than where other images of the batch are fixated: 0.5 is "
            "chance, a bias to the centre included.",
            "alignment",
            _METRICS + "shuffled_auc",
            "asked",
        ),
        Measure(
            "pixel_average_precision",
            "PxAP",
            True,
            "Average precision of the map's pixels as detectors of the mask, over the pixels of all images together.",
            "alignment",
            _METRICS + "PxAP",
            "asked",
        ),
        Measure(
            "kl_divergence",
            "KL",
            False,
            "Kullback-Leibler divergence of the map from the human saliency map, in nats: 0 is agreement.",
            "alignment",
            _METRICS + "kl_divergence",
            "asked",
        ),
        Measure(
            "similarity",
            "SIM",
            True,
            "Overlap of the map and the human saliency map as distributions: 1 is agreement.",
            "alignment",
            _METRICS + "similarity",
            "asked",
        ),
        Measure(
            "evidence_accuracy",
            "Accuracy on the evidence",
            True,
            "Share of images classified correctly by the evidence alone, the rest being in-painted; needs no map.",
            "evidence",
            _METRICS + "evidence_accuracy",
            "evidence",
        ),
        Measure(
            "scenery_accuracy",
            "Accuracy on the scenery",
            None,
            "Share of images classified correctly without the evidence: above chance the scenery gives the label away, "
            "below it misleads; needs no map.",
            "evidence",
            _METRICS + "scenery_accuracy",
            "evidence",
        ),
        Measure(
            "relative_foreground_sensitivity",
            "Relative foreground sensitivity",
            True,
            "How much more accuracy noise on the evidence costs than noise on the scenery, as a share of what there is "
            "room for; needs no map.",
            "evidence",
            _METRICS + "RelativeForegroundSensitivity",
            "evidence",
        ),
        Measure(
            "common_share",
            "Common share",
            None,
            "Share of the head that all classes have in common: class maps show it, no probability depends on it.",
            "model",
            "lookright.attribution.common_share",
        ),
        Measure(
            "insertion",
            "Insertion",
            True,
            "Mean probability of the target while pixels are revealed, most attended first.",
            "faithfulness",
            _METRICS + "insertion",
            "curves",
        ),
        Measure(
            "deletion",
            "Deletion",
            False,
            "Mean probability of the target while pixels are removed, most attended first.",
            "faithfulness",
            _METRICS + "deletion",
            "curves",
        ),
        Measure(
            "sufficiency",
            "Sufficiency",
            False,
            "Probability lost when only the most attended pixels are kept: at 0 they suffice.",
            "faithfulness",
            _METRICS + "sufficiency",
            "all",
        ),
        Measure(
            "comprehensiveness",
            "Comprehensiveness",
            True,
            "Probability lost when the most attended pixels are removed: they were needed.",
            "faithfulness",
            _METRICS + "comprehensiveness",
            "all",
        ),
        Measure(
            "normalised_sufficiency",
            "Sufficiency (normalised)",
            False,
            "Mean fall of the probability when cells go, least attended first, between the smallest and the largest "
            "that any order attains on this classifier: 0 is the best order.",
            "faithfulness",
            _METRICS + "normalised_sufficiency",
            "asked",
        ),
        Measure(
            "normalised_comprehensiveness",
            "Comprehensiveness (normalised)",
            True,
            "Mean fall of the probability when cells go, most attended first, between the smallest and the largest "
            "that any order attains on this classifier: 1 is the best order.",
            "faithfulness",
            _METRICS + "normalised_comprehensiveness",
            "asked",
        ),
        Measure(
            "road",
            "ROAD",
            True,
            "Half of how much higher the probability is without the least than without the most attended pixels, these "
            "being in-painted: a flat map scores about 0.",
            "faithfulness",
            _METRICS + "road",
            "asked",
        ),
        Measure(
            "road_most_relevant",
            "ROAD (MoRF)",
            False,
            "Mean probability of the target with the most attended pixels in-painted.",
            "faithfulness",
            _METRICS + "road_most_relevant",
            "asked",
        ),
        Measure(
            "road_least_relevant",
            "ROAD (LeRF)",
            True,
            "Mean probability of the target with the least attended pixels in-painted.",
            "faithfulness",
            _METRICS + "road_least_relevant",
            "asked",
        ),
        Measure(
            "sensitivity_n",
            "Sensitivity-n",
            True,
            "Correlation of the map's sum over random pixels with how far the logit falls without them.",
            "faithfulness",
            _METRICS + "sensitivity_n",
            "asked",
        ),
        Measure(
            "infidelity",
            "Infidelity",
            False,
            "Mean squared error of the map's sum over random squares, scaled to fit, as a prediction of how far the "
            "probability falls without them.",
            "faithfulness",
            _METRICS + "infidelity",
            "asked",
        ),
        Measure(
            "max_sensitivity",
            "Max-sensitivity",
            False,
            "Largest change of the map, as a share of its size, under noise that nobody sees.",
            "faithfulness",
            _METRICS + "max_sensitivity",
            "asked",
        ),
        Measure(
            "randomisation_similarity",
            "Left of the map without learning",
            False,
            "Rank correlation of the map with that of a classifier whose weights are random, layer by layer from the "
            "head: high where the map shows the image and not the classifier.",
            "faithfulness",
            _METRICS + "randomisation_similarity",
            "asked",
        ),
        Measure(
            "auroc",
            "AUROC",
            True,
            "Probability that an unknown image scores as more unknown than a known one; 0.5 is chance.",
            "open set",
            _METRICS + "auroc",
        ),
        Measure(
            "aupr",
            "AUPR",
            True,
            "Area under precision and recall of finding the unknown images.",
            "open set",
            _METRICS + "aupr",
        ),
        Measure(
            "fpr_at_95_tpr",
            "FPR at 95 % TPR",
            False,
            "Share of the unknown images taken for known where 95 % of the known ones are.",
            "open set",
            _METRICS + "fpr_at_tpr",
        ),
        Measure(
            "apcer_at_1_bpcer",
            "APCER at 1 % BPCER",
            False,
            "Share of attacks (unknown images) accepted where at most 1 % of the genuine (known) ones are rejected.",
            "open set",
            _METRICS + "apcer_at_bpcer",
        ),
    )
}


def find_measure(name: str) -> Measure:
    """The row of that name, or one for the function or `torchmetrics.Metric` at that import path.

    Its `higher_is_better` says the direction, the first line of its docstring what it is, and the names of what it
    takes (a class: what its `update` takes) where it applies: `map` and `mask`: alignment; `classifier` and `map`:
    faithfulness; `classifier` and `mask`: evidence; any other class: classification.

    Raises:
        InputError: there is none, or it takes something else.

    >>> find_measure("lookright.metrics.relevance_rank").kind
    'alignment'
    """
    if name in MEASURES:
        return MEASURES[name]
    found = _import(name)
    of_class = inspect.isclass(found)
    takes = set(inspect.signature(getattr(found, "update", found) if of_class else found).parameters)
    if of_class and not {"map", "mask"} <= takes:
        kind: Kind = "classification"
    elif {"map", "mask"} <= takes:
        kind = "alignment"
    elif {"classifier", "image", "map", "target"} <= takes:
        kind = "faithfulness"
    elif {"classifier", "image", "mask", "label"} <= takes:
        kind = "evidence"
    else:
        raise InputError(
            f"measure {name!r} takes {', '.join(sorted(takes)) or 'nothing'}; expected map and mask (alignment), "
            "classifier, image, map and target (faithfulness), or classifier, image, mask and label (evidence)."
        )
    called = name.rpartition(".")[2]
    sentence = (inspect.getdoc(found) or "A measure of the user's own.").splitlines()[0]
    return Measure(
        called, called.replace("_", " "), getattr(found, "higher_is_better", None), sentence, kind, name, "asked"
    )


def of_contrast(row: Measure) -> Measure:
    """The row of an alignment measure, of the contrast map.

    >>> of_contrast(MEASURES["iou"]).label
    'IoU (contrast)'
    """
    sentence = (
        f"{row.label} of the contrast map: of the logit minus its rivals', free of what all classes have in common."
    )
    return replace(row, name=CONTRAST + row.name, label=f"{row.label} (contrast)", sentence=sentence)


def of_logit(row: Measure) -> Measure:
    """The row of a faithfulness measure, of the logit.

    >>> of_logit(MEASURES["deletion"]).sentence
    'Mean logit of the target while pixels are removed, most attended first.'
    """
    return replace(
        row, name=LOGIT + row.name, label=f"{row.label} (logit)", sentence=row.sentence.replace("probability", "logit")
    )


def measures_of(
    kind: Kind, faithfulness: str = "all", further: Iterable[str] = (), evidence: bool = True
) -> list[Measure]:
    """The rows of a kind that the settings `faithfulness` and `evidence` ask for, and `further` names and paths."""
    level = {"none": ("always",), "curves": ("always", "curves"), "all": ("always", "curves", "all")}[faithfulness]
    asked = (*level, "evidence") if evidence else level
    rows = {row.name: row for row in MEASURES.values() if row.when in asked}
    rows |= {row.name: row for row in map(find_measure, further)}
    return [row for row in rows.values() if row.kind == kind]


def _import(path: str) -> Callable[..., Any]:
    found = imported(path, "measure")
    if not callable(found):
        raise InputError(
            f"No measure {path!r}.{nearest(path, MEASURES)} Expected {', '.join(MEASURES)}, or an import path "
            "my.module.my_metric."
        )
    return found
