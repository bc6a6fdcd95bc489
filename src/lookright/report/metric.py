"""What each column of results.csv means: its label, which direction is better, and one sentence."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """How a metric is shown; `higher_is_better` is None where neither direction is, or it is not known."""

    label: str
    higher_is_better: bool | None
    sentence: str


METRICS: dict[str, Metric] = {
    "accuracy": Metric("Accuracy", True, "Share of images whose predicted class is the label."),
    "worst_group_accuracy": Metric(
        "Worst-group accuracy", True, "Accuracy in the group (label and domain) where it is lowest."
    ),
    "worst_domain_accuracy": Metric("Worst-domain accuracy", True, "Accuracy in the domain where it is lowest."),
    "expected_calibration_error": Metric(
        "Calibration error", False, "Mean distance between confidence and accuracy over bins of confidence."
    ),
    "brier_score": Metric(
        "Brier score", False, "Mean squared distance between the predicted probabilities and the label's."
    ),
    "negative_log_likelihood": Metric(
        "Negative log-likelihood", False, "Mean of -log of the probability that the label was given."
    ),
    "return": Metric("Return", True, "Sum of an episode's rewards, mean over the evaluation episodes."),
    "length": Metric("Episode length", None, "Steps of an episode, mean over the evaluation episodes."),
    "energy_in_mask": Metric(
        "Energy in mask", True, "Share of the attention map's total that lies inside the mask: 1 is all of it."
    ),
    "attention_gap": Metric(
        "Attention gap", True, "Mean of the map inside the mask minus its mean outside: 0 is no preference."
    ),
    "pointing_game": Metric("Pointing game", True, "Share of images where the map's maximum lies inside the mask."),
    "iou": Metric(
        "IoU", True, "Overlap of the mask with the map's strongest pixels, as many as the mask has, over their union."
    ),
    "insertion": Metric(
        "Insertion", True, "Mean probability of the target while pixels are revealed, most attended first."
    ),
    "deletion": Metric(
        "Deletion", False, "Mean probability of the target while pixels are removed, most attended first."
    ),
    "sufficiency": Metric(
        "Sufficiency", False, "Probability lost when only the most attended pixels are kept: at 0 they suffice."
    ),
    "comprehensiveness": Metric(
        "Comprehensiveness",
        True,
        "Probability lost when the most attended pixels are removed: they were needed.",
    ),
    "auroc": Metric(
        "AUROC", True, "Probability that an unknown image scores as more unknown than a known one; 0.5 is chance."
    ),
    "aupr": Metric("AUPR", True, "Area under precision and recall of finding the unknown images."),
    "fpr_at_95_tpr": Metric(
        "FPR at 95 % TPR", False, "Share of the unknown images taken for known where 95 % of the known ones are."
    ),
    "apcer_at_1_bpcer": Metric(
        "APCER at 1 % BPCER",
        False,
        "Share of attacks (unknown images) accepted where at most 1 % of the genuine (known) ones are rejected.",
    ),
}

OPEN_SET = ("auroc", "aupr", "fpr_at_95_tpr", "apcer_at_1_bpcer")


def _known(name: str) -> str | None:
    """The entry of the table that `name` is, or is a variant of: `auroc_energy` is AUROC with another score."""
    return next((known for known in METRICS if name == known or name.startswith(f"{known}_")), None)


def metric(name: str) -> Metric:
    """The entry for a column of results.csv; an unknown column is shown under its own name, without a direction.

    >>> metric("deletion").higher_is_better
    False
    >>> metric("auroc_energy").label
    'AUROC (energy)'
    >>> metric("my_metric").label
    'my metric'
    """
    known = _known(name)
    if known is None:
        return Metric(name.replace("_", " "), None, "A metric that this report has no description of.")
    if name == known:
        return METRICS[known]
    variant = name.removeprefix(f"{known}_").replace("_", " ")
    return Metric(f"{METRICS[known].label} ({variant})", METRICS[known].higher_is_better, METRICS[known].sentence)


def is_open_set(name: str) -> bool:
    """Whether a column says how well unknown images are told from known ones."""
    return _known(name) in OPEN_SET


def in_order(names: list[str]) -> list[str]:
    """Columns in the order of the table, unknown ones last in the order given."""
    order = list(METRICS)
    return sorted(names, key=lambda name: order.index(known) if (known := _known(name)) else len(order))
