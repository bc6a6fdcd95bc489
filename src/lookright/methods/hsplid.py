"""HSPLID: an embedding in two parts, of which the head reads one."""

from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from lookright.attribution.precision import at_least_float32
from lookright.batch import Batch
from lookright.classifier import Classifier, Output
from lookright.errors import InputError, require_between
from lookright.methods.method import Method, Views, require_classes

Moments = tuple[Float[Tensor, " K"], Float[Tensor, "K D"], Float[Tensor, " D"]]


class HSPLID(Method):
    """Splits the embedding z into salient values, which the head reads and which forget the image, and the others.

    Miklautz et al., "H-SPLID: HSIC-based Saliency Preserving Latent Information Decomposition", NeurIPS 2025 (arXiv
    2510.20627). A value of z is the more salient, the less it scatters within the classes (a) compared with all images
    (b): β = b² / (a² + b²), and it is of the salient part S where β ≥ ½ + variation. With the mean μ_y of a class, μ of
    all images, K classes and HSIC, which measures dependence,

        L = L_CE + λ_s · mean_b Σ β² (z − μ_y)² / K + λ_n · mean_b Σ (1 − β)² (z − μ)²
                 + ρ_x · HSIC(x, z_S) + ρ_y · HSIC(y, z_N).

    The head reads z_S alone: after each step of the optimizer its weights on the other values are set to 0, so that the
    plain model needs no mask. No term of HSIC is taken, and no weight set to 0, where a part has one value or none. It
    needs no masks.

    As the authors' code, HSIC is the normalised one, with Gaussian kernels of variance σ² times the number of values
    (for labels: a linear kernel). Their code multiplies z by the mask in place of clearing the head, and moves means
    and β by schedules of their own; here a, b and the means come from moments that forget at one rate. They begin with
    trained weights; so should you, or give a `warmup`.

    Args:
        salient_weight: λ_s; like the three below as in the authors' script for COCO, divided by their weight of L_CE.
        other_weight: λ_n.
        image_weight: ρ_x.
        label_weight: ρ_y.
        variation: how much above ½ β has to be; 0.025 for COCO, 0.1 for ImageNet.
        sigma: σ.
        momentum: how much of the moments stays after each batch.
        warmup: steps of the optimizer with the task alone; moments are gathered meanwhile.

    Attributes:
        moments: of the classes (K,) images and (K, D) sums of z, and (D,) the sum of z²; None before the first step.

    Raises:
        InputError: an argument out of range; in a step, a model without a single final linear layer, or a task without
            classes.
    """

    needs = frozenset({"label"})

    def __init__(
        self,
        salient_weight: float = 0.01,
        other_weight: float = 0.02,
        image_weight: float = 0.05,
        label_weight: float = 0.005,
        variation: float = 0.025,
        sigma: float = 5.0,
        momentum: float = 0.99,
        warmup: int = 0,
    ) -> None:
        super().__init__()
        weights = {"salient_weight": salient_weight, "other_weight": other_weight}
        weights |= {"image_weight": image_weight, "label_weight": label_weight, "warmup": warmup}
        for name, value in weights.items():
            require_between(name, value)
        require_between("variation", variation, 0, 0.5)
        require_between("sigma", sigma, 0.001)
        require_between("momentum", momentum, 0, 1)
        self.salient_weight = salient_weight
        self.other_weight = other_weight
        self.image_weight = image_weight
        self.label_weight = label_weight
        self.variation = variation
        self.sigma = sigma
        self.momentum = momentum
        self.warmup = warmup
        self.moments: Moments | None = None
        self._clearing: Any = None

    @property
    def warmup_steps(self) -> int:
        """Steps of the task alone."""
        return self.warmup

    def attach(self, classifier: Classifier, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Clear the head after each step of the optimizer."""
        super().attach(classifier, optimizer)
        if optimizer is not None:
            if self._clearing is not None:
                self._clearing.remove()
            self._clearing = optimizer.register_step_post_hook(lambda *_: self._clear(classifier))

    def guidance(
        self, classifier: Classifier, output: Output, batch: Batch, views: Views | None = None
    ) -> dict[str, Float[Tensor, ""]]:
        """Four terms, `hsplid_salient`, `hsplid_other`, `hsplid_image` and `hsplid_label`; none in the warm-up."""
        label = batch["label"]
        require_classes(self, output, label)
        embedding = at_least_float32(output.embedding)
        classes, width = classifier.class_weight.shape
        if embedding.shape[1] != width:
            raise InputError(
                f"HSPLID splits what the final linear layer reads, {width} values, and the embedding has "
                f"{embedding.shape[1]}. Take a model with one such layer."
            )
        if self.training or self.moments is None:
            self._observe(embedding.detach(), label, classes)
        assert self.moments is not None
        if self.step < self.warmup:
            return {}
        count, total, _ = self.moments
        mean_of_class = total / count.clamp_min(1e-12)[:, None]
        mean = total.sum(0) / count.sum()
        beta, salient = self.beta(), self.salient()
        within = (beta.square() * (embedding - mean_of_class[label]).square()).sum(1).mean() / classes
        about = ((1 - beta).square() * (embedding - mean).square()).sum(1).mean()
        of_image = of_label = embedding.new_zeros(())
        if _is_split(salient):
            one_hot = functional.one_hot(label, classes).to(embedding.dtype)
            with torch.autocast(embedding.device.type, enabled=False):
                seen, hidden = (self._gaussian(embedding[:, part]) for part in (salient, ~salient))
                image = self._gaussian(batch["image"].flatten(1).to(embedding.dtype))
                of_image, of_label = normalised_hsic(image, seen), normalised_hsic(one_hot @ one_hot.T, hidden)
        return {
            "hsplid_salient": self.salient_weight * within,
            "hsplid_other": self.other_weight * about,
            "hsplid_image": self.image_weight * of_image,
            "hsplid_label": self.label_weight * of_label,
        }

    def beta(self) -> Float[Tensor, " D"]:
        """β of each value; 0 where it is always the same."""
        assert self.moments is not None
        count, total, square = self.moments
        explained = (total.square() / count.clamp_min(1e-12)[:, None]).sum(0)
        within = (square - explained).clamp_min(0) / count.sum()
        about = (square - total.sum(0).square() / count.sum()).clamp_min(0) / count.sum()
        size = within.square() + about.square()
        return about.square() / torch.where(size > 0, size, 1.0)

    def salient(self) -> Bool[Tensor, " D"]:
        """Which values are of the salient part."""
        return self.beta() >= 0.5 + self.variation

    def get_extra_state(self) -> dict[str, Any]:
        """With the moments."""
        return super().get_extra_state() | {"moments": self.moments}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Go on with the moments where a checkpoint left them."""
        super().set_extra_state(state)
        self.moments = None if state["moments"] is None else tuple(state["moments"])

    def _observe(self, embedding: Float[Tensor, "B D"], label: Int[Tensor, " B"], classes: int) -> None:
        """Moments of this batch, and less of those before."""
        one_hot = functional.one_hot(label, classes).to(embedding.dtype)
        with torch.autocast(embedding.device.type, enabled=False):
            new = (one_hot.sum(0), one_hot.T @ embedding, embedding.square().sum(0))
        if dist.is_available() and dist.is_initialized():
            for moment in new:
                dist.all_reduce(moment)
        before = self.moments or tuple(torch.zeros_like(moment) for moment in new)
        count, total, square = (
            self.momentum * old.to(moment) + moment for old, moment in zip(before, new, strict=True)
        )
        self.moments = (count, total, square)

    def _gaussian(self, values: Float[Tensor, "B d"]) -> Float[Tensor, "B B"]:
        size = values.square().sum(1)
        distance = (size[:, None] + size - 2 * values @ values.T).clamp_min(0)
        return torch.exp(-distance / (2 * self.sigma**2 * values.shape[1]))

    @torch.no_grad()
    def _clear(self, classifier: Classifier) -> None:
        """The head's weights on values that are not salient become 0."""
        if self.moments is None or self.step < self.warmup:
            return
        salient = self.salient()
        if _is_split(salient):
            classifier.class_weight[:, ~salient] = 0


def _is_split(salient: Bool[Tensor, " D"]) -> bool:
    return int(salient.sum()) > 1 and int((~salient).sum()) > 1


def normalised_hsic(
    first: Float[Tensor, "B B"], second: Float[Tensor, "B B"], epsilon: float = 1e-5
) -> Float[Tensor, ""]:
    """tr(R S), R = G (G + ε B I)⁻¹ of the centred kernel matrix G of the first, S of the second; ε for stability.

    Fukumizu et al., "Kernel Measures of Conditional Dependence", NeurIPS 2007: 0 where nothing depends.

    >>> same = torch.eye(2).repeat_interleave(2, 0) @ torch.eye(2).repeat_interleave(2, 0).T
    >>> other = torch.eye(2).repeat(2, 1) @ torch.eye(2).repeat(2, 1).T
    >>> round(float(normalised_hsic(same, same)), 3), round(abs(float(normalised_hsic(same, other))), 3)
    (1.0, 0.0)
    """
    identity = torch.eye(len(first), dtype=first.dtype, device=first.device)
    centring = identity - 1 / len(first)
    ridge = epsilon * len(first) * identity
    shares = []
    for kernel in (first, second):
        centred = centring @ kernel @ centring
        shares.append(torch.linalg.solve(centred + ridge, centred))
    return (shares[0] * shares[1].T).sum()
