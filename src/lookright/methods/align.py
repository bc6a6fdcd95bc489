"""ALIGN: a masker and a classifier that teach each other."""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from lookright.attribution import class_map, minmax
from lookright.batch import Batch, mask_on_grid, mask_weight, mean_over_masked
from lookright.classifier import Classifier, evaluating
from lookright.errors import InputError
from lookright.methods.dre import DRE
from lookright.methods.masker import Masker, UNetMasker
from lookright.methods.method import Loss
from lookright.methods.stochastic import Stochastic
from lookright.perturb import Perturbation, ZeroFill, blend

ZERO = ZeroFill()
MASKERS = {"light": Masker, "unet": UNetMasker}
WATCH_EVERY = 50


class ALIGN(Stochastic):
    """Learns masks that keep the prediction and whose complement destroys it, and pulls the class map towards them.

    Hong, Chen, Chen, Lin, Chen, Liao, "From Attribution to Action: Jointly ALIGNing Predictions and Explanations",
    AAAI 2026 (arXiv 2511.06944). With M the masker's mask of x, p_y the label's probability and A its class map,

        masker:       (p_y(x·M) − p_y(x·(1 − M)) − 1)² + λ1 · mean M + λ2 · mean |∇M|
        classifier:   L_CE + λ3 · BCE(A, M) + λ4 · (DRE's regulariser)

    """

    takes_turns = True

    def __init__(
        self,
        weight: float = 1.0,
        sparsity: float = 0.1,
        smoothness: float = 0.1,
        regularisation: float = 1.0,
        warmup: int = 1000,
        masker_warmup: int = 0,
        masker_steps: int = 1,
        classifier_steps: int = 1,
        ramp: int = 0,
        masks: Literal["learned", "given", "grey", "random"] = "learned",
        masker: Literal["light", "unet"] = "light",
        fill: Perturbation = ZERO,
        epsilon: float = 0.05,
        normalise: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(seed)
        self.weight = weight
        self.sparsity = sparsity
        self.smoothness = smoothness
        self.warmup = warmup
        self.masker_warmup = masker_warmup
        self.masker_steps = masker_steps
        self.classifier_steps = classifier_steps
        self.ramp = ramp
        self.masks = masks
        self.fill = fill
        self.epsilon = epsilon
        self.normalise = normalise
        self.masker_name = masker
        self.masker: nn.Module | None = None
        self.regulariser = DRE(regularisation, 0.5 * regularisation, 0.1 * regularisation, seed=seed)
        self.regularisation = regularisation
        self.step = 0
        self.watched: dict[str, Tensor] = {}
        self.collapsed = False

    @property
    def needs_mask(self) -> bool:  # type: ignore[override]
        """Only where the masks are given."""
        return self.masks == "given"

    @property
    def turn(self) -> Literal["classifier", "masker"]:
        """Whose turn the next step of the optimiser is."""
        step = self.step - self.warmup
        if self.masks != "learned" or step < 0:
            return "classifier"
        step -= self.masker_warmup
        if step < 0 or step % (self.masker_steps + self.classifier_steps) < self.masker_steps:
            return "masker"
        return "classifier"

    def bind(self, classifier: Classifier) -> None:
        """Build the masker for the images, the device and the dtype of the classifier."""
        if self.masks == "learned":
            parameter = next(classifier.parameters())
            channels = next(module.in_channels for module in classifier.modules() if isinstance(module, nn.Conv2d))
            self.masker = MASKERS[self.masker_name](channels).to(parameter.device, parameter.dtype)

    def forward(self, classifier: Classifier, batch: Batch) -> Loss:
        """The loss of whoever's turn it is; the other side is not in its graph."""
        if self.masks == "learned" and self.masker is None:
            raise InputError("ALIGN has no masker yet: call method.bind(classifier) before you build the optimizer.")
        return (
            self._masker_loss(classifier, batch) if self.turn == "masker" else self._classifier_loss(classifier, batch)
        )

    def after_step(self) -> None:
        """Count the step, and now and then look whether the masker has collapsed."""
        if self.turn == "masker" and self.step % WATCH_EVERY == 0:
            self._warn_if_collapsed()
        self.step += 1

    def get_extra_state(self) -> dict[str, Any]:
        """Where in the turns training is."""
        return super().get_extra_state() | {"step": self.step}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Go on in the middle of a turn."""
        super().set_extra_state(state)
        self.step = state["step"]

    def _masker_loss(self, classifier: Classifier, batch: Batch) -> Loss:
        assert self.masker is not None
        image, size = batch["image"], len(batch["image"])
        mask = self.masker(image)
        keep = torch.cat([mask, 1 - mask])
        both = image.repeat(2, 1, 1, 1)
        views = blend(both, self.fill(both, keep, self.generator()), keep)
        with _frozen(classifier):
            probability = classifier(views).logits.softmax(1)
        probability = probability.gather(1, batch["label"].repeat(2)[:, None])[:, 0]
        distance = probability[:size] - probability[size:]
        terms = {
            "align_distance": (distance - 1).square().mean(),
            "align_sparsity": self.sparsity * mask.mean(),
            "align_smoothness": self.smoothness * total_variation(mask),
        }
        mask = mask.detach()
        self.watched = {"mask_mean": mask.mean(), "mask_spread": mask.std((1, 2)).mean()}
        return Loss(terms, {"distance": distance.detach().mean(), **_describe(mask)})

    def _classifier_loss(self, classifier: Classifier, batch: Batch) -> Loss:
        views = self.regulariser.views(batch) if self.regularisation else None
        image, size = batch["image"], len(batch["image"])
        joint = classifier(image if views is None else torch.cat([image, views.image]))
        output = joint.rows(0, size)
        terms = {"cross_entropy": functional.cross_entropy(output.logits, batch["label"])}
        if views is not None:
            views = replace(views, output=joint.rows(size, 2 * size))
            terms |= self.regulariser.guidance(classifier, output, batch, views)
        if self.step < self.warmup:
            return Loss(terms)
        mask, weight = self._mask(batch)
        map = minmax(class_map(classifier, output, batch["label"]))
        target = mask_on_grid(mask.to(map.dtype), (map.shape[1], map.shape[2]))
        if self.normalise:
            target = minmax(target)
        map = self.epsilon + (1 - 2 * self.epsilon) * map
        with torch.autocast(map.device.type, enabled=False):
            loss = functional.binary_cross_entropy(map, target, reduction="none").mean((1, 2))
        share = min(1.0, (self.step - self.warmup + 1) / self.ramp) if self.ramp else 1.0
        terms["align"] = share * self.weight * mean_over_masked(loss, weight)
        return Loss(terms, _describe(mask))

    @torch.no_grad()
    def _mask(self, batch: Batch) -> tuple[Float[Tensor, "B H W"], Float[Tensor, " B"]]:
        """The masks to follow, and how much each counts."""
        image = batch["image"]
        every = image.new_ones(len(image))
        if self.masker is not None:
            with evaluating(self.masker):
                return self.masker(image), every
        if self.masks == "given":
            return batch["mask"], mask_weight(batch)
        if self.masks == "grey":
            return minmax(image.mean(1)), every
        coarse = torch.rand(len(image), 1, 7, 7, generator=self.generator()).to(image)
        return functional.interpolate(coarse, image.shape[2:], mode="bilinear")[:, 0], every

    def _warn_if_collapsed(self) -> None:
        mean, spread = (float(self.watched[name]) for name in ("mask_mean", "mask_spread"))
        if mean > 0.99:
            state = "marks everything"
        elif mean < 0.01:
            state = "marks nothing"
        elif spread < 0.01:
            state = "gives every pixel the same value"
        else:
            self.collapsed = False
            return
        if not self.collapsed:
            warnings.warn(f"ALIGN's masker {state} (mean {mean:.3f}).", stacklevel=2)
        self.collapsed = True


def total_variation(mask: Float[Tensor, "B H W"]) -> Float[Tensor, ""]:
    """Mean absolute difference of horizontal neighbours plus that of vertical ones."""
    return mask.diff(dim=2).abs().mean() + mask.diff(dim=1).abs().mean()


def _describe(mask: Float[Tensor, "B H W"]) -> dict[str, Float[Tensor, ""]]:
    entropy = torch.special.entr(mask) + torch.special.entr(1 - mask)
    return {"mask_mean": mask.mean(), "mask_entropy": entropy.mean() / math.log(2)}


@contextmanager
def _frozen(module: nn.Module) -> Iterator[None]:
    """Eval mode and no gradients for the parameters; every flag is given back."""
    learning = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        with evaluating(module):
            yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)
