"""One step of training: the method's loss, the optimiser and its schedule."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from lookright.batch import Batch
from lookright.classifier import Classifier
from lookright.methods import Method
from lookright.training.settings import OptimisationSettings


class Held:
    """A batch that a wrapper of modules passes on as it is: Fabric would round images and masks to half precision."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch


class TrainingStep(nn.Module):
    """The loss of a method: a module, so that DDP hears of every forward.

    Args:
        classifier: the user's model, wrapped.
        method: bound to the classifier.
        freeze_batchnorm: keep BatchNorm in eval mode.
    """

    def __init__(self, classifier: Classifier, method: Method, freeze_batchnorm: bool = False) -> None:
        super().__init__()
        self.classifier = classifier
        self.method = method
        self.freeze_batchnorm = freeze_batchnorm

    def forward(self, held: Held) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, and what is logged by name: its terms, other figures, and `loss`."""
        if self.freeze_batchnorm:
            for module in self.classifier.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        loss = self.method(self.classifier, held.batch)
        total = loss.total
        return total, loss.terms | loss.logs | {"loss": total}


def build_optimizer(classifier: Classifier, method: Method, settings: OptimisationSettings) -> Optimizer:
    """AdamW or SGD over everything that learns; biases and normalisation layers have no weight decay."""
    groups: list[dict[str, Any]] = []
    for group in ({"params": list(classifier.parameters())}, *method.parameter_groups()):
        learning = [parameter for parameter in group["params"] if parameter.requires_grad]
        groups.append(group | {"params": [parameter for parameter in learning if parameter.ndim > 1]})
        plain = [parameter for parameter in learning if parameter.ndim <= 1]
        groups.append(group | {"params": plain, "weight_decay": 0.0})
    groups = [group for group in groups if group["params"]]
    if settings.optimizer == "AdamW":
        return torch.optim.AdamW(groups, settings.lr, weight_decay=settings.weight_decay)
    return torch.optim.SGD(groups, settings.lr, settings.momentum, weight_decay=settings.weight_decay, nesterov=True)


def build_schedule(optimizer: Optimizer, lr_warmup: float, steps: int) -> LambdaLR:
    """The learning rate rises linearly over a share of the steps, and then falls to 0 as a cosine."""
    warmup = round(lr_warmup * steps)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(steps - warmup, 1)))

    return LambdaLR(optimizer, factor)
