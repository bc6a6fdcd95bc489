"""What went wrong with the user's input, said in the user's words."""

import difflib
import math
import os
from collections.abc import Iterable


class InputError(ValueError):
    """Bad input: the message quotes what was given, says what was expected and what to do.

    The command line prints the message alone and exits with code 2.
    """


def require_one_of(name: str, value: object, choices: Iterable[str]) -> None:
    """Refuse an argument that is none of its choices.

    >>> require_one_of("mode", "men", ["mean", "energy"])
    Traceback (most recent call last):
    lookright.errors.InputError: mode='men'; expected one of mean, energy.
    """
    choices = list(choices)
    if value not in choices:
        raise InputError(f"{name}={value!r}; expected one of {', '.join(choices)}.")


def require_between(name: str, value: float, least: float = 0, most: float = math.inf) -> None:
    """Refuse an argument that is not a finite number of its range, both ends included.

    >>> require_between("alpha", 5, 0, 1)
    Traceback (most recent call last):
    lookright.errors.InputError: alpha=5; expected a number from 0 to 1.
    >>> require_between("weight", float("nan"))
    Traceback (most recent call last):
    lookright.errors.InputError: weight=nan; expected a number from 0 up.
    """
    if not (math.isfinite(value) and least <= value <= most):
        raise InputError(
            f"{name}={value}; expected a number from {least} {'up' if most == math.inf else f'to {most}'}."
        )


def said_by_system(error: OSError) -> str:
    """What the system says of a file, as a sentence.

    >>> said_by_system(PermissionError(13, "Permission denied", "/runs"))
    "The system refuses '/runs': Permission denied. What was finished is kept."
    """
    name = os.fsdecode(error.filename) if isinstance(error.filename, bytes) else error.filename
    where = f" {str(name)!r}" if name else ""
    return f"The system refuses{where}: {error.strerror or error}. What was finished is kept."


def nearest(word: str, known: Iterable[str], before: str = "") -> str:
    """A question about the name that was perhaps meant, empty where none is near.

    >>> nearest("CAMEL", ["ALIGN", "CAMAL"])
    ' Do you mean CAMAL?'
    >>> nearest("xyz", ["ALIGN", "CAMAL"])
    ''
    """
    lower = {name.lower(): name for name in known}
    found = difflib.get_close_matches(word.lower(), lower, 1)
    return f" Do you mean {before}{lower[found[0]]}?" if found else ""
