"""What the classifier does with the evidence and with the rest of the image, asked without a map.

A map may mislead; what happens when pixels go cannot. Inside is what the mask marks, outside the rest; pixels that
`ignore` marks are neither, and stay in neither view. Undefined where the mask has no pixel of the kind that is needed.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchmetrics import Metric

from lookright.attribution.target import predicted_class
from lookright.classifier import Classifier, evaluating
from lookright.errors import InputError
from lookright.metrics.alignment import inside_and_outside
from lookright.metrics.mean import MeanOverDefined
from lookright.perturb import INPAINT, Perturbation, blend

Ignore = Float[Tensor, "B H W"] | None


def evidence_accuracy(
    classifier: Classifier,
    image: Float[Tensor, "B C H W"],
    mask: Float[Tensor, "B H W"],
    label: Int[Tensor, " B"],
    *,
    ignore: Ignore = None,
    fill: Perturbation = INPAINT,
    generator: torch.Generator | None = None,
) -> Float[Tensor, " B"]:
    """1 where the classifier says the label of the evidence alone, everything else being filled; else 0.

    Undefined for an empty mask. What fills may look like nothing that was trained on, and the outline of the evidence
    stays visible: compare methods with each other, and with the accuracy on whole images.

    Args:
        classifier: gives the logits; runs in eval mode.
        image: (B, C, H, W), the normalised model input.
        mask: (B, H, W) in [0, 1].
        label: (B,) class of each image.
        ignore: (B, H, W) in [0, 1].
        fill: what stands in for what is away.
        generator: for a random `fill`.
    """
    inside, _ = inside_and_outside(mask, ignore)
    return _right_with(classifier, image, inside, label, fill, generator)


def scenery_accuracy(
    classifier: Classifier,
    image: Float[Tensor, "B C H W"],
    mask: Float[Tensor, "B H W"],
    label: Int[Tensor, " B"],
    *,
    ignore: Ignore = None,
    fill: Perturbation = INPAINT,
    generator: torch.Generator | None = None,
) -> Float[Tensor, " B"]:
    """1 where the classifier says the label of the scenery alone, the evidence being filled; else 0.

    Above chance: the scenery gives the label away. Below: it misleads. Undefined for a full mask. Arguments as in
    `evidence_accuracy`; of images with an empty mask all is scenery.
    """
    _, outside = inside_and_outside(mask, ignore)
    return _right_with(classifier, image, outside, label, fill, generator)


def accuracy_under_noise(
    classifier: Classifier,
    image: Float[Tensor, "B C H W"],
    mask: Float[Tensor, "B H W"],
    label: Int[Tensor, " B"],
    *,
    generator: torch.Generator,
    ignore: Ignore = None,
    sigma: float = 0.25,
    mean: tuple[float, ...] = (0.0,),
    std: tuple[float, ...] = (1.0,),
) -> Float[Tensor, "B 2"]:
    """1 where the classifier says the label despite noise on the evidence (first column), on the scenery (second).

    The same Gaussian noise is added inside and outside, to pixels in [0, 1], which are clipped to [0, 1] then.
    Undefined for an empty and for a full mask.

    Moayeri et al., "A Comprehensive Study of Image Classification Model Sensitivity to Foregrounds, Backgrounds, and
    Visual Attributes", CVPR 2022. `sigma` is that of "Hard ImageNet", NeurIPS 2022.

    Args:
        classifier: as in `evidence_accuracy`, and `image`, `mask`, `label`, `ignore`.
        image: (B, C, H, W).
        mask: (B, H, W).
        label: (B,).
        generator: of the noise.
        ignore: (B, H, W).
        sigma: of the noise, where pixels are in [0, 1].
        mean: of each channel, subtracted when the input was normalised; one number for all.
        std: that it was divided by.
    """
    inside, outside = inside_and_outside(mask, ignore)
    if sigma < 0:
        raise InputError(f"sigma={sigma}; expected 0 or more.")
    centre, scale = (torch.as_tensor(values, device=image.device).view(-1, 1, 1) for values in (mean, std))
    pixels = image * scale + centre
    noise = sigma * torch.randn(image.shape, generator=generator, device=generator.device).to(image)
    both = [
        _is_right(classifier, ((pixels + noise * part[:, None]).clamp(0, 1) - centre) / scale, label)
        for part in (inside, outside)
    ]
    defined = _has_pixels(inside) & _has_pixels(outside)
    return torch.where(defined[:, None], torch.stack(both, 1), torch.nan)


def relative_foreground_sensitivity(right: Float[Tensor, "B 2"]) -> Float[Tensor, ""]:
    """(a_scenery − a_evidence) / (2 min(ā, 1 − ā)), from the accuracies under noise on either, ā their mean.

    In [−1, 1]: positive where noise on the evidence does more harm, that is where the classifier uses the evidence.
    The denominator is the largest difference that the mean leaves room for. Undefined where ā is 0 or 1 (where the
    authors' code says 0).

    Moayeri et al., CVPR 2022, equation 1, and "Hard ImageNet", NeurIPS 2022.

    Args:
        right: of `accuracy_under_noise`; rows with a NaN are left out.

    >>> relative_foreground_sensitivity(torch.tensor([[1.0, 1.0], [0.0, 1.0], [0.0, 1.0], [0.0, 0.0]]))
    tensor(0.5000)
    """
    evidence, scenery = right[~right.isnan().any(1)].mean(0)
    return _sensitivity(evidence, scenery)


def _sensitivity(evidence: Tensor, scenery: Tensor) -> Tensor:
    mean = (evidence + scenery) / 2
    room = 2 * torch.minimum(mean, 1 - mean)
    return torch.where(room > 0, (scenery - evidence) / room, torch.nan)


def _right_with(
    classifier: Classifier,
    image: Tensor,
    keep: Tensor,
    label: Tensor,
    fill: Perturbation,
    generator: torch.Generator | None,
) -> Tensor:
    right = _is_right(classifier, blend(image, fill(image, keep, generator), keep), label)
    return torch.where(_has_pixels(keep), right, torch.nan)


@torch.no_grad()
def _is_right(classifier: Classifier, image: Tensor, label: Tensor) -> Tensor:
    if len(image) == 0:  # Not every model takes an empty batch.
        return image.new_empty(0)
    with evaluating(classifier):
        return (predicted_class(classifier(image).logits) == label).float()


def _has_pixels(part: Tensor) -> Tensor:
    return (part > 0).flatten(1).any(1)


class _OfOnePart(MeanOverDefined):
    function_of_images: Callable[..., Tensor]

    def __init__(self, fill: Perturbation = INPAINT, **kwargs: Any) -> None:
        super().__init__(of=fill, **kwargs)
        self.fill = fill

    def update(  # type: ignore[override]
        self,
        classifier: Classifier,
        image: Float[Tensor, "B C H W"],
        mask: Float[Tensor, "B H W"],
        label: Int[Tensor, " B"],
        generator: torch.Generator | None = None,
        ignore: Ignore = None,
    ) -> None:
        """Count images in; give only those that have a mask."""
        function = type(self).function_of_images
        self.add(function(classifier, image, mask, label, ignore=ignore, fill=self.fill, generator=generator))


class EvidenceAccuracy(_OfOnePart):
    """Mean of `evidence_accuracy`. Arguments as there."""

    higher_is_better = True
    function_of_images = staticmethod(evidence_accuracy)


class SceneryAccuracy(_OfOnePart):
    """Mean of `scenery_accuracy`, of which neither direction is better. Arguments as there."""

    function_of_images = staticmethod(scenery_accuracy)


class RelativeForegroundSensitivity(Metric):
    """`relative_foreground_sensitivity` over batches.

    Args:
        sigma: see `accuracy_under_noise`, and `mean`, `std`.
        mean: of each channel.
        std: of each channel.
        kwargs: of `torchmetrics.Metric`.
    """

    higher_is_better = True
    is_differentiable = False
    full_state_update = False

    right: Tensor
    count: Tensor

    def __init__(
        self,
        sigma: float = 0.25,
        mean: tuple[float, ...] = (0.0,),
        std: tuple[float, ...] = (1.0,),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sigma, self.mean, self.std = sigma, mean, std
        self.add_state("right", torch.zeros(2), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    def update(
        self,
        classifier: Classifier,
        image: Float[Tensor, "B C H W"],
        mask: Float[Tensor, "B H W"],
        label: Int[Tensor, " B"],
        generator: torch.Generator,
        ignore: Ignore = None,
    ) -> None:
        """Count images in; give only those that have a mask."""
        right = accuracy_under_noise(
            classifier,
            image,
            mask,
            label,
            generator=generator,
            ignore=ignore,
            sigma=self.sigma,
            mean=self.mean,
            std=self.std,
        )
        defined = ~right.isnan().any(1)
        self.right += right[defined].sum(0)
        self.count += defined.sum()

    def compute(self) -> Float[Tensor, ""]:
        """Scalar in [−1, 1]; NaN without images, and where all are right or all wrong."""
        return _sensitivity(*(self.right / self.count))
