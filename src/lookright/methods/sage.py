"""SAGE: contrastive embeddings of views that keep or lose the salient parts."""

import math
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
from lookright.batch import Batch, mask_weight, mean_over_masked
from lookright.classifier import Classifier, Output, evaluating, is_checkpointed
from lookright.errors import InputError, require_between, require_one_of
from lookright.methods.method import Views, require_classes
from lookright.methods.stochastic import Stochastic
from lookright.perturb import Inpaint, Perturbation, blend

INPAINT = Inpaint()
Distance = Literal["euclidean", "cosine"]
Degraded = Literal["undecided", "different"]
Statistics = Literal["joint", "original"]


def triplet(
    anchor: Float[Tensor, "B D"],
    positive: Float[Tensor, "B D"],
    negative: Float[Tensor, "B D"],
    distance: Distance = "euclidean",
    margin: float = 0.5,
) -> Float[Tensor, " B"]:
    """max(0, d(a, p) − d(a, n) + margin) of unit vectors: d is ‖a − p‖ or 1 − a·p.

    >>> anchor, other = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    >>> triplet(anchor, anchor, other, margin=2.0), triplet(anchor, other, anchor, "cosine")
    (tensor([0.5858]), tensor([1.5000]))
    """
    require_one_of("distance", distance, get_args(Distance))
    anchor, positive, negative = (functional.normalize(vector) for vector in (anchor, positive, negative))
    if distance == "euclidean":
        difference = (anchor - positive).norm(dim=1) - (anchor - negative).norm(dim=1)
    else:
        difference = (anchor * (negative - positive)).sum(1)
    return (difference + margin).clamp_min(0)


def jensen_shannon(
    logits: Float[Tensor, "B K"], other: Float[Tensor, "B K"], temperature: float = 1.0
) -> Float[Tensor, " B"]:
    """½ KL(p‖m) + ½ KL(q‖m), m = (p + q) / 2, of p = softmax(logits / t) and q = softmax(other / t); at most ln 2.

    >>> jensen_shannon(torch.tensor([[0.0, 0.0], [99.0, 0.0]]), torch.tensor([[5.0, 5.0], [0.0, 99.0]]))
    tensor([0.0000, 0.6931])
    """
    p, q = (logits / temperature).log_softmax(1), (other / temperature).log_softmax(1)
    m = torch.logaddexp(p, q) - math.log(2)
    return (p.exp() * (p - m) + q.exp() * (q - m)).sum(1) / 2


