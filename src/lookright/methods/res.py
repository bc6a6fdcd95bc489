"""RES: maps that keep to annotations which may be rough and incomplete."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from lookright.attribution import Map, minmax
from lookright.batch import Batch, mask_on_grid, mask_weight, mean_over_masked
from lookright.classifier import Classifier, Output
from lookright.errors import require_between, require_one_of
from lookright.methods.map_guidance import MapGuidance, explained, known_part, mean_over_known
from lookright.methods.method import Views


class RES(MapGuidance):
    """Evidence above a threshold, the rest below it, and a map near a spread-out mask: λ · mean_b (max(0, D − η) + R).

    Gao, Sun, Bai, Gu, Hong, Zhao, "RES: A Robust Framework for Guiding Visual Explanation", KDD 2022, equations as in
    the authors' code. With A the min-max normalised map, y = 1 in cells of which more is evidence than not and −1 in
    cells of which less is, and k how much of a cell is known,

        D = Σ_j k_j |tanh(5 (A_j − a)) − y_j| / Σ_j k_j     over the cells with y ≠ 0,
        R = Σ_j k_j |A_j − h(M)_j| / Σ_j k_j,               M the evidence in each cell.

    a is the threshold that the most cells of the batch keep to, the share of the cells with evidence and that of the
    cells without counted alike; it is a constant of the gradient. h spreads the evidence to where nobody drew.

    Ours: the slack η is left to each image, theirs to the mean of the batch; R leaves out unknown cells, theirs has all
    (`unknown`); the learned h sees the mask in 4 × 4 parts of each cell, where theirs sees 32 × 32 pixels, and begins
    as an average.

    Args:
        weight: λ.
        impute: h, a `blur` of 3 × 3 cells, divided by its maximum (RES-G), or a `learned` convolution, min-max scaled
            (RES-L).
        slack: η; 0.1 in the authors' experiments.
        unknown: cells of which nobody knows are `ignored` in R, or count like the others, as what h has `imputed`.
        explain: whose map is guided: that of the `label` or of the `predicted` class.
        map: which map is compared, see `MapGuidance`.

    Raises:
        InputError: an argument out of range or none of its choices.
    """

    def __init__(
        self,
        weight: float = 1.0,
        impute: Literal["blur", "learned"] = "blur",
        slack: float = 0.1,
        unknown: Literal["ignored", "imputed"] = "ignored",
        explain: Literal["label", "predicted"] = "label",
        map: str | Map = "class_map",
    ) -> None:
        super().__init__(weight, explain, map)
        require_one_of("impute", impute, ("blur", "learned"))
        require_one_of("unknown", unknown, ("ignored", "imputed"))
        require_between("slack", slack)
        self.impute = impute
        self.slack = slack
        self.unknown = unknown
        self.kernel: nn.Parameter | None = None
        if impute == "learned":
            self.kernel = nn.Parameter(torch.full((1, 1, 8, 8), 1 / 64))
            self.needs |= {"unused_parameters"}

    def attach(self, classifier: Classifier, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Bring the learned convolution to the classifier's device."""
        self.to(next(classifier.parameters()).device)
        super().attach(classifier, optimizer)

    def guidance(
        self, classifier: Classifier, output: Output, batch: Batch, views: Views | None = None
    ) -> dict[str, Float[Tensor, ""]]:
        """One term, `res`."""
        if "mask" not in batch:
            return super().guidance(classifier, output, batch, views)
        weight = mask_weight(batch)
        map = self._map(classifier, output, explained(output, batch["label"], self.explain))
        grid = (map.shape[1], map.shape[2])
        inside, outside = (part.to(map.dtype) for part in mask_on_grid(batch, grid))
        known = inside + outside
        counts_all = self.unknown == "imputed"
        map = minmax(map if counts_all else known_part(map, known))
        side = (inside - outside).sign()
        threshold = most_kept(map.detach(), side * (weight > 0)[:, None, None])
        distance = mean_over_known((torch.tanh(5 * (map - threshold)) - side).abs(), known * side.abs())
        target = self._spread(batch, inside)
        rest = mean_over_known((map - target).abs(), torch.ones_like(known) if counts_all else known)
        return {"res": self.weight * mean_over_masked((distance - self.slack).clamp_min(0) + rest, weight)}

    def _spread(self, batch: Batch, inside: Float[Tensor, "B h w"]) -> Float[Tensor, "B h w"]:
        """h(M)."""
        height, width = inside.shape[1:]
        with torch.autocast(inside.device.type, enabled=False):
            if self.kernel is not None:
                fine, _ = mask_on_grid(batch, (4 * height, 4 * width))
                spread = functional.conv2d(fine[:, None].to(self.kernel.dtype), self.kernel, stride=4, padding=2)
                return minmax(spread[:, 0]).to(inside.dtype)
            kernel = inside.new_tensor([0.25, 0.5, 0.25])
            edge = "reflect" if min(height, width) > 1 else "replicate"
            padded = functional.pad(inside[:, None], (1, 1, 1, 1), edge)
            blurred = functional.conv2d(padded, (kernel[:, None] * kernel)[None, None])[:, 0]
            most = blurred.amax((1, 2), keepdim=True)
            return blurred / torch.where(most > 0, most, 1.0)


def most_kept(map: Float[Tensor, "B h w"], side: Float[Tensor, "B h w"]) -> Float[Tensor, ""]:
    """The threshold a that cells keep to best: the share of side 1 with A ≥ a plus the share of side −1 with A < a.

    Tried are the values of the cells, and of side −1 a little more than these. Where no cell has a side it is 0.

    >>> most_kept(torch.tensor([[[0.1, 0.3, 0.4, 0.9]]]), torch.tensor([[[-1.0, -1.0, 1.0, 1.0]]]))
    tensor(0.3001)
    """
    value, side = map.flatten(), side.flatten()
    above, below = side > 0, side < 0
    tried = value + 1e-4 * below
    lower = torch.searchsorted(torch.where(below, value, torch.inf).sort().values, tried)
    upper = len(value) - torch.searchsorted(torch.where(above, value, -torch.inf).sort().values, tried)
    kept = lower / below.sum().clamp_min(1) + upper / above.sum().clamp_min(1)
    # Ties go to cells without evidence, whose threshold has some room.
    best = torch.where(side != 0, kept + 1e-6 * below, -1.0).argmax()
    return torch.where((side != 0).any(), tried[best], 0.0)
