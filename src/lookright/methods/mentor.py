"""MENTOR: the backbone first learns to draw human saliency."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from lookright.attribution.precision import at_least_float32
from lookright.batch import Batch, mask_on_grid, mask_weight, mean_over_masked
from lookright.classifier import Classifier, Output
from lookright.errors import InputError, require_between
from lookright.methods.map_guidance import mean_over_known, share_inside, stretched
from lookright.methods.masker import MaskEstimator, require_hidden
from lookright.methods.method import Loss, Method, Views, require_channels
from lookright.methods.stochastic import Stochastic
from lookright.tasks import Task, cross_entropy


class SaliencyRegression(Stochastic):
    """The first training: a decoder draws the mask from the last features; no label is used, and the head stays.

    Args:
        hidden: channels of the decoder, a multiple of 8.
    """

    is_base = True
    needs = frozenset({"mask", "unused_parameters"})

    def __init__(self, hidden: int) -> None:
        super().__init__(seed=0)
        self.hidden = hidden
        self.decoder: MaskEstimator | None = None

    def attach(self, classifier: Classifier, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Build the decoder, unless it is there already."""
        if self.decoder is None:
            channels = classifier.class_weight.shape[1]
            self.decoder = self.built(lambda: MaskEstimator(channels, self.hidden), classifier)
        super().attach(classifier, optimizer)

    def forward(self, classifier: Classifier, batch: Batch, task: Task = cross_entropy) -> Loss:
        """The distance alone, which leaves the head without a gradient."""
        self.check(batch)
        output = classifier(batch["image"])
        return Loss({"task": output.features.new_zeros(())} | self.guidance(classifier, output, batch))

    def guidance(
        self, classifier: Classifier, output: Output, batch: Batch, views: Views | None = None
    ) -> dict[str, Float[Tensor, ""]]:
        """One term, `mentor`: the mean squared distance over the pixels."""
        if self.decoder is None:
            raise InputError("MENTOR has no decoder yet: call method.attach(classifier, optimizer) before training.")
        height, width = batch["image"].shape[2:]
        require_channels("MENTOR", output.features, self.decoder.channels)
        logit = at_least_float32(self.decoder(output.features))
        saliency = functional.interpolate(logit[:, None], (height, width), mode="bilinear")[:, 0].sigmoid()
        distance = saliency.square().mean((1, 2))
        if "mask" in batch:
            inside, outside = mask_on_grid(batch, (height, width))
            known = inside + outside
            human = stretched(share_inside(inside, outside), known)
            distance = mean_over_known((saliency - human).square(), known)
        return {"mentor": mean_over_masked(distance, mask_weight(batch))}

    def finish(self, classifier: Classifier, batches: Callable[[str], Iterable[Batch]]) -> dict[str, Any]:
        """The second training begins with these weights."""
        return {"hands_on_weights": True}


class MENTOR(Method):
    """Two trainings: the backbone learns to draw the masks, without labels; then the classifier is trained as usual.

    Crum, Czajka, "MENTOR: Human Perception-Guided Pretraining for Increased Generalization", WACV workshops 2025 (arXiv
    2310.19545). The first minimises the mean squared distance between σ(decoder(F)), enlarged to the image, and the
    human saliency, min-max normalised, over the pixels of which something is known. Then the decoder is dropped, and
    the task's own training begins with the backbone's weights and a fresh head.

    The authors' autoencoder is a U-Net++, whose decoder reads every stage of the backbone and is dropped with what it
    knows; here it reads the last features alone, those that the head will read. They train it by Adam at 1e-4 and take
    its best epoch, then the classifier by SGD; here both trainings have the settings of the run, and the first hands
    over its last step. Other methods can be added to the second, as the authors do: `MENTOR() + CYBORG()`.

    Args:
        first_epochs: of the first training; 10 in the authors' code.
        hidden: channels of the decoder, a multiple of 8.

    Raises:
        InputError: an argument out of range; in the first step, features of other channels than the head reads.
    """

    needs = frozenset({"mask", "label"})

    def __init__(self, first_epochs: int = 10, hidden: int = 64) -> None:
        super().__init__()
        require_between("first_epochs", first_epochs, 1)
        require_hidden(hidden)
        self.first_epochs = first_epochs
        self.hidden = hidden

    def first(self) -> tuple[Method, int]:
        """The first training."""
        return SaliencyRegression(self.hidden), self.first_epochs
