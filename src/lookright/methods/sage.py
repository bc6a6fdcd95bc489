"""SAGE: contrastive embeddings of views that keep or lose the salient parts."""

import math
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from lookright.attribution.precision import at_least_float32
from lookright.batch import Batch, mask_weight, mean_over_masked
from lookright.classifier import Classifier, Output
from lookright.errors import InputError, require_between, require_one_of
from lookright.methods.method import Views, require_classes
from lookright.methods.salient_views import SalientViews, Statistics, saliency
from lookright.perturb import INPAINT, Perturbation

Distance = Literal["euclidean", "cosine"]
Degraded = Literal["undecided", "different"]


def triplet(
    anchor: Float[Tensor, "B D"],
    positive: Float[Tensor, "B D"],
    negative: Float[Tensor, "B D"],
    distance: Distance = "euclidean",
    margin: float = 0.5,
) -> Float[Tensor, " B"]:
    """max(0, d(a, p) − d(a, n) + margin) of unit vectors: d is ‖a − p‖ or 1 − a·p.

    >>> anchor, other = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    >>> triplet(anchor, anchor, other, margin=2.0), triplet(anchor, other, anchor, "cosine")
    (tensor([0.5858]), tensor([1.5000]))
    """
    require_one_of("distance", distance, get_args(Distance))
    anchor, positive, negative = (functional.normalize(vector) for vector in (anchor, positive, negative))
    if distance == "euclidean":
        difference = (anchor - positive).norm(dim=1) - (anchor - negative).norm(dim=1)
    else:
        difference = (anchor * (negative - positive)).sum(1)
    return (difference + margin).clamp_min(0)


def jensen_shannon(
    logits: Float[Tensor, "B K"], other: Float[Tensor, "B K"], temperature: float = 1.0
) -> Float[Tensor, " B"]:
    """½ KL(p‖m) + ½ KL(q‖m), m = (p + q) / 2, of p = softmax(logits / t) and q = softmax(other / t); at most ln 2.

    >>> jensen_shannon(torch.tensor([[0.0, 0.0], [99.0, 0.0]]), torch.tensor([[5.0, 5.0], [0.0, 99.0]]))
    tensor([0.0000, 0.6931])
    """
    p, q = (logits / temperature).log_softmax(1), (other / temperature).log_softmax(1)
    m = torch.logaddexp(p, q) - math.log(2)
    return (p.exp() * (p - m) + q.exp() * (q - m)).sum(1) / 2


class SAGE(SalientViews):
    """Pulls the embedding towards that of the salient parts, pushes it from the rest, and checks the logits.

    Crum, Sweet, Czajka, "SAGE: Saliency-Guided Contrastive Embeddings" (arXiv 2511.12744). For an image x with
    saliency s (its mask, min-max normalised) and a perturbation T,

        x⁺ = s·x + (1 − s)·T(x)     keeps what is salient,     x⁻ = (1 − s)·x + s·T(x)     loses it;
        L = L_CE + λ_e · mean max(0, d(e, e⁺) − d(e, e⁻) + margin) + λ_l · mean (JSD(p, p⁺) + r⁻),

    with e the L2-normalised embeddings and p = softmax(logits / t). The triplet, the Jensen-Shannon divergence and its
    temperature are the paper's; its operators, distance, margin, weights and temperature, and what it asks of x⁻, are
    not known to us: they are the arguments below, and their defaults are our choice.

    A mask that is the same everywhere is taken as it is. Full: x⁺ = x, and only x⁻ = T(x) teaches anything. Empty:
    x⁻ = x, and the embedding and logits must not depend on what T changes; r⁻ is left out, since nothing was taken
    from x⁻ (in general r⁻ is weighed by the largest s of the image). Halfway: x⁺ and x⁻ mix x and T(x) alike, and only
    the logits are guided. Images without a mask cost no views. What is to `ignore` stays as it is in both views.

    Args:
        embedding_weight: λ_e.
        logit_weight: λ_l.
        perturbation: T. Random ones are drawn anew for each batch.
        distance: d on unit vectors: `euclidean` ‖e − e'‖ or `cosine` 1 − e·e'.
        margin: of the triplet loss.
        temperature: t.
        degraded: r⁻: `undecided` JSD(p⁻, uniform), or `different` ln 2 − JSD(p, p⁻), which a confident error meets too.
        batchnorm: `joint` runs images and views as one batch, which BatchNorm normalises together. `original` runs the
            views after the images, normalised by the running statistics and leaving them as they are, so that these
            describe unperturbed images only.
        share: of the images with a mask that get views, drawn anew for each batch; 0.5 brings the cost of a step from
            three times that of plain training to twice.
        seed: of all draws.

    Raises:
        InputError: none of the choices, a share outside (0, 1] or a temperature that is not positive; in a step,
            `original` with activation checkpointing.
    """

    def __init__(
        self,
        embedding_weight: float = 1.0,
        logit_weight: float = 1.0,
        perturbation: Perturbation = INPAINT,
        distance: Distance = "euclidean",
        margin: float = 0.5,
        temperature: float = 1.0,
        degraded: Degraded = "undecided",
        batchnorm: Statistics = "joint",
        share: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__(perturbation, batchnorm, share, seed)
        require_one_of("distance", distance, get_args(Distance))
        require_one_of("degraded", degraded, get_args(Degraded))
        require_between("embedding_weight", embedding_weight)
        require_between("logit_weight", logit_weight)
        require_between("margin", margin)
        if not temperature > 0:
            raise InputError(f"temperature={temperature}; expected a number above 0, such as 1.")
        self.embedding_weight = embedding_weight
        self.logit_weight = logit_weight
        self.distance: Distance = distance
        self.margin = margin
        self.temperature = temperature
        self.degraded = degraded

    def guidance(
        self, classifier: Classifier, output: Output, batch: Batch, views: Views | None = None
    ) -> dict[str, Float[Tensor, ""]]:
        """Two terms, `sage_embedding` and `sage_logit`."""
        require_classes(self, output, batch["label"])
        views = views or self.make_views(batch)
        if views is None:
            embedding_loss = logit_loss = weight = at_least_float32(output.logits).new_zeros(0)
        else:
            row, of_views = views.source[: len(views.source) // 2], self.run(classifier, views)
            weight = mask_weight(batch)[row]
            anchor, logits = at_least_float32(output.embedding)[row], at_least_float32(output.logits)[row]
            preserving, degrading = at_least_float32(of_views.embedding).chunk(2)
            embedding_loss = triplet(anchor, preserving, degrading, self.distance, self.margin)
            preserving, degrading = at_least_float32(of_views.logits).chunk(2)
            if self.degraded == "undecided":
                rejection = jensen_shannon(degrading, torch.zeros_like(degrading), self.temperature)
            else:
                rejection = math.log(2) - jensen_shannon(logits, degrading, self.temperature)
            taken_away = saliency(batch, row)[0].amax((1, 2))
            logit_loss = jensen_shannon(logits, preserving, self.temperature) + taken_away * rejection
        return {
            "sage_embedding": self.embedding_weight * mean_over_masked(embedding_loss, weight),
            "sage_logit": self.logit_weight * mean_over_masked(logit_loss, weight),
        }
