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
    "tasks",
]

__version__: str
