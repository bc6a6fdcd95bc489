"""A step of training on copies, before the first: shows what a method refuses, and what it costs."""

import copy

import torch
from torch import Tensor

from lookright.batch import Batch
from lookright.classifier import Classifier
from lookright.methods import Method
from lookright.tasks import Task
from lookright.training.preprocessing import Preprocessing
from lookright.training.run_data import RunData


def first_batch(data: RunData, preprocessing: Preprocessing, images: int) -> Batch:
    """Training images, not augmented; those with masks first.

    Args:
        data: of the run.
        preprocessing: of its images.
        images: how many, at most.
    """
    rows = data.rows("train").reset_index(drop=True)
    first = rows.sort_values("mask_weight", ascending=False, kind="stable").index[:images]
    dataset = data.dataset("train", preprocessing.size)
    return preprocessing.collate()([dataset[row] for row in first])


def rehearse(classifier: Classifier, method: Method, batch: Batch, task: Task, step: int = 0) -> None:
    """A step, forward and backward, of copies; classifier, method, batch and random state stay as they are.

    Args:
        classifier: to be trained.
        method: to train it with.
        batch: of training images.
        task: the loss of each image.
        step: of the training, for methods that warm up or take turns.

    Raises:
        InputError: the method cannot serve this model, task or batch.
    """
    classifier, method = copy.deepcopy(classifier).train(), copy.deepcopy(method).train()
    given = {key: value.clone() if isinstance(value, Tensor) else value for key, value in batch.items()}
    with torch.random.fork_rng(devices=[]):
        method.attach(classifier, torch.optim.SGD(classifier.parameters()))
        for part in method.modules():
            if isinstance(part, Method):
                part.step = step
        method(classifier, given, task).total.backward()
