"""AIM: a binary mask on the features that the label alone teaches."""

import torch
from jaxtyping import Float
from torch import Tensor

from lookright.attribution.precision import at_least_float32
from lookright.batch import Batch
from lookright.classifier import Classifier, Output
from lookright.errors import InputError, require_between
from lookright.methods.masker import MaskEstimator, require_hidden
from lookright.methods.method import Views, require_channels
from lookright.methods.stochastic import Stochastic


class AIM(Stochastic):
    """Lets the model see a share of its own features only, and learn which: L_CE(F·B) + λ · mean_b (r_b − τ)².

    Alshami, Agnihotri, Schiele, Keuper, "AIM: Amending Inherent Interpretability via Self-Supervised Masking", ICCV
    2025 (arXiv 2508.11502). A small network reads the features F and gives each cell a logit, from which a binary mask
    B is drawn (Gumbel-Softmax, straight through); r is the share of cells that are on, and τ falls linearly from 1 to
    `area`. Of what is left over, features have to be genuine to serve: that is the paper's hypothesis. It needs no
    masks.

    The paper masks and classifies at several stages of a feature pyramid of its own; here the mask is on the last
    features (its AIM[1, τ]) and the user's own head classifies. There the mask is part of the prediction, always; so it
    is here with `classifier(image, edit=method.eval().edit)`. The plain model, which a run saves and evaluates, sees
    all its features. For it there is a term of ours, the share of the features' energy where the mask is off:

        + λ_r · mean_b Σ (1 − B) |F|² / Σ |F|².

    At 0 both models are the same where the head begins with a mean over the cells.

    Args:
        weight: λ; the paper's 6.
        area: τ at last; 0.25 or 0.35 in the paper, for data with a shortcut.
        anneal: steps of the optimizer over which τ falls; the paper's number is not known to us.
        rest_weight: λ_r; 0 is the paper.
        hidden: channels of the network that makes the mask, a multiple of 8.
        seed: of its first weights and of all draws.

    Raises:
        InputError: an argument out of range; in `attach`, the features of the model are not known yet; in a step, the
            method was not attached.
    """

    def __init__(
        self,
        weight: float = 6.0,
        area: float = 0.35,
        anneal: int = 1000,
        rest_weight: float = 1.0,
        hidden: int = 64,
        seed: int = 0,
    ) -> None:
        super().__init__(seed)
        require_between("weight", weight)
        require_between("area", area, 0, 1)
        require_between("anneal", anneal)
        require_between("rest_weight", rest_weight)
        require_hidden(hidden)
        self.weight = weight
        self.area = area
        self.anneal = anneal
        self.rest_weight = rest_weight
        self.hidden = hidden
        self.estimator: MaskEstimator | None = None
        self._seen: tuple[Tensor, Tensor] | None = None

    def attach(self, classifier: Classifier, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Build the network that makes the mask, unless it is there already."""
        if self.estimator is None:
            channels = classifier.class_weight.shape[1]
            self.estimator = self.built(lambda: MaskEstimator(channels, self.hidden), classifier)
        super().attach(classifier, optimizer)

    def edit(self, features: Float[Tensor, "N C h w"]) -> Float[Tensor, "N C h w"]:
        """The features under their mask: drawn in training, where its logit is positive elsewhere.

        Raises:
            InputError: there is no mask's network yet, or it is for features of other channels.
        """
        if self.estimator is None:
            raise InputError("AIM has no mask yet: call method.attach(classifier, optimizer) before training.")
        require_channels("AIM", features, self.estimator.channels)
        logit = at_least_float32(self.estimator(features))
        if self.training:
            uniform = torch.rand(logit.shape, generator=self.generator(), dtype=torch.float64).clamp(1e-6, 1 - 1e-6)
            logit = logit + uniform.logit().to(logit)  # the difference of two Gumbel draws
        soft = logit.sigmoid()
        mask = (soft > 0.5).to(soft.dtype) + soft - soft.detach()
        self._seen = features, mask
        return features * mask[:, None].to(features.dtype)

    def guidance(
        self, classifier: Classifier, output: Output, batch: Batch, views: Views | None = None
    ) -> dict[str, Float[Tensor, ""]]:
        """Two terms, `aim_area` and `aim_rest`."""
        if self._seen is None:
            raise InputError("AIM masks the features of a forward: call method(classifier, batch), or give edit=.")
        features, mask = self._seen
        self._seen = None
        target = 1 - (1 - self.area) * (min(1.0, self.step / self.anneal) if self.anneal else 1.0)
        energy = at_least_float32(features).square().sum(1)
        rest = ((1 - mask.detach()) * energy).sum((1, 2)) / energy.sum((1, 2)).clamp_min(1e-12)
        return {
            "aim_area": self.weight * (mask.mean((1, 2)) - target).square().mean(),
            "aim_rest": self.rest_weight * rest.mean(),
        }
