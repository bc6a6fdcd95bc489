"""One step of training: the method's loss, the optimiser and its schedule."""

import math
import warnings

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from lookright.batch import Batch, mask_weight
from lookright.classifier import Classifier, is_checkpointed
from lookright.methods import Loss, Method, reaches_backbone
from lookright.methods.method import split_by_decay
from lookright.tasks import Task, cross_entropy
from lookright.training.settings import OptimisationSettings


class Held:
    """A batch that a wrapper of modules passes on as it is: Fabric would round images and masks to half precision."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch


class TrainingStep(nn.Module):
    """The loss of a method: a module, so that DDP hears of every forward.

    Args:
        classifier: the user's model, wrapped.
        method: attached to the classifier.
        freeze_batchnorm: keep BatchNorm in eval mode.
        task: the loss of each image.
    """

    def __init__(
        self, classifier: Classifier, method: Method, freeze_batchnorm: bool = False, task: Task = cross_entropy
    ) -> None:
        super().__init__()
        self.classifier = classifier
        self.method = method
        self.freeze_batchnorm = freeze_batchnorm
        self.task = task
        self._unreached = 10

    def forward(self, held: Held) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, and what is logged by name: its terms, other figures, and `loss`."""
        if self.freeze_batchnorm:
            for module in self.classifier.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        loss = self.method(self.classifier, held.batch, self.task)
        if self._unreached:
            self._check_reach(loss, held.batch)
        total = loss.total
        return total, loss.terms | loss.logs | {"loss": total}

    def _check_reach(self, loss: Loss, batch: Batch) -> None:
        """Look at the first batches until the guidance has reached the backbone; say so if it has not by then."""
        guides = len(loss.terms) > 1 and ("mask" not in self.method.needs or bool((mask_weight(batch) > 0).any()))
        if not guides or is_checkpointed(self.classifier):
            return
        problem = reaches_backbone(self.classifier, loss)
        self._unreached = self._unreached - 1 if problem else 0
        if problem and (not self._unreached or "not finite" in problem):
            self._unreached = 0
            warnings.warn(f"{type(self.method).__name__}, after the first steps: {problem}", stacklevel=2)


def build_optimizer(classifier: Classifier, method: Method, settings: OptimisationSettings) -> Optimizer:
    """AdamW or SGD over everything that learns, the method's own parameters with it; biases have no weight decay."""
    groups = list(split_by_decay({"params": list(classifier.parameters())}))
    optimizer: Optimizer
    if settings.optimizer == "AdamW":
        optimizer = torch.optim.AdamW(groups, settings.lr, weight_decay=settings.weight_decay)
    else:
        decay = settings.weight_decay
        optimizer = torch.optim.SGD(groups, settings.lr, settings.momentum, weight_decay=decay, nesterov=True)
    method.attach(classifier, optimizer)
    return optimizer


def build_schedule(optimizer: Optimizer, lr_warmup: float, steps: int) -> LambdaLR:
    """The learning rate rises linearly over a share of the steps, and then falls to 0 as a cosine."""
    warmup = round(lr_warmup * steps)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(steps - warmup, 1)))

    return LambdaLR(optimizer, factor)
