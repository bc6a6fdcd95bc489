"""GRADIA: attention adjusted where it is unreasonable."""

import torch
from jaxtyping import Float
from torch import Tensor

from lookright.attribution import Map, minmax
from lookright.attribution.target import predicted_class
from lookright.batch import Batch, mask_on_grid, mask_weight, mean_over_masked
from lookright.classifier import Classifier, Output
from lookright.errors import InputError, require_between
from lookright.methods.camal import inside_outside
from lookright.methods.map_guidance import known_part, mean_over_known, needs_of, share_inside, trainable_map
from lookright.methods.method import Method, Views

# Of task and attention: unreasonable and wrong, unreasonable and right, reasonable and wrong, reasonable and right.
_WEIGHTS = ((1.0, 1.0), (0.4, 1.6), (0.8, 0.2), (1.0, 0.0))


class GRADIA(Method):
    """Weighs task and attention by the reasonability matrix: mean(w_p · L_CE) + weight · Σ w_a ‖A − M‖₁ / #{w_a > 0}.

    Gao, Sun, Zhao, Hong, "Aligning Eyes between Humans and Deep Neural Network through Interactive Attention
    Alignment", CSCW 2022. A is the min-max normalised class map of the label, ‖·‖₁ the mean over the cells. Weights as
    in the authors' code:

        attention       prediction   w_p   w_a
        unreasonable    wrong        1     1
        unreasonable    right        0.4   1.6
        reasonable      wrong        0.8   0.2
        reasonable      right        1     0
        no mask                      1     0

    There people judged once, between two phases of training, whether attention is reasonable. Here it is when at least
    `reasonable` of the map's energy lies in the mask, judged anew in each step.

    Args:
        weight: factor of the attention term.
        reasonable: smallest share of energy in the mask; above 1 no attention is reasonable.
        map: which map is compared, see `MapGuidance`.

    Raises:
        InputError: an argument out of range; in a step, several labels an image.
    """

    needs = frozenset({"mask", "label"})

    def __init__(self, weight: float = 1.0, reasonable: float = 0.5, map: str | Map = "class_map") -> None:
        super().__init__()
        require_between("weight", weight)
        require_between("reasonable", reasonable)
        self.map = map
        self._map = trainable_map(map)
        self.needs |= needs_of(self._map)
        self.weight = weight
        self.reasonable = reasonable
        self._seen: tuple[Output, Tensor] | None = None

    def weigh(self, classifier: Classifier, output: Output, batch: Batch) -> Float[Tensor, " B"]:
        """w_p of each image."""
        if "mask" not in batch:
            return super().weigh(classifier, output, batch)
        if batch["label"].ndim != 1:
            raise InputError(
                f"Labels have shape {tuple(batch['label'].shape)}, and GRADIA asks whether the prediction is right; "
                "expected one label an image."
            )
        map = self._map(classifier, output, batch["label"])
        self._seen = output, map
        task_weight, _ = self._weights(minmax(map.detach()), output.logits, batch)
        return torch.where(mask_weight(batch) > 0, task_weight, 1.0)

    def guidance(
        self, classifier: Classifier, output: Output, batch: Batch, views: Views | None = None
    ) -> dict[str, Float[Tensor, ""]]:
        """One term, `gradia`, of the map that `weigh` saw."""
        seen, self._seen = self._seen, None
        if "mask" not in batch:
            return {"gradia": mean_over_masked(output.logits.new_zeros(len(output.logits)), mask_weight(batch))}
        map = seen[1] if seen and seen[0] is output else self._map(classifier, output, batch["label"])
        inside, outside = mask_on_grid(batch, (map.shape[1], map.shape[2]))
        map = minmax(known_part(map, inside + outside))
        _, attention_weight = self._weights(map.detach(), output.logits, batch)
        distance = mean_over_known((map - share_inside(inside, outside)).abs(), inside + outside)
        return {"gradia": self.weight * mean_over_masked(distance, mask_weight(batch) * attention_weight)}

    def _weights(self, map: Float[Tensor, "B h w"], logits: Tensor, batch: Batch) -> Float[Tensor, "2 B"]:
        """w_p and w_a, as if each image had a mask."""
        inside, outside = mask_on_grid(batch, (map.shape[1], map.shape[2]))
        reasonable = inside_outside(map, inside, outside, "energy")[0] >= self.reasonable
        right = predicted_class(logits) == batch["label"]
        return map.new_tensor(_WEIGHTS)[2 * reasonable.long() + right.long()].T
