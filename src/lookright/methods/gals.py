"""GALS: the loss must not depend on what a guide does not attend to."""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from lookright.attribution.gradient import image_gradient
from lookright.attribution.precision import at_least_float32
from lookright.batch import Batch, mask_on_grid, mask_weight, mean_over_masked
from lookright.classifier import Classifier, Output
from lookright.errors import require_between
from lookright.methods.map_guidance import mean_over_known
from lookright.methods.method import Method, Views, require_classes


class GALS(Method):
    """Penalises the cross-entropy's input gradient outside of the mask: λ · mean_b ‖g_b − g_b ⊙ M_b‖₁, g = ∂CE/∂x.

    Petryk, Dunlap, Nasseri, Gonzalez, Darrell, Rohrbach, "On Guiding Visual Attention with Language Specification",
    CVPR 2022 (arXiv 2202.08926). ‖·‖₁ is the mean over channels and known pixels. There M is the attention of CLIP for
    a prompt, in [0, 1]; here it is the data's mask, which may be such a map: soft masks are taken as they are. PARIC
    (arXiv 2503.11360) has the same loss with attention from several draws of a probabilistic embedding: for us another
    mask, and no other method.

    g is the gradient of each image's own cross-entropy, with the plain softmax whatever the task is. It vanishes where
    the prediction is sure and right, and the guidance with it. Its gradient is of second order: it needs a model that
    can be differentiated twice.

    Args:
        weight: λ; the authors' 10,000 for Waterbirds-95 scales the gradient of the mean over a batch of 96, which is
            about 100 here.

    Raises:
        InputError: a negative weight; in a step, a task without classes.
    """

    needs = frozenset({"mask", "label", "image_gradient"})

    def __init__(self, weight: float = 100.0) -> None:
        super().__init__()
        require_between("weight", weight)
        self.weight = weight

    def guidance(
        self, classifier: Classifier, output: Output, batch: Batch, views: Views | None = None
    ) -> dict[str, Float[Tensor, ""]]:
        """One term, `gals`. A batch without masks costs no gradient."""
        require_classes(self, output, batch["label"])
        if "mask" in batch:
            probability = at_least_float32(output.logits).softmax(1)
            label = functional.one_hot(batch["label"], probability.shape[1])
            gradient = image_gradient(output, probability - label)  # of the cross-entropy, written by the logits'
            inside, outside = mask_on_grid(batch, (gradient.shape[2], gradient.shape[3]))
            inside, outside = inside.to(gradient.dtype), outside.to(gradient.dtype)
            known = inside + outside
            share = outside / known.where(known > 0, 1.0)
            loss = mean_over_known(gradient.abs().mean(1) * share, known)
        else:
            loss = output.logits.new_zeros(len(output.logits))
        return {"gals": self.weight * mean_over_masked(loss, mask_weight(batch))}
