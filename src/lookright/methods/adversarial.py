"""Images a small step away, of which the model makes something else."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from lookright.classifier import Classifier, evaluating


def attack(
    classifier: Classifier,
    image: Float[Tensor, "B C H W"],
    label: Int[Tensor, " B"],
    epsilon: float,
    steps: int,
    where: Float[Tensor, "B 1 H W"] | None = None,
) -> Float[Tensor, "B C H W"]:
    """Projected gradient ascent on the cross-entropy within ±epsilon of each value, the model in eval mode.

    Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018 (arXiv 1706.06083). One
    step is of size epsilon (the fast gradient sign); each of several is of 2.5 · epsilon / steps.

    Args:
        classifier: is left as it is.
        image: as the model expects it.
        label: what the model shall no longer say.
        epsilon: largest change, in the units of `image`: standard deviations where it is normalised.
        steps: of the ascent.
        where: 1 at pixels that may change and 0 elsewhere; None: all may.
    """
    image, size = image.detach(), epsilon if steps == 1 else 2.5 * epsilon / steps
    attacked = image
    with evaluating(classifier):
        for _ in range(steps):
            with torch.enable_grad():
                attacked = attacked.detach().requires_grad_()
                loss = functional.cross_entropy(classifier(attacked).logits, label, reduction="sum")
                (gradient,) = torch.autograd.grad(loss, attacked)
            change = (attacked.detach() + size * gradient.sign() - image).clamp(-epsilon, epsilon)
            attacked = image + (change if where is None else where * change)
    return attacked.detach()
