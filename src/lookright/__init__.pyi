from . import attribution, metrics, tasks
from .batch import Batch
from .classifier import Classifier, Output
from .errors import InputError
from .methods import (
    ADL,
    ALIGN,
    CAMAL,
    CARE,
    CYBORG,
    DRE,
    ERM,
    GRADIA,
    RRR,
    SAGE,
    SGT,
    BackgroundSwap,
    EnergyGuidance,
    LearningToLook,
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
    "RRR",
    "SAGE",
    "SGT",
    "BackgroundSwap",
    "Batch",
    "Classifier",
    "EnergyGuidance",
    "InputError",
    "LearningToLook",
    "Loss",
    "Method",
    "Output",
    "Sum",
    "Views",
    "attribution",
    "metrics",
    "tasks",
]

__version__: str
