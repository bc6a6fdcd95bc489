"""Finding where features, embedding and head of a model are: from one forward of a copy."""

from lookright.classifier.search.find import find_grid, find_route

__all__ = ["find_grid", "find_route"]
