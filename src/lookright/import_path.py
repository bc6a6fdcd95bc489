"""Things of a user's own, named by where they are imported from: `my.module.my_map`."""

import importlib
from typing import Any

from lookright.errors import InputError


def imported(path: str, what: str) -> Any:
    """What is at an import path; None where the path is a single word.

    Args:
        path: `package.module.name`.
        what: stands in front of the path in the error, such as `map`.

    Raises:
        InputError: it is no path, the module cannot be imported, or has no such name.

    >>> imported("math.sqrt", "map")(9)
    3.0
    """
    module, _, name = path.rpartition(".")
    if module and not all(part.isidentifier() for part in path.split(".")):
        raise InputError(f"{what} {path!r} is no import path; expected names with points between, my.module.name.")
    try:
        return getattr(importlib.import_module(module), name) if module else None
    except (ImportError, AttributeError) as error:
        raise InputError(f"{what} {path!r} cannot be imported: {error}.") from error
