"""HAICS: the map as a classifier of cells, by binary cross-entropy."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from lookright.attribution import Map, minmax
from lookright.errors import require_between
from lookright.methods.map_guidance import MapGuidance, mean_over_known, share_inside


class HAICS(MapGuidance):
    """Binary cross-entropy between map and mask, cell by cell: λ · mean_b Σ_j k_bj BCE(Â_bj, M_bj) / Σ_j k_bj.

    Shen et al., "Human-AI Interactive and Continuous Sensemaking: A Case Study of Image Classification using Scribble
    Attention Maps", CHI EA 2021, as the code of RES (Gao et al., KDD 2022) has it. k is how much of a cell is known and
    Â the map, min-max normalised and brought into [ε, 1 − ε]: the logarithm is then bounded.

    That code averages the cross-entropy over all cells first, those without annotation with the target 0, and only
    then multiplies by the annotated share. Here a cell of which nobody knows counts nothing. The loss is `ALIGN`'s
    third term for given masks that it does not normalise.

    Args:
        weight: λ; 1 in the code.
        epsilon: ε, our choice.
        explain: whose map is guided: that of the `label` or of the `predicted` class.
        map: which map is compared, see `MapGuidance`.

    Raises:
        InputError: an argument out of range or none of its choices.
    """

    def __init__(
        self,
        weight: float = 1.0,
        epsilon: float = 0.05,
        explain: Literal["label", "predicted"] = "label",
        map: str | Map = "class_map",
    ) -> None:
        super().__init__(weight, explain, map)
        require_between("epsilon", epsilon, 0.0001, 0.5)
        self.epsilon = epsilon

    def compare(
        self, map: Float[Tensor, "B h w"], inside: Float[Tensor, "B h w"], outside: Float[Tensor, "B h w"]
    ) -> Float[Tensor, " B"]:
        """The mean cross-entropy over the known cells."""
        known = inside + outside
        return cell_cross_entropy(minmax(map), share_inside(inside, outside), known, self.epsilon)


def cell_cross_entropy(
    map: Float[Tensor, "B h w"],
    mask: Float[Tensor, "B h w"],
    known: Float[Tensor, "B h w"],
    epsilon: float,
    inside_weight: float = 1.0,
    outside_weight: float = 1.0,
) -> Float[Tensor, " B"]:
    """The mean over the known cells of the binary cross-entropy between a mask and a map of [0, 1] in [ε, 1 − ε].

    Its two sides, what is evidence and what is not, each have a weight.
    """
    map = epsilon + (1 - 2 * epsilon) * map
    sides = inside_weight * mask * map.log() + outside_weight * (1 - mask) * (1 - map).log()
    return mean_over_known(-sides, known)
