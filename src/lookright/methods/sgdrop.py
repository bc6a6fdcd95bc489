"""SGDrop: dropout of what speaks loudest for the label."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from lookright.attribution.gradient import feature_gradient
from lookright.attribution.precision import at_least_float32
from lookright.batch import Batch
from lookright.classifier import Classifier, evaluating
from lookright.errors import require_between, require_one_of
from lookright.methods.map_guidance import explained
from lookright.methods.method import Loss, Method
from lookright.tasks import Task, cross_entropy


class SGDrop(Method):
    """Trains without the most salient share of the last features: F ← F · 1[s below its (1 − ρ)-quantile].

    Bertoin, Sanchez, Zouitine, Rachelson, "The Overfocusing Bias of Convolutional Neural Networks: A Saliency-Guided
    Regularization Approach", 2024 (arXiv 2409.17370). s = |F ⊙ ∂y_label/∂F|, for each image. We know the abstract and
    others' accounts: that a quantile decides is the paper's; the saliency, ρ, and what is dropped as one are ours. Its
    variant with an exponential mean of the saliency is not here.

    The saliency is taken in eval mode, in a forward of its own, so that BatchNorm counts the images once.

    Args:
        share: ρ, of the features that are dropped.
        unit: what is dropped as one: a `feature`, which is one channel in one cell, or a whole `cell`, whose saliency
            is the sum over its channels.
        absolute: whether features that speak against the label are salient, too.

    Raises:
        InputError: an argument out of range or none of its choices.
    """

    def __init__(self, share: float = 0.1, unit: Literal["feature", "cell"] = "feature", absolute: bool = True) -> None:
        super().__init__()
        require_between("share", share, 0, 1)
        require_one_of("unit", unit, ("feature", "cell"))
        self.share = share
        self.unit = unit
        self.absolute = absolute
        self._keep: Tensor | None = None

    def forward(self, classifier: Classifier, batch: Batch, task: Task = cross_entropy) -> Loss:
        """The task on what is left; outside training, plain."""
        self.check(batch)
        if self.training:
            self._keep = self.keep(classifier, batch)
        try:
            return super().forward(classifier, batch, task)
        finally:
            self._keep = None

    def edit(self, features: Float[Tensor, "N C h w"]) -> Float[Tensor, "N C h w"]:
        """The features that are kept."""
        return features if self._keep is None else features * self._keep.to(features.dtype)

    def keep(self, classifier: Classifier, batch: Batch) -> Float[Tensor, "B _ h w"]:
        """0 where a feature or a cell is dropped, 1 elsewhere."""
        with evaluating(classifier), torch.enable_grad():
            output = classifier(batch["image"])
            gradient = feature_gradient(output, explained(output, batch["label"])).detach()
        saliency = at_least_float32(output.features.detach()) * gradient
        if self.unit == "cell":
            saliency = saliency.sum(1, keepdim=True)
        if self.absolute:
            saliency = saliency.abs()
        most = saliency.flatten(1).topk(int(self.share * saliency[0].numel())).indices
        return torch.ones_like(saliency).flatten(1).scatter(1, most, 0.0).view_as(saliency)
