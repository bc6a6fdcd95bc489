"""YAML files: of runs and of studies."""

from pathlib import Path
from typing import Any

import yaml

from lookright.errors import InputError

LARGEST = 2**20
"""Bytes of the largest YAML file that is read."""

MOST_VALUES = 100_000
"""That a file may hold, those that it repeats by reference counted each time."""


def read_yaml(path: Path) -> Any:
    """Read a YAML file of plain values.

    Raises:
        InputError: there is no such file, it is too large, or no YAML.
    """
    if not path.is_file():
        raise InputError(f"No file {str(path)!r}. Expected a YAML file.")
    if path.stat().st_size > LARGEST:
        raise InputError(
            f"{str(path)!r} has {path.stat().st_size:,} bytes; expected a YAML file of at most {LARGEST:,}."
        )
    try:
        content = yaml.safe_load(path.read_bytes())
        values = _values(content)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())
        raise InputError(f"Cannot read {str(path)!r} as YAML: {reason}.") from error
    if values > MOST_VALUES:
        raise InputError(f"{str(path)!r} holds more than {MOST_VALUES:,} values, which no settings need.")
    return content


def _values(content: Any, so_far: int = 0) -> int:
    """How many values there are; counting ends beyond `MOST_VALUES`."""
    so_far += 1
    if isinstance(content, dict):
        content = [*content, *content.values()]
    for part in content if isinstance(content, list) else ():
        if so_far > MOST_VALUES:
            break
        so_far = _values(part, so_far)
    return so_far
