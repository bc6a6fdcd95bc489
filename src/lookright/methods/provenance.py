"""Provenance: no gradient of a label on what came from another image."""

from typing import Literal

from jaxtyping import Float, Int
from torch import Tensor

from lookright.attribution.gradient import image_gradient, loss_gradient
from lookright.batch import Batch, mean_over_masked
from lookright.classifier import Classifier, Output
from lookright.errors import require_between, require_one_of
from lookright.methods.evidence_cutmix import EvidenceCutMix, Region, Share, as_pasted
from lookright.methods.method import Views

Score = Literal["logit", "log_probability"]


class Provenance(EvidenceCutMix):
    """CutMix that keeps each label's gradient off the other image: + α · mean_b ‖P_b ∂f_y/∂x_b + (1 − P_b) ∂f_ỹ/∂x_b‖².

    Nagano, Fujii, Hachiuma, Sato, Sekii, Saito, "Learning from Synthetic Data via Provenance-Based Input Gradient
    Guidance", CVPR 2026 (arXiv 2604.02946). Who pastes a part P of x̃ onto x knows where each pixel came from: this is a
    mask for nothing. P speaks for the pasted label ỹ and the rest for the image's own y. The norm is over pixels and
    channels, the mean over the images onto which something of another label was pasted. There is no public code; what f
    is, and how the norm is scaled, is not known to us. An image whose own label was pasted onto it is left out: all of
    it speaks for the label, and the formula would penalise all of its gradient.

    The gradient is of second order: it needs a model that can be differentiated twice.

    Args:
        weight: α; 0.01 to 0.09 in the paper.
        score: f, the `logit` or the `log_probability` of the label. What all logits have in common changes no
            prediction, but the gradient of a logit; log-probabilities are free of it.
        share: of the images that something is pasted onto, see `EvidenceCutMix`.
        region: what is pasted: a random `box`, as in the paper, or `evidence`, which needs masks.
        label: how the label is shared out, by `area` or by `evidence`, which needs masks.
        seed: of all draws.

    Raises:
        InputError: an argument out of range or none of its choices; in a step, a task without classes.
    """

    needs = EvidenceCutMix.needs | {"image_gradient"}

    def __init__(
        self,
        weight: float = 0.05,
        score: Score = "logit",
        share: float = 0.5,
        region: Region = "box",
        label: Share = "area",
        seed: int = 0,
    ) -> None:
        super().__init__(share, region, label, seed)
        require_between("weight", weight)
        require_one_of("score", score, ("logit", "log_probability"))
        self.weight = weight
        self.score = score

    def guidance(
        self, classifier: Classifier, output: Output, batch: Batch, views: Views | None = None
    ) -> dict[str, Float[Tensor, ""]]:
        """Two terms: `provenance_label`, the cross-entropy of the pasted labels, and `provenance`."""
        terms = {"provenance_label": self.pasted_loss(output, batch)}
        if "pasted" not in batch:
            loss = weight = output.logits.new_zeros(len(output.logits))
        else:
            pasted, own, other = as_pasted(batch)["pasted"][:, None], batch["label"], as_pasted(batch)["pasted_label"]
            gradient = pasted * self._gradient(output, own) + (1 - pasted) * self._gradient(output, other)
            loss, weight = gradient.square().sum((1, 2, 3)), (own != other).to(gradient.dtype)
        return terms | {"provenance": self.weight * mean_over_masked(loss, weight)}

    def _gradient(self, output: Output, label: Int[Tensor, " B"]) -> Float[Tensor, "B C H W"]:
        """∂f/∂x of a label."""
        return image_gradient(output, label) if self.score == "logit" else -loss_gradient(output, label)
