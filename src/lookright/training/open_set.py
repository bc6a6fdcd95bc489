"""How well a classifier's scores tell unknown classes from known ones."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lookright import metrics
from lookright.classifier import Classifier, evaluating
from lookright.data.dataset import UNKNOWN_LABEL
from lookright.run_directory import none_for_nan
from lookright.training.evaluation import SplitEvaluation
from lookright.training.preprocessing import Preprocessing
from lookright.training.run_data import RunData


def training_class_means(classifier: Classifier, data: RunData, preprocessing: Preprocessing) -> Tensor:
    """The mean embedding (K, D) of each class over the training images, not augmented."""
    device = next(classifier.parameters()).device
    embeddings, labels = [], []
    with evaluating(classifier), torch.no_grad():
        for batch in data.loader("train", preprocessing):
            embeddings.append(classifier(batch["image"].to(device)).embedding.float().cpu())
            labels.append(batch["label"])
    return metrics.class_means(torch.cat(embeddings), torch.cat(labels))


def open_set_summary(
    known: Sequence[SplitEvaluation], open_split: SplitEvaluation, means: Tensor
) -> dict[str, float | None]:
    """AUROC, AUPR, false positive rate at 95 % true positives and APCER at 1 % BPCER; None where undefined.

    Plain names stand for the score 1 − maximum softmax; the other scores are named behind the metric. An image is
    unknown if its label is; images of known labels in the open split join those of the other splits.

    Args:
        known: test splits of known classes.
        open_split: a split with classes that training never showed.
        means: of the training images' embeddings, by class.
    """
    splits = [*known, open_split]
    logits, embedding = (torch.cat([getattr(split, name) for split in splits]) for name in ("logits", "embedding"))
    label = np.concatenate([split.table["label_index"] for split in splits])
    is_unknown = torch.from_numpy(label) == UNKNOWN_LABEL
    scores = {
        "": metrics.maximum_softmax(logits),
        "_energy": metrics.energy(logits),
        "_embedding_distance": metrics.embedding_distance(embedding, means),
    }
    result = {}
    for name, score in scores.items():
        result[f"auroc{name}"] = metrics.auroc(score, is_unknown).item()
        result[f"aupr{name}"] = metrics.aupr(score, is_unknown).item()
        result[f"fpr_at_95_tpr{name}"] = metrics.fpr_at_tpr(score, is_unknown).item()
        result[f"apcer_at_1_bpcer{name}"] = metrics.apcer_at_bpcer(score, is_unknown).item()
    return none_for_nan(result)
