"""Graft: the evidence of an image, mirrored, resized and moved, in another image's scenery."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from lookright.batch import Batch
from lookright.errors import require_between
from lookright.methods.background_swap import BackgroundSwap, Domain, Scenery
from lookright.perturb import INPAINT, Perturbation

INNER = 0.8
"""Within this part of the image, from its middle, the centre of evidence that moves ends."""


class Placement(NamedTuple):
    """Where evidence comes from and goes to; x and y run from -1 to 1 over the image."""

    start: Float[Tensor, "B 2"]
    end: Float[Tensor, "B 2"]
    zoom: Float[Tensor, "B 2"]  # negative where it is mirrored


class Graft(BackgroundSwap):
    """`BackgroundSwap` whose evidence moves, too: neither scenery nor place, size or side tell the label.

    The evidence is scaled about its centre, mirrored at random and moved, and its mask with it; image, mask and what is
    ignored are sampled bilinearly at the same places. What leaves the image is lost, its centre never does.

    Ours. Objects are cut out and pasted for detection by Dwibedi, Misra, Hebert, "Cut, Paste and Learn", ICCV 2017
    (arXiv 1708.01642), and by Ghiasi et al., "Simple Copy-Paste is a Strong Data Augmentation Method for Instance
    Segmentation", CVPR 2021 (arXiv 2012.07177).

    Args:
        share: of the images with evidence that are altered, drawn anew for each batch.
        scale: the evidence becomes up to so many times larger or smaller, evenly in the logarithm.
        shift: it moves up to this share of the image's width and height; from close to the edge further, to a tenth of
            the image away from it.
        mirror: turn left and right of half of them about.
        scenery: see `BackgroundSwap`, as the following.
        domain: whose scenery.
        perturbation: what stands in for the other image's evidence.
        seed: of all draws.

    Raises:
        InputError: an argument is out of its range; see `BackgroundSwap`.
    """

    def __init__(
        self,
        share: float = 0.75,
        scale: float = 1.5,
        shift: float = 0.25,
        mirror: bool = True,
        scenery: Scenery = "inpainted",
        domain: Domain = "any",
        perturbation: Perturbation = INPAINT,
        seed: int = 0,
    ) -> None:
        super().__init__(share, scenery, domain, perturbation, seed)
        require_between("scale", scale, 1)
        require_between("shift", shift, 0, 1)
        self.scale = scale
        self.shift = shift
        self.mirror = mirror

    def placement(self, inside: Float[Tensor, "B H W"], generator: torch.Generator) -> Placement:
        """Draw where the evidence goes."""
        height, width = inside.shape[1:]
        rows, columns = (torch.arange(1, 2 * size, 2, device=inside.device) / size - 1 for size in (height, width))
        total = inside.sum((1, 2))
        start = torch.stack([(inside.sum(1) * columns).sum(1) / total, (inside.sum(2) * rows).sum(1) / total], 1)
        draws = torch.rand(4, len(inside), generator=generator).to(inside)
        end = start
        if self.shift:
            end = (start + 2 * self.shift * (2 * draws[:2].T - 1)).clamp(-INNER, INNER)
        zoom = torch.exp(math.log(self.scale) * (2 * draws[2] - 1))
        turned = torch.where(draws[3] < 0.5, -1, 1) if self.mirror else 1
        return Placement(start, end, torch.stack([turned * zoom, zoom], 1))

    def _front(
        self, batch: Batch, row: Tensor, inside: Tensor, cover: Tensor, generator: torch.Generator
    ) -> tuple[Float[Tensor, "R layers H W"], Batch]:
        front, _ = super()._front(batch, row, inside, cover, generator)
        start, end, zoom = self.placement(inside, generator)
        theta = torch.cat([torch.diag_embed(1 / zoom), (start - end / zoom)[:, :, None]], 2)

        def sampled(value: Tensor) -> Tensor:
            grid = functional.affine_grid(theta.to(value.dtype), list(value.shape), align_corners=False)
            return functional.grid_sample(value, grid, align_corners=False)

        moved: Batch = {**batch}
        mask = batch["mask"][row]
        if "ignore" in batch:
            ignored = batch["ignore"][row]
            mask = torch.where(ignored < 1, mask, 0.0)  # it may be anything there, NaN included, and would spread
            moved["ignore"] = batch["ignore"].index_copy(0, row, sampled(ignored[:, None])[:, 0])
        moved["mask"] = batch["mask"].index_copy(0, row, sampled(mask[:, None])[:, 0])
        return sampled(front), moved