class SAGE(Stochastic):
    """Pulls the embedding towards that of the salient parts, pushes it from the rest, and checks the logits.

    Crum, Sweet, Czajka, "SAGE: Saliency-Guided Contrastive Embeddings" (arXiv 2511.12744). For an image x with
    saliency s (its mask, min-max normalised) and a perturbation T,

        x⁺ = s·x + (1 − s)·T(x)     keeps what is salient,     x⁻ = (1 − s)·x + s·T(x)     loses it;
        L = L_CE + λ_e · mean max(0, d(e, e⁺) − d(e, e⁻) + margin) + λ_l · mean (JSD(p, p⁺) + r⁻),

    with e the L2-normalised embeddings and p = softmax(logits / t). The triplet, the Jensen-Shannon divergence and its
    temperature are the paper's; its operators, distance, margin, weights and temperature, and what it asks of x⁻, are
    not known to us: they are the arguments below, and their defaults are our choice.

    A mask that is the same everywhere is taken as it is. Full: x⁺ = x, and only x⁻ = T(x) teaches anything. Empty:
    x⁻ = x, and the embedding and logits must not depend on what T changes; r⁻ is left out, since nothing was taken
    from x⁻ (in general r⁻ is weighed by the largest s of the image). Halfway: x⁺ and x⁻ mix x and T(x) alike, and only
    the logits are guided. Images without a mask cost no views. What is to `ignore` stays as it is in both views.

    Args:
        embedding_weight: λ_e.
        logit_weight: λ_l.
        perturbation: T. Random ones are drawn anew for each batch.
        distance: d on unit vectors: `euclidean` ‖e − e'‖ or `cosine` 1 − e·e'.
        margin: of the triplet loss.
        temperature: t.
        degraded: r⁻: `undecided` JSD(p⁻, uniform), or `different` ln 2 − JSD(p, p⁻), which a confident error meets too.
        batchnorm: `joint` runs images and views as one batch, which BatchNorm normalises together. `original` runs the
            views after the images, normalised by the running statistics and leaving them as they are, so that these
            describe unperturbed images only.
        share: of the images with a mask that get views, drawn anew for each batch; 0.5 brings the cost of a step from
            three times that of plain training to twice.
        seed: of all draws.

    Raises:
        InputError: none of the choices, a share outside (0, 1] or a temperature that is not positive; in a step,
            `original` with activation checkpointing.
    """

    needs = frozenset({"mask"})

    def __init__(
        self,
        embedding_weight: float = 1.0,
        logit_weight: float = 1.0,
        perturbation: Perturbation = INPAINT,
        distance: Distance = "euclidean",
        margin: float = 0.5,
        temperature: float = 1.0,
        degraded: Degraded = "undecided",
        batchnorm: Statistics = "joint",
        share: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__(seed)
        require_one_of("distance", distance, get_args(Distance))
        require_one_of("degraded", degraded, get_args(Degraded))
        require_one_of("batchnorm", batchnorm, get_args(Statistics))
        require_between("embedding_weight", embedding_weight)
        require_between("logit_weight", logit_weight)
        require_between("margin", margin)
        if not 0 < share <= 1:
            raise InputError(f"share={share}; expected a share of the images with a mask, above 0 and at most 1.")
        if not temperature > 0:
            raise InputError(f"temperature={temperature}; expected a number above 0, such as 1.")
        self.embedding_weight = embedding_weight
        self.logit_weight = logit_weight
        self.perturbation = perturbation
        self.distance: Distance = distance
        self.margin = margin
        self.temperature = temperature
        self.degraded = degraded
        self.batchnorm = batchnorm
        self.share = share

    def views(self, batch: Batch) -> Views | None:
        """The x⁺ of the images with a mask, then their x⁻; None where there are none, or they run by themselves."""
        return self._views(batch) if self.batchnorm == "joint" else None

    def guidance(
        self, classifier: Classifier, output: Output, batch: Batch, views: Views | None = None
    ) -> dict[str, Float[Tensor, ""]]:
        """Two terms, `sage_embedding` and `sage_logit`."""
        require_classes(self, output, batch["label"])
        if views is None:
            views = self._views(batch)
        if views is None:
            embedding_loss = logit_loss = weight = at_least_float32(output.logits).new_zeros(0)
        else:
            row = views.source[: len(views.source) // 2]
            weight = mask_weight(batch)[row]
            of_views = self._run(classifier, views.image) if views.output is None else views.output
            anchor, logits = at_least_float32(output.embedding)[row], at_least_float32(output.logits)[row]
            preserving, degrading = at_least_float32(of_views.embedding).chunk(2)
            embedding_loss = triplet(anchor, preserving, degrading, self.distance, self.margin)
            preserving, degrading = at_least_float32(of_views.logits).chunk(2)
            if self.degraded == "undecided":
                rejection = jensen_shannon(degrading, torch.zeros_like(degrading), self.temperature)
            else:
                rejection = math.log(2) - jensen_shannon(logits, degrading, self.temperature)
            taken_away = _saliency(batch, row)[0].amax((1, 2))
            logit_loss = jensen_shannon(logits, preserving, self.temperature) + taken_away * rejection
        return {
            "sage_embedding": self.embedding_weight * mean_over_masked(embedding_loss, weight),
            "sage_logit": self.logit_weight * mean_over_masked(logit_loss, weight),
        }

    @torch.no_grad()
    def _views(self, batch: Batch) -> Views | None:
        row = (mask_weight(batch) > 0).nonzero()[:, 0]
        if len(row) == 0:
            return None
        generator = self.generator()
        if self.share < 1:
            drawn = torch.randperm(len(row), generator=generator)[: max(1, round(self.share * len(row)))]
            row = row[drawn.to(row.device)]
        saliency, unknown = (part.to(batch["image"].dtype) for part in _saliency(batch, row))
        image, keep = batch["image"][row].repeat(2, 1, 1, 1), torch.cat([saliency + unknown, 1 - saliency])
        return Views(blend(image, self.perturbation(image, keep, generator), keep), row.repeat(2))

    def _run(self, classifier: Classifier, image: Float[Tensor, "V C H W"]) -> Output:
        """A forward of the views alone."""
        if self.batchnorm == "joint":
            return classifier(image)
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
            return functional_call(classifier, buffers, (image,))


def _saliency(batch: Batch, row: Int[Tensor, " V"]) -> tuple[Float[Tensor, "V H W"], Float[Tensor, "V H W"]]:
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
    saliency = torch.where(high > low, minmax(mask), high)
    return torch.where(unknown < 1, saliency * (1 - unknown), 0.0), unknown
