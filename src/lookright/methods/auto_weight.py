"""AutoWeight: guidance whose gradient on the backbone is a stated share of the task's."""

from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn

from lookright.batch import Batch
from lookright.classifier import Classifier, Output
from lookright.errors import InputError, require_between
from lookright.methods.camal import CAMAL
from lookright.methods.method import Method, Sum, Views, singles
from lookright.methods.reach import backbone

MEMORY = 0.9
"""Of a measurement and the ones before it: share of those before in the mean of the norms."""


class AutoWeight(Sum):
    """Multiplies all terms of a method by one factor, so that ‖∇θ guidance‖ = share · ‖∇θ task‖, θ the backbone.

    Norms are measured at the steps 0, 1, 2, 4, 8, 16, 32, and then every 32, each time by two backward passes more;
    the factor is that of their exponential means (on several devices, of the means over these). No weight is then to be
    found by hand, and the same share means the same for every method, model and task. The weight of the method itself
    no longer matters; those of its terms against each other do. That gradients, not losses, are to be balanced is the
    idea of Chen et al., "GradNorm", ICML 2018 (arXiv 1711.02257); ours has a fixed share and nothing to learn.

    Args:
        method: any method that adds terms, or a sum of such; None is CAMAL().
        share: of the norm of the task's gradient.

    Attributes:
        factor: what the terms were last multiplied by.

    Raises:
        InputError: a negative share; the method owns the forward or adds no terms to the task.
    """

    def __init__(self, method: Method | None = None, share: float = 1.0) -> None:
        method = CAMAL() if method is None else method
        if all(type(single).guidance is Method.guidance for single in singles(method)):
            raise InputError(
                f"{type(method).__name__} adds no loss to the task's, so nothing is to be weighed; try CAMAL."
            )
        super().__init__([method])
        require_between("share", share)
        self.share = share
        self.factor = 1.0
        self._norms: tuple[float, float] | None = None
        self._is_due = False
        self._own: set[str] = set()

    def extra_repr(self) -> str:
        """The share; the method shows itself."""
        return f"share={self.share!r}"

    def attach(self, classifier: Classifier, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Attach the method, too."""
        super().attach(classifier, optimizer)
        Method.attach(self, classifier, optimizer)

    def guidance(
        self, classifier: Classifier, output: Output, batch: Batch, views: Views | None = None
    ) -> dict[str, Float[Tensor, ""]]:
        """The terms of the method, not yet multiplied."""
        terms = super().guidance(classifier, output, batch, views)
        self._own = set(terms)
        return terms

    def balance(
        self, classifier: Classifier, task: Float[Tensor, ""], terms: dict[str, Float[Tensor, ""]]
    ) -> dict[str, Float[Tensor, ""]]:
        """Multiply the method's own terms."""
        terms = super().balance(classifier, task, terms)
        own = [terms[name] for name in terms if name in self._own]
        self._is_due |= self.step % 32 == 0 or self.step & (self.step - 1) == 0
        if self.training and self._is_due and own:
            self._measure(classifier, task, torch.stack(own).sum())
        return {name: self.factor * term if name in self._own else term for name, term in terms.items()}

    def _measure(self, classifier: Classifier, task: Tensor, guidance: Tensor) -> None:
        weights = backbone(classifier)
        norms = torch.stack([_gradient_norm(loss, weights) for loss in (task, guidance)])
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(norms)
        task_norm, guidance_norm = norms.tolist()
        if not (0 < task_norm < float("inf") and 0 < guidance_norm < float("inf")):
            return  # no mask in the batch, for example: the next step tells
        if self._norms is not None:
            before = self._norms
            task_norm = MEMORY * before[0] + (1 - MEMORY) * task_norm
            guidance_norm = MEMORY * before[1] + (1 - MEMORY) * guidance_norm
        self._is_due, self._norms = False, (task_norm, guidance_norm)
        self.factor = self.share * task_norm / guidance_norm

    def get_extra_state(self) -> dict[str, Any]:
        """With the norms that the factor comes from."""
        return super().get_extra_state() | {"norms": self._norms, "factor": self.factor, "is_due": self._is_due}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Go on with these norms."""
        super().set_extra_state(state)
        self._norms, self.factor, self._is_due = state["norms"], state["factor"], state["is_due"]


def _gradient_norm(loss: Tensor, weights: list[nn.Parameter]) -> Tensor:
    if not (loss.requires_grad and weights):
        return loss.new_zeros(())
    gradients = torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True)
    return torch.nn.utils.get_total_norm([gradient for gradient in gradients if gradient is not None])
