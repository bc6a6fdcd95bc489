"""Alternating: labels for some steps, then explanations for some."""

import torch
from jaxtyping import Float
from torch import Tensor

from lookright.batch import Batch
from lookright.classifier import Classifier, Output
from lookright.errors import InputError, require_between
from lookright.methods.camal import CAMAL
from lookright.methods.method import Method, Views, changes_forward


class Alternating(Method):
    """Takes turns in place of a weighted sum: steps of the task alone, then steps of the guidance alone.

    Tao, Shokri, "Machine Learning from Explanations", a workshop of ICML 2025 (arXiv 2507.04788): two losses that are
    minimised in turns need no weight between them. With an optimizer that scales each step by the size of the gradients
    (Adam), the guidance's own weight hardly matters; with plain SGD it still is the learning rate of its turns.

    The paper goes on until both losses are small; here the phases have fixed lengths and training ends as it always
    does. Both share one optimizer, momentum included. A label step costs no more than plain training, and a batch
    without masks, where the guidance needs them, is a label step.

    Args:
        method: any method that adds terms, or a sum of such; None is CAMAL().
        label_steps: steps of the optimizer in a turn of the task, which begins.
        explanation_steps: steps in a turn of the guidance.

    Raises:
        InputError: a turn has no step; the method owns or changes the forward, or adds no terms to the task.
    """

    def __init__(self, method: Method | None = None, label_steps: int = 1, explanation_steps: int = 1) -> None:
        super().__init__()
        method = CAMAL() if method is None else method
        require_between("label_steps", label_steps, 1)
        require_between("explanation_steps", explanation_steps, 1)
        name = type(method).__name__
        if changes_forward(method):
            raise InputError(
                f"{name} trains the task on other images or features, or owns the forward, and cannot take turns with "
                f"the task; add it instead, Alternating(CAMAL()) + {name}(), or train with it alone."
            )
        if type(method).guidance is Method.guidance:
            raise InputError(f"{name} adds no loss to the task's, so there is nothing to take turns with; try CAMAL.")
        self.method = method
        self.label_steps = label_steps
        self.explanation_steps = explanation_steps
        self.needs = method.needs

    def explains(self, batch: Batch) -> bool:
        """Whether it is the turn of the guidance."""
        is_turn = self.step % (self.label_steps + self.explanation_steps) >= self.label_steps
        return is_turn and ("mask" in batch or "mask" not in self.needs)

    def attach(self, classifier: Classifier, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Attach the method, too."""
        self.method.attach(classifier, optimizer)
        super().attach(classifier, optimizer)

    def views(self, batch: Batch) -> Views | None:
        """Those of the guidance, in its turn."""
        return self.method.views(batch) if self.explains(batch) else None

    def weigh(self, classifier: Classifier, output: Output, batch: Batch) -> Float[Tensor, " B"]:
        """1 in the turn of the task, 0 in that of the guidance."""
        weight = super().weigh(classifier, output, batch)
        return torch.zeros_like(weight) if self.explains(batch) else weight

    def guidance(
        self, classifier: Classifier, output: Output, batch: Batch, views: Views | None = None
    ) -> dict[str, Float[Tensor, ""]]:
        """The terms of the guidance, in its turn."""
        return self.method.guidance(classifier, output, batch, views) if self.explains(batch) else {}
