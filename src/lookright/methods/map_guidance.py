"""The family of methods that compare a class map with a mask, image by image."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from lookright.attribution import class_map
from lookright.batch import Batch, mask_on_grid, mask_weight, mean_over_masked
from lookright.classifier import Classifier, Output
from lookright.errors import require_one_of
from lookright.methods.method import Method, Views


class MapGuidance(Method):
    """weight · Σ_b w_b ℓ(A_b, M_b) / #{w_b > 0}, with ℓ given by the subclass.

    Args:
        weight: factor of the term.
        explain: whose map is guided: that of the `label` or of the `predicted` class.

    Raises:
        InputError: an argument is none of its choices.
    """

    is_base = True
    needs_mask = True

    def __init__(self, weight: float, explain: Literal["label", "predicted"]) -> None:
        super().__init__()
        require_one_of("explain", explain, ("label", "predicted"))
        self.weight = weight
        self.explain = explain

    def compare(self, map: Float[Tensor, "B h w"], mask: Float[Tensor, "B h w"]) -> Float[Tensor, " B"]:
        """ℓ: the loss of each image, from its class map as the model gives it and its mask on the map's grid."""
        raise NotImplementedError

    def guidance(
        self, classifier: Classifier, output: Output, batch: Batch, views: Views | None = None
    ) -> dict[str, Float[Tensor, ""]]:
        """One term, named like the method. A batch without masks costs no map."""
        if "mask" in batch:
            target = batch["label"] if self.explain == "label" else output.logits.argmax(1)
            map = class_map(classifier, output, target)
            loss = self.compare(map, mask_on_grid(batch["mask"].to(map.dtype), (map.shape[1], map.shape[2])))
        else:
            loss = output.logits.new_zeros(len(output.logits))
        return {type(self).__name__.lower(): self.weight * mean_over_masked(loss, mask_weight(batch))}
