"""Train image classifiers, and agents that play from pixels, to look at the right evidence; measure it; show it."""

from importlib.metadata import version

import lazy_loader

# Names and modules are imported when first used (they are declared in __init__.pyi): torch and torchmetrics take
# seconds, which `lookright --help` should not.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

__version__ = version("lookright")
