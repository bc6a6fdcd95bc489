"""EvidenceAlone: plain training on the evidence, the rest of each image being filled. The oracle of comparisons."""

import torch

from lookright.batch import Batch, mask_on_grid, mask_weight
from lookright.methods.stochastic import Stochastic
from lookright.perturb import INPAINT, Perturbation, blend


class EvidenceAlone(Stochastic):
    """Fills everything but the evidence before the forward: x' = M·x + (1 − M)·s(x), s by in-painting.

    What it scores on the evidence alone (`evidence_accuracy`, which fills alike) is about what the evidence of the data
    can give: the ceiling to read other methods by. It is a control, not a method: whole images are strange to it.
    Images without a mask, or with one that marks nothing, stay as they are.

    Args:
        perturbation: what stands in for everything else.
        seed: for a random `perturbation`.
    """

    needs = frozenset({"mask"})

    def __init__(self, perturbation: Perturbation = INPAINT, seed: int = 0) -> None:
        super().__init__(seed)
        self.perturbation = perturbation

    @torch.no_grad()
    def alter(self, batch: Batch) -> Batch:
        """The batch with the evidence alone in its images."""
        if "mask" not in batch:
            return batch
        image = batch["image"]
        inside, _ = mask_on_grid(batch, (image.shape[2], image.shape[3]))
        has_evidence = (mask_weight(batch) > 0) & (inside.amax((1, 2)) > 0)
        keep = torch.where(has_evidence[:, None, None], inside, 1).to(image.dtype)
        return {**batch, "image": blend(image, self.perturbation(image, keep, self.generator()), keep)}
