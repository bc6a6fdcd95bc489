"""ADL: attention-based dropout."""

import torch
from jaxtyping import Float
from torch import Tensor

from lookright.errors import require_between
from lookright.methods.stochastic import Stochastic


class ADL(Stochastic):
    """Hides the strongest features now and then, so that the model must find evidence elsewhere, too.

    Choe, Shim, "Attention-based Dropout Layer for Weakly Supervised Object Localization", CVPR 2019. With m the mean
    over the channels of the features F, which become, in training only,

        F · 1[m < threshold · max m]   with probability 1 − keep,      F · sigmoid(m)   otherwise,

    one draw for the whole batch. It needs no masks. The authors put it behind several layers; here it acts on the last
    spatial features, those of `Output.features`. The classifier that is trained stays as it is.

    Args:
        keep: probability that nothing is hidden; 0.25 in the authors' code.
        threshold: share of the maximum from which a cell is hidden; 0.9 in their script for CUB, 0.5 in others.
        seed: of the draws.

    Raises:
        InputError: keep or threshold outside [0, 1].
    """

    def __init__(self, keep: float = 0.25, threshold: float = 0.9, seed: int = 0) -> None:
        super().__init__(seed)
        for name, value in {"keep": keep, "threshold": threshold}.items():
            require_between(name, value, 0, 1)
        self.keep = keep
        self.threshold = threshold

    def edit(self, features: Float[Tensor, "N C h w"]) -> Float[Tensor, "N C h w"]:
        """Hides or weighs the features of the whole batch; outside training they stay as they are."""
        if not self.training:
            return features
        attention = features.mean(1, keepdim=True)
        if torch.rand((), generator=self.generator()) < self.keep:
            return features * attention.sigmoid()
        return features * (attention < self.threshold * attention.amax((2, 3), keepdim=True))
