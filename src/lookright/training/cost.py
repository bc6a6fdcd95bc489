"""What a method's training costs, in operations: the same on every machine."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from lookright.batch import Batch
from lookright.classifier import Classifier
from lookright.errors import InputError
from lookright.methods import ERM, Method
from lookright.tasks import Task, cross_entropy
from lookright.training.preprocessing import Preprocessing
from lookright.training.rehearsal import first_batch, rehearse
from lookright.training.run_data import RunData
from lookright.training.settings import RunSettings

COUNTED_IMAGES, COUNTED_STEPS = 8, 8
"""Of which a method's cost is taken."""


@dataclass(frozen=True)
class Cost:
    """Operations of a training, in epochs of plain training.

    Attributes:
        before: of the training that the method does before its own.
        epoch: of an epoch of its own.
    """

    before: float
    epoch: float


def training_cost(settings: RunSettings, data: RunData, preprocessing: Preprocessing, classifier: Classifier) -> Cost:
    """What a training with a budget costs, counted on some of its images.

    Args:
        settings: of the run, with its method attached to the classifier.
        data: of the run, of which some training images are taken, those with masks first.
        preprocessing: of these.
        classifier: to be trained; it is not changed.
    """
    rows, before = len(data.rows("train")), 0.0
    batch = first_batch(data, preprocessing, COUNTED_IMAGES)
    batches = settings.schedule.budget * rows / settings.optimisation.batch_size
    steps = max(1, round(batches / settings.optimisation.accumulate))
    counted = torch.randint(steps, (COUNTED_STEPS,), generator=torch.Generator().manual_seed(settings.seed)).tolist()
    task = settings.optimisation.task
    if asked := settings.method.first():
        first, epochs = asked
        first.attach(classifier)
        before = epochs * step_cost(classifier, first, batch, counted, task)
    return Cost(before, step_cost(classifier, settings.method, batch, counted, task))


def affordable_epochs(settings: RunSettings, cost: Cost) -> int:
    """How many epochs of the method cost as many operations as `budget` epochs of plain training.

    A training that the method does before its own is paid first.

    Raises:
        InputError: nothing is left after the training before.
    """
    budget = settings.schedule.budget
    if cost.before >= budget:
        raise InputError(
            f"budget = {budget:g} epochs of plain training, and the training that {type(settings.method).__name__} "
            f"does before its own costs {cost.before:g}. Raise --budget, or shorten the first training."
        )
    return max(1, round((budget - cost.before) / cost.epoch))


def step_cost(
    classifier: Classifier, method: Method, batch: Batch, steps: Sequence[int] = (0,), task: Task = cross_entropy
) -> float:
    """Operations of a step of the method, as a multiple of those of plain training: 1 for what adds none.

    Counted are the multiplications of convolutions, matrices and attention, forward and backward, the second derivative
    included. What else a step does (in-painting, resizing, the optimizer) is not; `benchmarks/step_cost.py` takes time.

    Args:
        classifier: attached to the method; neither is changed.
        method: whose step is counted.
        batch: of training images.
        steps: of the training at which it is counted, for methods that take turns; the mean is returned.
        task: the loss of each image.
    """
    plain = _operations(classifier, ERM(), batch, task)
    counted = [_operations(classifier, method, batch, task, step) for step in steps]
    return sum(counted) / len(counted) / plain


def _operations(classifier: Classifier, method: Method, batch: Batch, task: Task, step: int = 0) -> int:
    with _Counter() as counter:
        rehearse(classifier, method, batch, task, step)
    return counter.operations


class _Counter(TorchDispatchMode):
    """Adds up what PyTorch's own table of operations says of each call.

    `FlopCounterMode` would do, but it follows modules with hooks that a gradient with respect to the images breaks.
    """

    operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func._overloadpacket in flop_registry:
            self.operations += flop_registry[func._overloadpacket](*args, **(kwargs or {}), out_val=result)
        return result
