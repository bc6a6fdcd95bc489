"""SGT: saliency-guided training."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from lookright.batch import Batch
from lookright.classifier import Classifier, Output, evaluating
from lookright.errors import require_between
from lookright.methods.method import Views, require_classes
from lookright.methods.stochastic import Stochastic
from lookright.perturb import Noise, Perturbation, blend

NOISE = Noise()


class SGT(Stochastic):
    """Replaces the pixels that matter least to the model by noise and asks for the same prediction: λ · KL(p ‖ p̃).

    Ismail, Corrada Bravo, Feizi, "Improving Deep Learning Interpretability by Saliency Guided Training", NeurIPS 2021,
    algorithm 1. The gradient of the label's logit, averaged over the channels, is taken anew for each
    batch with the model in eval mode; p̃ is the softmax for the image whose lowest pixels were replaced. A step runs
    the model three times (twice with a backward).

    Args:
        weight: λ; 1 in the authors' code.
        share: of the pixels that are replaced; 0.1 in the authors' script for MNIST.
        absolute: rank pixels by the gradient's size; otherwise by its signed value, as the authors' code does unless
            told otherwise: the pixels that speak against the class are the lowest.
        fill: what replaces the pixels. The authors draw between the image's minimum and maximum, `Noise` between those
            of each channel.
        seed: of a random fill.

    Raises:
        InputError: a share outside [0, 1].
    """

    def __init__(
        self, weight: float = 1.0, share: float = 0.1, absolute: bool = False, fill: Perturbation = NOISE, seed: int = 0
    ) -> None:
        super().__init__(seed)
        require_between("weight", weight)
        require_between("share", share, 0, 1)
        self.weight = weight
        self.share = share
        self.absolute = absolute
        self.fill = fill

    def guidance(
        self, classifier: Classifier, output: Output, batch: Batch, views: Views | None = None
    ) -> dict[str, Float[Tensor, ""]]:
        """One term, `sgt`."""
        require_classes(self, output, batch["label"])
        image, keep = batch["image"], self._keep(classifier, batch)
        masked = classifier(blend(image, self.fill(image, keep, self.generator()), keep))
        divergence = functional.kl_div(
            masked.logits.log_softmax(1), output.logits.log_softmax(1), reduction="batchmean", log_target=True
        )
        return {"sgt": self.weight * divergence}

    def _keep(self, classifier: Classifier, batch: Batch) -> Float[Tensor, "B H W"]:
        """0 at the pixels with the lowest gradient, 1 elsewhere."""
        image = batch["image"].detach().requires_grad_()
        with evaluating(classifier), torch.enable_grad():
            logit = classifier(image).logits.gather(1, batch["label"][:, None])
            (gradient,) = torch.autograd.grad(logit.sum(), image)
        saliency = gradient.mean(1)
        if self.absolute:
            saliency = saliency.abs()
        lowest = saliency.flatten(1).topk(int(self.share * saliency[0].numel()), largest=False).indices
        return torch.ones_like(saliency).flatten(1).scatter(1, lowest, 0.0).view_as(saliency)
