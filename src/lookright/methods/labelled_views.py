"""LabelledViews: what keeps the evidence has the label, what lost it has none."""

import math

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from lookright.attribution.precision import at_least_float32
from lookright.batch import Batch, mask_weight, mean_over_masked
from lookright.classifier import Classifier, Output
from lookright.errors import require_between
from lookright.methods.method import Views, require_classes
from lookright.methods.salient_views import SalientViews, Statistics, saliency
from lookright.perturb import INPAINT, Perturbation


class LabelledViews(SalientViews):
    """Views as further training images: + λ⁺ · mean_b −log p⁺_b[y_b] + λ⁻ · mean_b ŝ_b · KL(u ‖ p⁻_b).

    SAGE's views without its contrast. x⁺, where a perturbation T stands in for everything but the evidence, keeps the
    label; x⁻, whose evidence T has replaced, is answered by u, 1/K for each of the K classes, as Hendrycks, Mazeika,
    Dietterich, "Deep Anomaly Detection with Outlier Exposure", ICLR 2019 (arXiv 1812.04606), answer outliers. ŝ is the
    largest value of the image's saliency: where nothing was evidence, nothing was taken away. The means are over the
    images with a mask. It is what SAGE must be compared with: the same images, the same cost.

    Args:
        preserving_weight: λ⁺.
        degrading_weight: λ⁻.
        perturbation: T. Random ones are drawn anew for each batch.
        batchnorm: `joint` or `original`, see `SalientViews`.
        share: of the images with a mask that get views, drawn anew for each batch.
        seed: of all draws.

    Raises:
        InputError: an argument out of range or none of its choices; in a step, a task without classes.
    """

    needs = SalientViews.needs | {"label"}

    def __init__(
        self,
        preserving_weight: float = 1.0,
        degrading_weight: float = 1.0,
        perturbation: Perturbation = INPAINT,
        batchnorm: Statistics = "joint",
        share: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__(perturbation, batchnorm, share, seed)
        require_between("preserving_weight", preserving_weight)
        require_between("degrading_weight", degrading_weight)
        self.preserving_weight = preserving_weight
        self.degrading_weight = degrading_weight

    def guidance(
        self, classifier: Classifier, output: Output, batch: Batch, views: Views | None = None
    ) -> dict[str, Float[Tensor, ""]]:
        """Two terms, `labelledviews_preserving` and `labelledviews_degrading`."""
        require_classes(self, output, batch["label"])
        views = views or self.make_views(batch)
        if views is None:
            preserving_loss = degrading_loss = weight = at_least_float32(output.logits).new_zeros(0)
        else:
            row, of_views = views.source[: len(views.source) // 2], self.run(classifier, views)
            weight, taken_away = mask_weight(batch)[row], saliency(batch, row)[0].amax((1, 2))
            preserving, degrading = at_least_float32(of_views.logits).log_softmax(1).chunk(2)
            preserving_loss = functional.nll_loss(preserving, batch["label"][row], reduction="none")
            degrading_loss = taken_away * (-degrading.mean(1) - math.log(degrading.shape[1]))
        return {
            "labelledviews_preserving": self.preserving_weight * mean_over_masked(preserving_loss, weight),
            "labelledviews_degrading": self.degrading_weight * mean_over_masked(degrading_loss, weight),
        }
