"""Finding where features, embedding and head of a model are: from forwards of a copy."""

from lookright.classifier.search.find import find_grid, find_route
from lookright.classifier.search.patches import reads_patches

__all__ = ["find_grid", "find_route", "reads_patches"]
