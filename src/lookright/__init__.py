"""Train image classifiers, and agents that play from pixels, to look at the right evidence; measure it; show it."""

from lookright import attribution, metrics
from lookright.batch import Batch
from lookright.classifier import Classifier, Output
from lookright.errors import InputError
from lookright.methods import (
    ADL,
    ALIGN,
    CAMAL,
    CARE,
    CYBORG,
    DRE,
    ERM,
    GRADIA,
    SAGE,
    SGT,
    Loss,
    Method,
    Sum,
    Views,
)

__all__ = [
    "ADL",
    "ALIGN",
    "CAMAL",
    "CARE",
    "CYBORG",
    "DRE",
    "ERM",
    "GRADIA",
    "SAGE",
    "SGT",
    "Batch",
    "Classifier",
    "InputError",
    "Loss",
    "Method",
    "Output",
    "Sum",
    "Views",
    "attribution",
    "metrics",
]
