"""Annotations in JSON."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lookright.errors import InputError


def read_json(path: Path, keys: Sequence[str] = ()) -> Any:
    """The content of a file.

    Raises:
        InputError: it cannot be read, or lacks one of the keys.
    """
    if not path.is_file():  # opening a pipe or a device may never end
        raise InputError(f"No file {str(path)!r}.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"Cannot read {str(path)!r} as JSON: {error}") from error
    missing = [key for key in keys if not (isinstance(content, dict) and key in content)]
    if missing:
        raise InputError(f"{str(path)!r} has no {missing[0]!r}; expected {', '.join(keys)}.")
    return content


def is_json_with(path: Path, keys: Sequence[str]) -> bool:
    """Whether a file is JSON with these keys."""
    try:
        read_json(path, keys)
    except InputError:
        return False
    return True
