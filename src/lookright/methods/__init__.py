"""Training methods: each adds its guidance to the task's loss."""

from lookright.methods.camal import CAMAL
from lookright.methods.cyborg import CYBORG
from lookright.methods.erm import ERM
from lookright.methods.map_guidance import MapGuidance
from lookright.methods.method import Loss, Method, Sum, Views
from lookright.methods.sage import SAGE

__all__ = [
    "CAMAL",
    "CYBORG",
    "ERM",
    "SAGE",
    "Loss",
    "MapGuidance",
    "Method",
    "Sum",
    "Views",
]
