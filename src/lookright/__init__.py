"""Train image classifiers to look at the right evidence; measure whether they do; show it."""

from lookright.batch import Batch
from lookright.classifier import Classifier, Output
from lookright.errors import InputError

__all__ = ["Batch", "Classifier", "InputError", "Output"]
