"""A grid of runs: methods × protocols × models × seeds."""

import lazy_loader

# Imported when first used, see __init__.pyi: a process that is to do runs should not import what plans them.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
