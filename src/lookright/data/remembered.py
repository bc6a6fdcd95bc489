"""What was checked once need not be checked again while nothing changes."""

import hashlib
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def _mark(state: Iterable[str]) -> Path:
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "lookright" / "checked" / hashlib.sha256("\0".join(state).encode()).hexdigest()[:32]


def is_remembered(state: Iterable[str]) -> bool:
    """Whether this very state was found to be whole."""
    return _mark(state).is_file()


def remember(state: Iterable[str]) -> None:
    """Note that this state is whole; without a place to write to, it is forgotten."""
    mark = _mark(state)
    with suppress(OSError):
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()
