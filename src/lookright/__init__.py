"""Train image classifiers, and agents that play from pixels, to look at the right evidence; measure it; show it."""

from lookright.batch import Batch
from lookright.classifier import Classifier, Output
from lookright.errors import InputError
from lookright.methods import CAMAL, CYBORG, ERM, SAGE, Loss, Method, Sum, Views

__all__ = [
    "CAMAL",
    "CYBORG",
    "ERM",
    "SAGE",
    "Batch",
    "Classifier",
    "InputError",
    "Loss",
    "Method",
    "Output",
    "Sum",
    "Views",
]
