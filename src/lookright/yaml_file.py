"""YAML files: of runs and of studies."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from lookright.errors import InputError

LARGEST = 2**20
"""Bytes of the largest YAML file that is read."""

MOST_VALUES = 100_000
"""That a file may hold, those that it repeats by reference counted each time."""

DEEPEST = 50
"""Lists and mappings inside of each other."""

Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(path: Path) -> Any:
    """Read a YAML file of plain values.

    Raises:
        InputError: there is no such file, it is too large, holds too much, or is no YAML.
    """
    if not path.is_file():
        raise InputError(f"No file {str(path)!r}. Expected a YAML file.")
    if path.stat().st_size > LARGEST:
        raise InputError(
            f"{str(path)!r} has {path.stat().st_size:,} bytes; expected a YAML file of at most {LARGEST:,}."
        )
    return parse_yaml(path.read_bytes(), str(path))


def parse_yaml(text: str | bytes, source: str) -> Any:
    """The plain values in a text, whose size and depth are known before anything is built.

    Args:
        text: YAML.
        source: where the text is from, for messages.

    Raises:
        InputError: it holds too much, or is no YAML.

    >>> parse_yaml("{epochs: 3, method: CAMAL}", "settings")
    {'epochs': 3, 'method': 'CAMAL'}
    """
    try:
        _require_bounded(yaml.parse(text, Loader=Loader), source)
        return yaml.load(text, Loader=Loader)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"Cannot read {source!r} as YAML: {' '.join(str(error).split())}.") from error


def _require_bounded(events: Iterable[yaml.Event], source: str) -> None:
    """References are counted as often as they stand: a few lines of them can stand for more than any memory holds."""
    sizes: dict[str, int] = {}
    open_parts: list[tuple[str | None, int]] = [(None, 0)]
    for event in events:
        if isinstance(event, yaml.CollectionStartEvent):
            open_parts.append((event.anchor, 0))
            if len(open_parts) > DEEPEST:
                raise InputError(f"{source!r} is nested more than {DEEPEST} deep, which no settings need.")
            continue
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, size = open_parts.pop()
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise InputError(f"{source!r} has the reference '*{event.anchor}', which stands for no whole value.")
            anchor, size = None, sizes[event.anchor]
        elif isinstance(event, yaml.ScalarEvent):
            anchor, size = event.anchor, 0
        else:
            continue
        if anchor is not None:
            sizes[anchor] = size + 1
        outer, before = open_parts[-1]
        open_parts[-1] = outer, before + size + 1
        if open_parts[-1][1] > MOST_VALUES:
            raise InputError(f"{source!r} holds more than {MOST_VALUES:,} values, which no settings need.")
