"""Whose code runs: what a directory of somebody else names by an import path is imported only if the user trusts it."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from lookright.errors import InputError

_trusts = ContextVar("trusts", default=False)

NAMES_CODE = ("method", "protocol", "mask_control", "map", "measures", "methods", "first", "task")
"""Settings whose words, at any depth, may be import paths."""


@contextmanager
def trusting() -> Iterator[None]:
    """Import whatever the directories that are read here name: they are the user's own."""
    before = _trusts.set(True)
    try:
        yield
    finally:
        _trusts.reset(before)


def require_trust(path: str, source: object) -> None:
    """Refuse an import path outside of lookright that stands in a directory which the user has not said to trust.

    Raises:
        InputError: the user has not.

    >>> require_trust("lookright.methods.CAMAL", "run/config.yaml")
    >>> require_trust("my_module.Mine", "run/config.yaml")
    Traceback (most recent call last):
    lookright.errors.InputError: 'run/config.yaml' names 'my_module.Mine', which would run code outside of lookright. \
If you know who wrote it and trust them, say --trust (in Python: with lookright.trust.trusting()).
    """
    if not _trusts.get() and path.partition(".")[0] != "lookright":
        raise InputError(
            f"{str(source)!r} names {path!r}, which would run code outside of lookright. If you know who wrote it and "
            "trust them, say --trust (in Python: with lookright.trust.trusting())."
        )


def require_trusted(settings: Any, source: object) -> None:
    """Refuse settings from a file with an import path that `require_trust` refuses.

    >>> require_trusted({"method": "CAMAL", "data": "pictures.small", "out": "run"}, "config.yaml")
    """
    for path in import_paths(settings):
        require_trust(path, source)


def import_paths(settings: Any, names_code: bool = False) -> Iterator[str]:
    """Every word of settings that may be an import path, whether or not there is such a thing.

    >>> list(import_paths({"method": {"class_path": "CAMAL", "init_args": {"map": "my.maps.best"}}, "out": "run.1"}))
    ['my.maps.best']
    """
    if isinstance(settings, Mapping):
        for key, value in settings.items():
            yield from import_paths(key, names_code)
            yield from import_paths(value, names_code or key in NAMES_CODE or key == "class_path")
    elif isinstance(settings, list | tuple):
        for value in settings:
            yield from import_paths(value, names_code)
    elif names_code and isinstance(settings, str) and re.fullmatch(r"\s*[^\W\d]\w*(\.[^\W\d]\w*)+\s*", settings):
        yield settings.strip()
