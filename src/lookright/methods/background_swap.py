"""BackgroundSwap: the evidence of an image in front of another image's scenery."""

from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lookright.batch import Batch, mask_on_grid, mask_weight
from lookright.errors import InputError, require_between, require_one_of
from lookright.methods.stochastic import Stochastic
from lookright.perturb import INPAINT, Perturbation, blend

Scenery = Literal["inpainted", "raw"]
Domain = Literal["any", "own", "other"]


class BackgroundSwap(Stochastic):
    """Blends the evidence of some images onto the scenery of others: x' = K·x + (1 − K)·s(x̃), before the forward.

    K keeps the evidence and what nobody knows of, x̃ is another image of the batch with a mask and s its scenery. What
    surrounds the evidence then no longer tells the label. No gradient is guided and no forward is added: it is an
    augmentation, and what guidance must be compared with. Mixed-Rand of Xiao, Engstrom, Ilyas, Madry, "Noise or Signal:
    The Role of Image Backgrounds in Object Recognition", ICLR 2021 (arXiv 2006.09994), is a test set made alike.

    Images without a mask, or with one that marks nothing, stay as they are. Label and mask stay with the evidence.

    Args:
        share: of the images with evidence that are swapped, drawn anew for each batch.
        scenery: `inpainted` takes the other image's evidence away first; `raw` does not, and pastes onto all of it.
        domain: whose scenery: that of `any` image, of one of the `own` domain, or of an `other` one. An image for
            which the batch has none stays as it is.
        perturbation: what stands in for the other image's evidence.
        seed: of all draws.

    Raises:
        InputError: a share outside [0, 1] or none of the choices; in a step, a domain asked for in a batch without.
    """

    needs = frozenset({"mask"})

    def __init__(
        self,
        share: float = 0.5,
        scenery: Scenery = "inpainted",
        domain: Domain = "any",
        perturbation: Perturbation = INPAINT,
        seed: int = 0,
    ) -> None:
        super().__init__(seed)
        require_between("share", share, 0, 1)
        require_one_of("scenery", scenery, get_args(Scenery))
        require_one_of("domain", domain, get_args(Domain))
        self.share = share
        self.scenery = scenery
        self.domain = domain
        self.perturbation = perturbation
        if domain != "any":
            self.needs |= {"domain"}

    @torch.no_grad()
    def alter(self, batch: Batch) -> Batch:
        """The batch with other images in place of some."""
        if "mask" not in batch:
            return batch
        generator = self.generator()
        image = batch["image"]
        height, width = image.shape[2:]
        inside, outside = mask_on_grid(batch, (height, width))
        inside, outside = inside.to(image.dtype), outside.to(image.dtype)
        has_mask = mask_weight(batch) > 0
        allowed = self._allowed(batch, has_mask)
        row = (has_mask & (inside.amax((1, 2)) > 0) & allowed.any(1)).nonzero()[:, 0]
        drawn = torch.randperm(len(row), generator=generator)[: round(self.share * len(row))]
        row = row[drawn.to(row.device)]
        if len(row) == 0:
            return batch
        other = torch.multinomial(allowed[row].float().cpu(), 1, generator=generator)[:, 0].to(row.device)
        other, drawn_by = other.unique(return_inverse=True)
        scenery, keep = image[other], outside[other]
        if self.scenery == "inpainted":
            scenery = blend(scenery, self.perturbation(scenery, keep, generator), keep)
        scenery = scenery[drawn_by]
        front, batch = self._front(batch, row, inside[row], 1 - outside[row], generator)
        return {**batch, "image": image.index_copy(0, row, front[:, :-1] + (1 - front[:, -1:]) * scenery)}

    def _front(
        self, batch: Batch, row: Tensor, inside: Tensor, cover: Tensor, generator: torch.Generator
    ) -> tuple[Float[Tensor, "R layers H W"], Batch]:
        """What is pasted (its colours times its cover, and the cover), and the batch with what moves with it."""
        cover = cover[:, None]
        return torch.cat([cover * batch["image"][row], cover], 1), batch

    def _allowed(self, batch: Batch, has_mask: Bool[Tensor, " B"]) -> Bool[Tensor, "B B"]:
        """Whose scenery (columns) each image (rows) may get."""
        allowed = has_mask & ~torch.eye(len(has_mask), dtype=torch.bool, device=has_mask.device)
        if self.domain == "any":
            return allowed
        if "domain" not in batch:
            raise InputError(f"domain={self.domain!r} and a batch without domains; expected the key `domain` in it.")
        same = batch["domain"][:, None] == batch["domain"]
        return allowed & (same if self.domain == "own" else ~same)
