"""Views of an image that keep what is salient in it, or lose it."""

from contextlib import ExitStack
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from lookright.attribution import minmax
from lookright.attribution.precision import at_least_float32
from lookright.batch import Batch, mask_weight
from lookright.classifier import Classifier, Output, evaluating, is_checkpointed
from lookright.errors import InputError, require_one_of
from lookright.methods.method import Views
from lookright.methods.stochastic import Stochastic
from lookright.perturb import Perturbation, blend

Statistics = Literal["joint", "original"]


class SalientViews(Stochastic):
    """x⁺ = s·x + (1 − s)·T(x) keeps what is salient, x⁻ = (1 − s)·x + s·T(x) loses it; what they teach is a subclass's.

    s is the mask, min-max normalised; one that is the same everywhere is taken as it is. What is to `ignore` stays as
    it is in both views, and images without a mask have none.

    Args:
        perturbation: T. Random ones are drawn anew for each batch.
        batchnorm: `joint` runs images and views as one batch, which BatchNorm normalises together. `original` runs the
            views after the images, normalised by the running statistics and leaving them as they are, so that these
            describe unperturbed images only.
        share: of the images with a mask that get views, drawn anew for each batch.
        seed: of all draws.

    Raises:
        InputError: no such way with BatchNorm, or a share outside (0, 1]; in a step, `original` with activation
            checkpointing.
    """

    is_base = True
    needs = frozenset({"mask"})

    def __init__(self, perturbation: Perturbation, batchnorm: str, share: float, seed: int) -> None:
        super().__init__(seed)
        require_one_of("batchnorm", batchnorm, get_args(Statistics))
        if not 0 < share <= 1:
            raise InputError(f"share={share}; expected a share of the images with a mask, above 0 and at most 1.")
        self.perturbation = perturbation
        self.batchnorm = batchnorm
        self.share = share

    def views(self, batch: Batch) -> Views | None:
        """The x⁺ of the images with a mask, then their x⁻; None where there are none, or they run by themselves."""
        return self.make_views(batch) if self.batchnorm == "joint" else None

    @torch.no_grad()
    def make_views(self, batch: Batch) -> Views | None:
        """The x⁺ of the images with a mask, then their x⁻; None where there are none."""
        row = (mask_weight(batch) > 0).nonzero()[:, 0]
        if len(row) == 0:
            return None
        generator = self.generator()
        if self.share < 1:
            drawn = torch.randperm(len(row), generator=generator)[: max(1, round(self.share * len(row)))]
            row = row[drawn.to(row.device)]
        salient, unknown = (part.to(batch["image"].dtype) for part in saliency(batch, row))
        image, keep = batch["image"][row].repeat(2, 1, 1, 1), torch.cat([salient + unknown, 1 - salient])
        return Views(blend(image, self.perturbation(image, keep, generator), keep), row.repeat(2))

    def run(self, classifier: Classifier, views: Views) -> Output:
        """What the model makes of the views: in the forward that they rode in, or in one of their own."""
        if views.output is not None:
            return views.output
        if self.batchnorm == "joint":
            return classifier(views.image)
        # Copies of the statistics: BatchNorm in eval mode differentiates with what its buffers hold at the time of the
        # backward, which a training forward in between would change, silently.
        buffers = {name: buffer.clone() for name, buffer in classifier.named_buffers()}
        norms = [module for module in classifier.modules() if isinstance(module, _BatchNorm)]
        if norms and is_checkpointed(classifier):
            raise InputError(
                'batchnorm="original" and activation checkpointing: the backward would recompute the views with the '
                'statistics of the images. Switch checkpointing off, or take batchnorm="joint".'
            )
        with ExitStack() as stack:
            for norm in norms:
                stack.enter_context(evaluating(norm))
            return functional_call(classifier, buffers, (views.image,))


def saliency(batch: Batch, row: Int[Tensor, " V"]) -> tuple[Float[Tensor, "V H W"], Float[Tensor, "V H W"]]:
    """The masks of some images, in their size and scaled to [0, 1], and how much of each pixel is not known."""
    mask, size = at_least_float32(batch["mask"][row]), batch["image"].shape[2:]
    unknown = batch["ignore"][row].to(mask.dtype) if "ignore" in batch else torch.zeros_like(mask)
    # Asked of the mask as given: resized, one that is the same everywhere differs by what was rounded off.
    low = torch.where(unknown < 1, mask, torch.inf).amin((1, 2), keepdim=True)
    high = torch.where(unknown < 1, mask, -torch.inf).amax((1, 2), keepdim=True)
    mask = torch.where(unknown < 1, mask, low)
    if mask.shape[1:] != size:
        mask, unknown = (
            functional.interpolate(part[:, None], size, mode="bilinear", antialias=True)[:, 0]
            for part in (mask, unknown)
        )
    salient = torch.where(high > low, minmax(mask), high)
    return torch.where(unknown < 1, salient * (1 - unknown), 0.0), unknown
