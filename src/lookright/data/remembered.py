"""What was checked once need not be checked again while nothing changes."""

import os
from contextlib import suppress
from pathlib import Path


def _mark(state: str) -> Path:
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "lookright" / "checked" / state[:32]


def is_remembered(state: str) -> bool:
    """Whether the state of this hash was found to be whole."""
    return _mark(state).is_file()


def remember(state: str) -> None:
    """Note that the state of this hash is whole; without a place to write to, it is forgotten."""
    mark = _mark(state)
    with suppress(OSError):
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()
