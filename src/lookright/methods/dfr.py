"""DFR: the last layer anew, on images of balanced groups."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lookright.batch import Batch
from lookright.classifier import Classifier, Output, evaluating
from lookright.errors import InputError, require_between
from lookright.methods.method import Views, require_classes
from lookright.methods.stochastic import Stochastic

PENALTIES = (1.0, 0.7, 0.3, 0.1, 0.07, 0.03, 0.01)
"""C of the authors' code for Waterbirds."""


class DFR(Stochastic):
    """Plain training; its last layer is then replaced by a logistic regression on validation images of balanced groups.

    Kirichenko, Izmailov, Wilson, "Last Layer Re-Training is Sufficient for Robustness to Spurious Correlations", ICLR
    2023 (arXiv 2204.02937), DFR on validation images. After the last step, with the weights that the run hands out:

        1. Embeddings of the training images give a mean and a standard deviation, by which those of all validation
           images are standardised.
        2. C of an ℓ1-penalised logistic regression is the one with the best worst-group accuracy on one half of them,
           after a fit to the other half, of whose groups as many images are drawn as the smallest has.
        3. The new last layer is the mean of `fits` regressions with this C, each to all validation images, drawn alike.

    One regression a class against all others (two classes: one), as in the authors' code. There the halves are random;
    here each group is halved, so that none is missing, and the standardisation of step 1 serves step 2 as well. The
    backbone can be trained with other methods: `CAMAL() + DFR()`.

    Args:
        fits: balanced subsets that are fitted; 10 in the paper.
        penalties: the values of C to choose from, the largest first: of equal ones the first is taken.
        seed: of halves and subsets.

    Raises:
        InputError: no fits or no penalties; in the first step, a model whose logits are not those of one linear layer
            with a bias.
    """

    needs = frozenset({"group", "label", "val"})

    def __init__(self, fits: int = 10, penalties: tuple[float, ...] = PENALTIES, seed: int = 0) -> None:
        super().__init__(seed)
        require_between("fits", fits, 1)
        if not penalties or not all(penalty > 0 for penalty in penalties):
            raise InputError(f"penalties={penalties}; expected one or more numbers above 0.")
        self.fits = fits
        self.penalties = tuple(penalties)

    def guidance(
        self, classifier: Classifier, output: Output, batch: Batch, views: Views | None = None
    ) -> dict[str, Float[Tensor, ""]]:
        """No term: only a look at whether there is a layer to replace."""
        require_classes(self, output, batch["label"])
        _last_layer(classifier)
        return {}

    @torch.no_grad()
    def finish(self, classifier: Classifier, batches: Callable[[str], Iterable[Batch]]) -> dict[str, Any]:
        """Replace the last layer, and say by what."""
        layer, generator = _last_layer(classifier), torch.Generator().manual_seed(self.seed)
        training, _, _ = _embed(classifier, batches("train"))
        mean, deviation = training.mean(0), training.std(0, correction=0)
        deviation = torch.where(deviation > 0, deviation, 1.0)
        embedding, label, group = _embed(classifier, batches("val"))
        embedding = (embedding - mean) / deviation
        classes, everything = layer.out_features, torch.arange(len(label))

        fitted, held_out = _halves(group, generator)
        drawn = fitted[_balanced(group[fitted], generator)]
        scores = {}
        for penalty in self.penalties:
            weight, bias = _regression(embedding[drawn], label[drawn], classes, penalty)
            scores[penalty] = _worst_group(embedding[held_out] @ weight.T + bias, label[held_out], group[held_out])
        best = max(scores, key=lambda penalty: scores[penalty])
        regressions = []
        for _ in range(self.fits):
            drawn = everything[_balanced(group, generator)]
            regressions.append(_regression(embedding[drawn], label[drawn], classes, best))
        weight, bias = (torch.stack(parts).mean(0) for parts in zip(*regressions, strict=True))
        weight = weight / deviation
        layer.weight.copy_(weight)
        layer.bias.copy_(bias - weight @ mean)
        return {
            "penalty": best,
            "worst_group_accuracy": {str(penalty): score for penalty, score in scores.items()},
            "images_a_group": int(group.unique(return_counts=True)[1].min()),
            "fits": self.fits,
        }


def _last_layer(classifier: Classifier) -> nn.Linear:
    layer = classifier.head
    if layer is None or layer.bias is None:
        raise InputError(
            f"DFR replaces the last layer, and {type(classifier.model).__name__} has no single final linear layer with "
            "a bias. Take another model."
        )
    return layer


def _embed(
    classifier: Classifier, batches: Iterable[Batch]
) -> tuple[Float[Tensor, "N D"], Int[Tensor, " N"], Int[Tensor, " N"]]:
    """Embeddings, labels and groups, on the CPU."""
    found: list[list[Tensor]] = [[], [], []]
    with evaluating(classifier):
        for batch in batches:
            for part, value in zip(
                found, (classifier(batch["image"]).embedding.double(), batch["label"], batch["group"]), strict=True
            ):
                part.append(value.cpu())
    embedding, label, group = (torch.cat(part) for part in found)
    return embedding, label, group


def _halves(group: Int[Tensor, " N"], generator: torch.Generator) -> tuple[Int[Tensor, " A"], Int[Tensor, " B"]]:
    """Which images are fitted and which held out, half of each group; of an odd number the larger part is fitted."""
    fitted, held_out = [], []
    for name in group.unique():
        rows = (group == name).nonzero()[:, 0]
        rows = rows[torch.randperm(len(rows), generator=generator)]
        held_out.append(rows[: len(rows) // 2])
        fitted.append(rows[len(rows) // 2 :])
    return torch.cat(fitted), torch.cat(held_out)


def _balanced(group: Int[Tensor, " N"], generator: torch.Generator) -> Int[Tensor, " M"]:
    """As many rows of each group as the smallest has."""
    shuffled = torch.randperm(len(group), generator=generator)
    smallest = int(group.unique(return_counts=True)[1].min())
    return torch.cat([shuffled[group[shuffled] == name][:smallest] for name in group.unique()])


def _regression(
    embedding: Float[Tensor, "N D"], label: Int[Tensor, " N"], classes: int, penalty: float
) -> tuple[Float[Tensor, "K D"], Float[Tensor, " K"]]:
    """Rows and biases of ℓ1-penalised logistic regressions, one a class; of two, half of one, with both signs."""
    from sklearn.linear_model import LogisticRegression

    rows, biases = [], []
    for name in [1] if classes == 2 else range(classes):
        regression = LogisticRegression(C=penalty, l1_ratio=1, solver="liblinear", random_state=0, max_iter=1000)
        regression.fit(embedding.numpy(), (label == name).numpy())
        rows.append(torch.from_numpy(regression.coef_[0]))
        biases.append(torch.from_numpy(regression.intercept_)[0])
    weight, bias = torch.stack(rows), torch.stack(biases)
    if classes == 2:
        weight, bias = torch.cat([-weight, weight]) / 2, torch.cat([-bias, bias]) / 2
    return weight, bias


def _worst_group(logits: Float[Tensor, "N K"], label: Int[Tensor, " N"], group: Int[Tensor, " N"]) -> float:
    right = logits.argmax(1) == label
    return min((right[group == name].double().mean().item() for name in group.unique()), default=0.0)
