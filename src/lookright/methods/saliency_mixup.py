"""SaliencyMixup: two images that show as much of their evidence as fits into one."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from lookright.attribution.gradient import loss_gradient
from lookright.attribution.normalise import sum_to_one
from lookright.attribution.precision import at_least_float32
from lookright.batch import Batch
from lookright.classifier import Classifier, Output
from lookright.errors import require_between
from lookright.methods.method import Views, require_classes
from lookright.methods.stochastic import Stochastic
from lookright.perturb import blur


class SaliencyMixup(Stochastic):
    """Trains on mixtures in which each of two images fills the pixels where it is the more salient.

    Ma et al., "SAGE: Saliency-Guided Mixup with Optimal Rearrangements", BMVC 2022 (arXiv 2211.00113): another method
    than `SAGE`, of the same name. With s the blurred size of ∂L_CE/∂x, scaled to the sum α for x₁ and 1 − α for x₂,
    and x₂ moved by the offset that loses least of it,

        M = s₁ / (s₁ + s₂),   x̃ = M·x₁ + (1 − M)·x₂,   λ = the mean of M,
        L = (1 − u) · L_CE(x₁) + u · (λ · L_CE(x̃, y₁) + (1 − λ) · L_CE(x̃, y₂)),

    where the offset makes Σ s₁·M + s₂·(1 − M) largest and x₂ is zero where it was moved away. The saliency costs no
    forward: it is the gradient of the plain term. It needs no masks.

    The authors' code has the mean of the binary cross-entropies of the softmax in place of L_CE, and draws one α for a
    batch, which ours does, too.

    Args:
        ratio: u; 0.5 or 0.7 in the authors' scripts.
        largest: α is drawn between 0 and this; 0.5 to 0.7 in the authors' scripts.
        sigma: of the blur, in pixels, cut off two pixels away for 1.0, as in the authors' 5 × 5.
        offsets: how many are tried, drawn anew for each batch and the same for all its images. The authors take one
            percent of all, which are 39 on images of 32 × 32.
        seed: of all draws.

    Raises:
        InputError: an argument out of range; in a step, a task without classes.
    """

    needs = frozenset({"label", "image_gradient"})

    def __init__(
        self, ratio: float = 0.7, largest: float = 0.6, sigma: float = 1.0, offsets: int = 39, seed: int = 0
    ) -> None:
        super().__init__(seed)
        require_between("ratio", ratio, 0, 1)
        require_between("largest", largest, 0, 1)
        require_between("sigma", sigma)
        require_between("offsets", offsets, 1)
        self.ratio = ratio
        self.largest = largest
        self.sigma = sigma
        self.offsets = offsets

    def weigh(self, classifier: Classifier, output: Output, batch: Batch) -> Float[Tensor, " B"]:
        """1 − u of each image."""
        return super().weigh(classifier, output, batch) * (1 - self.ratio)

    def guidance(
        self, classifier: Classifier, output: Output, batch: Batch, views: Views | None = None
    ) -> dict[str, Float[Tensor, ""]]:
        """One term, `saliency_mixup`."""
        label = batch["label"]
        require_classes(self, output, label)
        mixed, partner, share = self._mixed(batch["image"], self._saliency(output, label))
        logits = at_least_float32(classifier(mixed).logits)
        own, other = (functional.cross_entropy(logits, target, reduction="none") for target in (label, label[partner]))
        return {"saliency_mixup": self.ratio * (share * own + (1 - share) * other).mean()}

    @torch.no_grad()
    def _saliency(self, output: Output, label: Int[Tensor, " B"]) -> Float[Tensor, "B H W"]:
        """The blurred size of the gradient of each image's cross-entropy, of sum 1."""
        size = loss_gradient(output, label).abs().mean(1, keepdim=True)
        return sum_to_one(blur(size, self.sigma, truncate=2.0)[:, 0])

    @torch.no_grad()
    def _mixed(
        self, image: Float[Tensor, "B C H W"], saliency: Float[Tensor, "B H W"]
    ) -> tuple[Float[Tensor, "B C H W"], Int[Tensor, " B"], Float[Tensor, " B"]]:
        """x̃, the row of x₂, and λ of each image."""
        generator, (height, width) = self.generator(), image.shape[2:]
        partner = torch.randperm(len(image), generator=generator).to(image.device)
        alpha = self.largest * torch.rand((), generator=generator).item()
        own, other = alpha * saliency, (1 - alpha) * saliency[partner]
        cells = torch.randperm((2 * height - 1) * (2 * width - 1), generator=generator)[: self.offsets].tolist()
        offsets = [(cell // (2 * width - 1) - height + 1, cell % (2 * width - 1) - width + 1) for cell in cells]
        kept = torch.stack([_kept(own, moved(other, *offset)) for offset in offsets])
        best = [offsets[index] for index in kept.argmax(0).tolist()]
        other = torch.stack([moved(map, *offset) for map, offset in zip(other, best, strict=True)])
        total = own + other
        mask = own / torch.where(total > 0, total, 1.0)
        second = torch.stack([moved(row, *offset) for row, offset in zip(image[partner], best, strict=True)])
        keep = mask[:, None].to(image.dtype)
        return keep * image + (1 - keep) * second, partner, mask.mean((1, 2))


def moved(map: Float[Tensor, "*B H W"], down: int, right: int) -> Float[Tensor, "*B H W"]:
    """The map moved by an offset, zero where nothing came.

    >>> moved(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), 0, 1)
    tensor([[0., 1.],
            [0., 3.]])
    """
    height, width = map.shape[-2:]
    padded = functional.pad(map, (max(right, 0), max(-right, 0), max(down, 0), max(-down, 0)))
    return padded[..., max(-down, 0) :, max(-right, 0) :][..., :height, :width]


def _kept(own: Float[Tensor, "B H W"], other: Float[Tensor, "B H W"]) -> Float[Tensor, " B"]:
    """Σ s₁·M + s₂·(1 − M) of each image."""
    total = own + other
    return ((own.square() + other.square()) / torch.where(total > 0, total, 1.0)).sum((1, 2))
