"""EntropyRegulariser: maps that are peaked or spread out, wherever that may be; the control without masks."""

import math
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from lookright.attribution import Map, relu, sum_to_one
from lookright.batch import Batch
from lookright.classifier import Classifier, Output
from lookright.errors import require_between, require_one_of
from lookright.methods.map_guidance import explained, needs_of, trainable_map
from lookright.methods.method import Method, Views

Wanted = Literal["peaked", "spread"]


class EntropyRegulariser(Method):
    """λ · mean_b H(A⁺ / ΣA⁺) / ln(h·w), or minus it: attention that concentrates, or does not, with no word of where.

    No paper's method but a control, of our own wording: what a mask-guided method gains over it, the masks gave; what
    this gains over plain training, any concentrated map would have given. It reads neither masks nor `ignore`.

    Args:
        weight: λ; give it the weight of the method that it is the control of.
        wanted: `peaked` maps have a low entropy, which a small mask asks for, too; `spread` ones a high entropy.
        explain: whose map: that of the `label` or of the `predicted` class. Of several labels an image, it is the mean
            of their maps.
        map: which map, see `MapGuidance`.

    Raises:
        InputError: a negative weight, or an argument is none of its choices.
    """

    def __init__(
        self,
        weight: float = 1.0,
        wanted: Wanted = "peaked",
        explain: Literal["label", "predicted"] = "label",
        map: str | Map = "class_map",
    ) -> None:
        super().__init__()
        require_between("weight", weight)
        require_one_of("wanted", wanted, get_args(Wanted))
        require_one_of("explain", explain, ("label", "predicted"))
        self.weight = weight
        self.wanted = wanted
        self.explain = explain
        self.map = map
        self._map = trainable_map(map)
        self.needs |= needs_of(self._map)

    def guidance(
        self, classifier: Classifier, output: Output, batch: Batch, views: Views | None = None
    ) -> dict[str, Float[Tensor, ""]]:
        """One term, `entropy`."""
        entropy = map_entropy(self._map(classifier, output, explained(output, batch["label"], self.explain)))
        return {"entropy": (self.weight if self.wanted == "peaked" else -self.weight) * entropy.mean()}


def map_entropy(map: Float[Tensor, "B h w"]) -> Float[Tensor, " B"]:
    """The entropy of the map's positive part over its cells, divided by the largest possible; 0 where there is none.

    >>> map_entropy(torch.tensor([[[1.0, 1.0], [-5.0, -5.0]], [[2.0, 2.0], [2.0, 2.0]]]))
    tensor([0.5000, 1.0000])
    """
    share = sum_to_one(relu(map))
    # Not torch.special.entr, whose slope at 0 is infinite: cells at 0 get no gradient from the ReLU anyway.
    logarithm = torch.where(share > 0, share, 1.0).log()
    return -(share * logarithm).sum((1, 2)) / math.log(max(map[0].numel(), 2))
