"""ALIGN: a masker and a classifier that teach each other."""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from lookright.attribution import Map, minmax
from lookright.batch import Batch, mask_on_grid, mask_weight, mean_over_masked
from lookright.classifier import Classifier, Output, evaluating, is_checkpointed
from lookright.errors import InputError, require_between, require_one_of
from lookright.methods.dre import DRE
from lookright.methods.haics import cell_cross_entropy
from lookright.methods.map_guidance import known_part, needs_of, share_inside, stretched, trainable_map
from lookright.methods.masker import Masker, UNetMasker
from lookright.methods.method import Loss, Views, require_classes
from lookright.methods.stochastic import Stochastic
from lookright.perturb import Blur, Perturbation, blend
from lookright.tasks import Task, cross_entropy

BLUR = Blur(sigma=0.15)
MASKERS = {"light": Masker, "unet": UNetMasker}
Masks = Literal["learned", "given", "grey", "random"]
WATCH_EVERY = 50
FLAT = 0.02
"""Range on the map's grid up to which a mask is flat."""


class ALIGN(Stochastic):
    """Learns masks that keep the prediction and whose complement destroys it, and pulls the class map towards them.

    Hong, Chen, Chen, Lin, Chen, Liao, "From Attribution to Action: Jointly ALIGNing Predictions and Explanations",
    AAAI 2026 (arXiv 2511.06944). With the masker's mask M of an image x, what stands in for the pixels taken away T(x),
    the probability p of the label and its class map A,

        masker       (p(M·x + (1 − M)·T(x)) − p((1 − M)·x + M·T(x)) − 1)² + λ1 · mean M + λ2 · mean |∇M|
        classifier   L_CE + λ3 · BCE(A, M) + λ4 · the three terms of DRE with its weights

    First the classifier learns alone, without the third term, for `warmup` steps of the optimiser; then the masker
    alone, for `masker_warmup`; then they take turns. Whose turn it is not stays as it is, BatchNorm statistics
    included, and keeps `grad = None`, so that no optimiser moves it. `attach` builds the masker, gives it to the
    optimizer and counts its steps. For turns of an epoch, give its number of steps.

    The paper warms the classifier up for 200 epochs and multiplies masks onto the image (T = `ZeroFill`). Its weights,
    its network and how it normalises A are not known to us; see docs/methods/align.md for how the defaults were found.

    Args:
        weight: λ3.
        sparsity: λ1. The share of the image that a mask covers falls as it grows.
        smoothness: λ2.
        regularisation: λ4; 0 costs no mixtures.
        warmup: steps of the classifier before anything else.
        masker_warmup: steps of the masker before the first turn of the classifier that follows its masks.
        masker_steps: steps in a turn of the masker.
        classifier_steps: steps in a turn of the classifier.
        ramp: steps over which λ3 grows from 0, from the end of `masker_warmup` on.
        fill: T.
        masker_lr: the masker's learning rate. It starts from scratch whatever the classifier
            starts from, and hardly learns at a rate for fine-tuning. Meant for Adam and its kin.
        channels: of the images, for the masker.
        masker: `light`, four convolutions, or `unet`, a small U-Net that sees more of the image at a time.
        masks: `learned`, or fixed ones instead, for comparison: `given` with the data, the image's `grey` values, or
            `random` smooth ones, new in each step. Fixed masks are followed from the end of `warmup` on.
        normalise_mask: scale the mask to [0, 1] on the grid of the map, as the map itself is. A mask that is the same
            everywhere counts nothing.
        epsilon: the map is scaled to [ε, 1 − ε], which bounds the gradient of the logarithm by 1/ε.
        seed: of mixtures, random masks and random fills.
        map: A, see `MapGuidance`; also that of the regulariser.

    Raises:
        InputError: an argument is none of its choices, or a turn has no step.
    """

    def __init__(
        self,
        weight: float = 3.0,
        sparsity: float = 3.0,
        smoothness: float = 0.1,
        regularisation: float = 1.0,
        warmup: int = 500,
        masker_warmup: int = 200,
        masker_steps: int = 1,
        classifier_steps: int = 1,
        ramp: int = 0,
        fill: Perturbation = BLUR,
        masker_lr: float = 2e-3,
        channels: int = 3,
        masker: Literal["light", "unet"] = "light",
        masks: Masks = "learned",
        normalise_mask: bool = True,
        epsilon: float = 0.05,
        seed: int = 0,
        map: str | Map = "class_map",
    ) -> None:
        super().__init__(seed)
        require_one_of("masker", masker, MASKERS)
        require_one_of("masks", masks, get_args(Masks))
        for name, value in {"weight": weight, "sparsity": sparsity, "smoothness": smoothness}.items():
            require_between(name, value)
        for name, steps in {"warmup": warmup, "masker_warmup": masker_warmup, "ramp": ramp}.items():
            require_between(name, steps)
        require_between("regularisation", regularisation)
        require_between("masker_lr", masker_lr, 0, 1e4)
        require_between("channels", channels, 1)
        require_between("epsilon", epsilon, 0.0001, 0.5)
        require_between("masker_steps", masker_steps, 1)
        require_between("classifier_steps", classifier_steps, 1)
        self.weight = weight
        self.sparsity = sparsity
        self.smoothness = smoothness
        self.regulariser = DRE(regularisation, 0.5 * regularisation, 0.1 * regularisation, seed=seed, map=map)
        self.regularisation = regularisation
        self.warmup = warmup
        self.masker_warmup = masker_warmup
        self.masker_steps = masker_steps
        self.classifier_steps = classifier_steps
        self.ramp = ramp
        self.fill = fill
        self.masker_lr = masker_lr
        self.channels = channels
        self.masker: nn.Module | None = None
        self.masker_kind = masker
        self.masks = masks
        self.normalise_mask = normalise_mask
        self.epsilon = epsilon
        self.needs = frozenset({"label", "mask"} if masks == "given" else {"label"})
        if masks == "learned":
            self.needs |= {"unused_parameters"}
        self.map = map
        self._map = trainable_map(map)
        self.needs |= needs_of(self._map)
        self._watched: dict[str, Tensor] = {}
        self._has_collapsed = False
        self._followed: Tensor | None = None

    @property
    def warmup_steps(self) -> int:
        """Steps before the classifier follows any mask."""
        return self.warmup + (self.masker_warmup if self.masks == "learned" else 0)

    @property
    def turn(self) -> Literal["classifier", "masker"]:
        """Whose turn the next step of the optimiser is."""
        if self.masks != "learned" or self.step < self.warmup:
            return "classifier"
        step = self.step - self.warmup - self.masker_warmup
        if step < 0 or step % (self.masker_steps + self.classifier_steps) < self.masker_steps:
            return "masker"
        return "classifier"

    def attach(self, classifier: Classifier, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Build the masker, on the classifier's device, in its dtype, unless it is there already.

        Its first weights are drawn from the global generator, which a run seeds.
        """
        if self.masks == "learned" and self.masker is None:
            parameter = next(classifier.parameters())
            self.masker = MASKERS[self.masker_kind](self.channels).to(parameter.device, parameter.dtype)
        super().attach(classifier, optimizer)

    def options(self) -> dict[str, Any]:
        """The masker's learning rate."""
        return {"lr": self.masker_lr}

    def forward(self, classifier: Classifier, batch: Batch, task: Task = cross_entropy) -> Loss:
        """The loss of whoever's turn it is; the other side is not in its graph.

        Logs `mask_mean`, `mask_entropy` (mean over the pixels, in bits) and, in the masker's turn, `mask_distance`:
        the mean of p(kept) − p(removed).

        Raises:
            InputError: in training, the method was not attached to the optimizer; the images have other channels than
                `channels`; or, in the masker's turn, activation checkpointing is on.
        """
        self.check(batch)
        if self.masks == "learned" and self.masker is None:
            raise InputError("ALIGN has no masker yet: call method.attach(classifier, optimizer) before training.")
        if self.training and self._counting is None:
            raise InputError(
                "ALIGN takes turns by the steps of the optimizer, and counts none: call "
                "method.attach(classifier, optimizer) before training."
            )
        if self.masker is not None and batch["image"].shape[1] != self.channels:
            raise InputError(
                f"Images of {batch['image'].shape[1]} channels, and channels={self.channels}; expected as many."
            )
        if batch["label"].ndim != 1:
            raise InputError(
                f"Labels have shape {tuple(batch['label'].shape)}, and ALIGN's masks keep and destroy one class; "
                "expected one label an image."
            )
        if self.turn == "masker":
            return self._masker_loss(classifier, batch)
        self._followed = None
        loss = super().forward(classifier, batch, task)
        return loss if self._followed is None else Loss(loss.terms, _describe(self._followed))

    def views(self, batch: Batch) -> Views | None:
        """The mixtures of the regulariser."""
        return self.regulariser.views(batch) if self.regularisation else None

    def guidance(
        self, classifier: Classifier, output: Output, batch: Batch, views: Views | None = None
    ) -> dict[str, Float[Tensor, ""]]:
        """The terms of the regulariser and, after the warm-up, `align`."""
        require_classes(self, output, batch["label"])
        terms = self.regulariser.guidance(classifier, output, batch, views) if self.regularisation else {}
        if self.step < self.warmup:
            return terms
        batch, weight = self._with_masks(batch)
        self._followed = batch["mask"]
        map = self._map(classifier, output, batch["label"])
        inside, outside = mask_on_grid(batch, (map.shape[1], map.shape[2]))
        known = inside + outside
        map, target = minmax(known_part(map, known)), share_inside(inside, outside)
        # A mask that is the same everywhere does not say where to look.
        varies = torch.where(known > 0, target, -torch.inf).amax((1, 2)) - (
            torch.where(known > 0, target, torch.inf).amin((1, 2))
        )
        weight = weight * (varies > FLAT)
        if self.normalise_mask:
            target = stretched(target, known)
        distance = cell_cross_entropy(map, target, known, self.epsilon)
        return terms | {"align": self._ramp() * self.weight * mean_over_masked(distance, weight)}

    def stepped(self, *_: Any) -> None:
        """Count the step, and now and then warn of a masker whose masks say nothing."""
        if self._watched and (self.step - self.warmup + 1) % WATCH_EVERY == 0:
            self._warn_if_collapsed()
        super().stepped()

    def get_extra_state(self) -> dict[str, Any]:
        """Where in the turns training is."""
        return super().get_extra_state() | {"has_collapsed": self._has_collapsed}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Go on in the middle of a turn."""
        super().set_extra_state(state)
        self._has_collapsed = state["has_collapsed"]

    def _masker_loss(self, classifier: Classifier, batch: Batch) -> Loss:
        assert self.masker is not None
        if is_checkpointed(classifier):
            raise InputError(
                "ALIGN and activation checkpointing: the backward of the masker's turn would run the classifier again, "
                "no longer frozen. Switch checkpointing off."
            )
        image, label = batch["image"], batch["label"]
        mask = self.masker(image)
        both, keep = image.repeat(2, 1, 1, 1), torch.cat([mask, 1 - mask])
        with _frozen(classifier):
            output = classifier(blend(both, self.fill(both, keep, self.generator()), keep))
        require_classes(self, output, label)
        logits = output.logits
        kept, removed = logits.softmax(1).gather(1, label.repeat(2)[:, None])[:, 0].chunk(2)
        terms = {
            "align_distance": (kept - removed - 1).square().mean(),
            "align_sparsity": self.sparsity * mask.mean(),
            "align_smoothness": self.smoothness * total_variation(mask),
        }
        mask = mask.detach()
        self._watched = {"mean": mask.mean(), "spread": mask.std((1, 2)).mean()}
        return Loss(terms, {"mask_distance": (kept - removed).detach().mean()} | _describe(mask))

    def _ramp(self) -> float:
        """The share of λ3 in this step."""
        return min(1.0, (self.step + 1 - self.warmup_steps) / self.ramp) if self.ramp else 1.0

    @torch.no_grad()
    def _with_masks(self, batch: Batch) -> tuple[Batch, Float[Tensor, " B"]]:
        """The batch with the masks that the classifier follows, and the weight of each."""
        image = batch["image"]
        if self.masks == "given":
            return {"mask": torch.zeros_like(image[:, 0]), **batch}, mask_weight(batch)
        if self.masker is not None:
            mask = self.masker(image)
        elif self.masks == "grey":
            mask = minmax(image.mean(1))
        else:
            coarse = torch.rand(len(image), 1, 7, 7, generator=self.generator()).to(image)
            mask = functional.interpolate(coarse, image.shape[2:], mode="bilinear")[:, 0]
        return {"image": image, "label": batch["label"], "mask": mask}, image.new_ones(len(image))

    def _warn_if_collapsed(self) -> None:
        mean, spread = float(self._watched["mean"]), float(self._watched["spread"])
        if mean > 0.99:
            says, remedy = "that everything is evidence", "Raise `sparsity`"
        elif mean < 0.01:
            says, remedy = "that nothing is evidence", "Lower `sparsity`"
        elif spread < 0.01:
            says, remedy = "the same of every pixel", "Give the classifier a longer `warmup`, change `sparsity`"
        else:
            self._has_collapsed = False
            return
        if not self._has_collapsed:
            warnings.warn(
                f"ALIGN's masker has collapsed: in step {self.step} its masks say {says} (mean {mean:.3f}), so that "
                f"the classifier learns nothing from them. {remedy} or try another `fill`.",
                stacklevel=3,
            )
        self._has_collapsed = True


def total_variation(mask: Float[Tensor, "B H W"]) -> Float[Tensor, ""]:
    """The mean absolute difference of horizontal neighbours plus that of vertical ones.

    >>> total_variation(torch.tensor([[[0.0, 1.0], [0.0, 1.0]]]))
    tensor(1.)
    """
    return mask.diff(dim=2).abs().mean() + mask.diff(dim=1).abs().mean()


def _describe(mask: Float[Tensor, "B H W"]) -> dict[str, Float[Tensor, ""]]:
    entropy = torch.special.entr(mask) + torch.special.entr(1 - mask)
    return {"mask_mean": mask.mean(), "mask_entropy": entropy.mean() / math.log(2)}


@contextmanager
def _frozen(module: nn.Module) -> Iterator[None]:
    """Eval mode and no graph for the parameters; modes and flags are given back."""
    learning = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        with evaluating(module):
            yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)
