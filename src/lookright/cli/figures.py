"""What was measured, on the terminal."""

import json
from typing import Any


def as_json(values: Any) -> str:
    """For another program: one JSON value in a line."""
    return json.dumps(values, ensure_ascii=False)


def print_splits(splits: dict[str, dict[str, Any]]) -> None:
    """Print the figures of each split."""
    for split, values in splits.items():
        print(split)
        print_values(values)


def print_values(values: dict[str, Any]) -> None:
    """Print a figure a line; one that is defined nowhere as such."""
    for name, value in values.items():
        shown = "undefined" if value is None else f"{value:.3f}" if isinstance(value, float) else value
        print(f"  {name:<28} {shown}")
