"""Whether a method's guidance gets where it is to go."""

import torch
from torch import nn

from lookright.classifier import Classifier
from lookright.methods.method import Loss


def backbone(classifier: Classifier) -> list[nn.Parameter]:
    """All that learns but the head."""
    head = set() if classifier.head is None else set(classifier.head.parameters())
    return [parameter for parameter in classifier.parameters() if parameter.requires_grad and parameter not in head]


def reaches_backbone(classifier: Classifier, loss: Loss) -> str | None:
    """What is wrong with the gradient that the guidance sends into the backbone; None where nothing is.

    The graph is kept, and no `.grad` is touched. A gradient of zero in
    one batch may be as it should be (no image has a mask, a hinge is met); in several it means that the model learns
    nothing from the guidance.

    Args:
        classifier: that is trained.
        loss: of one batch, before its backward.
    """
    terms = {name: term for name, term in loss.terms.items() if name != "task"}
    if not terms or "task" not in loss.terms:
        return None
    weights = backbone(classifier)
    names = ", ".join(terms)
    if not weights:
        return f"The guidance ({names}) has nothing to teach: every parameter of the backbone is frozen."
    guided = [term for term in terms.values() if term.requires_grad]
    gradients = torch.autograd.grad(guided, weights, retain_graph=True, allow_unused=True) if guided else ()
    arrived = [gradient for gradient in gradients if gradient is not None]
    if not all(bool(gradient.isfinite().all()) for gradient in arrived):
        return f"The gradient of the guidance ({names}) on the backbone is not finite."
    if not any(bool(gradient.any()) for gradient in arrived):
        return f"The guidance ({names}) does not reach the backbone: its gradient there is exactly zero."
    return None
