"""JSON files of a run."""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lookright.errors import InputError
from lookright.replacing import replacing

LARGEST = 64 * 2**20
"""Bytes of the largest JSON file that is read."""


Keys = Iterable[str] | Mapping[str, type | tuple[type, ...]]
"""What an object must have: names, with the types of their values where this is a mapping."""


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file, in place of one that is there."""
    with replacing(path) as draft:
        draft.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path, keys: Keys = ()) -> dict[str, Any]:
    """Read a JSON object.

    Args:
        path: of the file.
        keys: that it must have, with their types where this is a mapping.

    Raises:
        InputError: there is no such file, it is too large, no JSON object, lacks a key, or has one of another type.
    """
    if not path.is_file():
        raise InputError(f"No file {str(path)!r}. Expected what a run or study writes there.")
    if path.stat().st_size > LARGEST:
        raise InputError(f"{str(path)!r} has {path.stat().st_size:,} bytes; expected at most {LARGEST:,}.")
    return json_object(path.read_bytes(), str(path), keys)


def json_object(text: str | bytes, source: str, keys: Keys = ()) -> dict[str, Any]:
    """The JSON object in a text.

    Args:
        text: JSON.
        source: where the text is from, for messages.
        keys: that the object must have, with their types where this is a mapping.

    Raises:
        InputError: it is no JSON object, lacks a key, or has one of another type.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"Cannot read {source!r} as JSON: {error}. Delete the file and write it anew.") from error
    if not isinstance(content, dict):
        raise InputError(f"{source!r} holds a {type(content).__name__}; expected a JSON object.")
    missing = [key for key in keys if key not in content]
    if missing:
        raise InputError(f"{source!r} has no {missing[0]!r}. It is not what this version writes; write it anew.")
    for key, kind in keys.items() if isinstance(keys, Mapping) else ():
        if not isinstance(content[key], kind):
            kinds = " or ".join(one.__name__ for one in (kind if isinstance(kind, tuple) else (kind,)))
            shown = repr(content[key])[:60]
            raise InputError(f"{source!r} has {key!r}: {shown}; expected {kinds}. It is not what a run writes.")
    return content


def none_for_nan(values: Mapping[str, float]) -> dict[str, float | None]:
    """The values, None where one is not defined: JSON has no NaN.

    >>> none_for_nan({"accuracy": 0.5, "iou": math.nan})
    {'accuracy': 0.5, 'iou': None}
    """
    return {name: None if math.isnan(value) else value for name, value in values.items()}
