"""Harmonization: a pyramid of standardised maps, close to that of the mask."""

from collections.abc import Iterator
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from lookright.attribution import Map
from lookright.errors import require_between, require_one_of
from lookright.methods.map_guidance import MapGuidance, mean_over_known, share_inside

BINOMIAL = (1.0, 4.0, 6.0, 4.0, 1.0)


class Harmonization(MapGuidance):
    """λ · mean_b Σ_i mean over the cells of (z(P_i A)⁺ − z(P_i M)⁺)², P_i the i-th level of a Gaussian pyramid.

    Fel, Rodriguez, Linsley, Serre, "Harmonizing the object recognition strategies of deep neural networks with humans",
    NeurIPS 2022: z takes the mean from a map and divides it by its deviation, so that only where the map is above its
    own mean counts, and how much in deviations. The paper sums the squares over the cells; here it is their mean, so
    that λ does not depend on the size of the images. What is to be ignored has no part in z, in P or in the mean.

    A mask that is the same everywhere (empty, full) has no deviation, and a level of it adds nothing.

    Args:
        weight: λ.
        levels: of the pyramid, the map itself included; 5 in the paper. It ends early where a side has two cells.
        standardise: `levels` each, as the paper's equation; or the `map` once, before the pyramid, the mask's then
            scaled to the maximum of the model's, as the authors' code does.
        explain: whose map is guided: that of the `label`, as the authors do, or of the `predicted` class.
        map: which map is compared, see `MapGuidance`; the paper's is the input gradient.

    Raises:
        InputError: an argument is none of its choices, or there is no level.
    """

    def __init__(
        self,
        weight: float = 1.0,
        levels: int = 5,
        standardise: Literal["levels", "map"] = "levels",
        explain: Literal["label", "predicted"] = "label",
        map: str | Map = "input_gradient",
    ) -> None:
        super().__init__(weight, explain, map)
        require_one_of("standardise", standardise, ("levels", "map"))
        require_between("levels", levels, 1)
        self.levels = levels
        self.standardise = standardise

    def compare(
        self, map: Float[Tensor, "B h w"], inside: Float[Tensor, "B h w"], outside: Float[Tensor, "B h w"]
    ) -> Float[Tensor, " B"]:
        """The squares, level by level."""
        known = (inside + outside).to(map.dtype)
        mask = share_inside(inside, outside).to(map.dtype)
        if self.standardise == "map":
            map, mask = above_mean(map, known), above_mean(mask, known)
            highest = mask.amax((1, 2), keepdim=True)
            mask = mask / torch.where(highest > 0, highest, 1.0) * map.detach().amax((1, 2), keepdim=True)
        loss = map.new_zeros(len(map))
        levels = zip(pyramid(map, known, self.levels), pyramid(mask, known, self.levels), strict=True)
        for (of_map, part), (of_mask, _) in levels:
            if self.standardise == "levels":
                of_map, of_mask = above_mean(of_map, part), above_mean(of_mask, part)
            squares = mean_over_known((of_map - of_mask).square(), part)
            loss = loss + torch.where(of_mask.amax((1, 2)) > 0, squares, 0.0)
        return loss


def above_mean(map: Float[Tensor, "B h w"], known: Float[Tensor, "B h w"]) -> Float[Tensor, "B h w"]:
    """z(A)⁺: by how many deviations each cell is above the mean; 0 where all cells are alike.

    >>> above_mean(torch.tensor([[[0.0, 2.0, 9.0]]]), torch.tensor([[[1.0, 1.0, 0.0]]]))[0, 0, :2]
    tensor([0., 1.])
    """
    centred = map - mean_over_known(map, known)[:, None, None]
    variance = mean_over_known(centred.square(), known)[:, None, None]
    largest = (map.detach() * (known > 0)).abs().amax((1, 2), keepdim=True)
    is_flat = variance <= (1e-6 * largest).square()
    return torch.where(is_flat, 0.0, centred * torch.where(is_flat, 1.0, variance).rsqrt()).relu()


def pyramid(
    map: Float[Tensor, "B h w"], known: Float[Tensor, "B h w"], levels: int
) -> Iterator[tuple[Float[Tensor, "B i j"], Float[Tensor, "B i j"]]]:
    """The map, and then each level blurred and halved, with how much of each cell is known.

    >>> [tuple(level.shape) for level, _ in pyramid(torch.ones(1, 7, 4), torch.ones(1, 7, 4), 5)]
    [(1, 7, 4), (1, 4, 2)]
    """
    line = map.new_tensor(BINOMIAL)
    kernel = (line[:, None] * line)[None, None]
    for level in range(levels):
        if level and min(map.shape[1:]) <= 2:
            return
        if level:
            with torch.autocast(map.device.type, enabled=False):
                total, known, whole = (
                    functional.conv2d(part[:, None], kernel, stride=2, padding=2)[:, 0]
                    for part in (map * known, known, torch.ones_like(known))
                )
            map, known = total / torch.where(known > 0, known, 1.0), known / whole
        yield map, known
