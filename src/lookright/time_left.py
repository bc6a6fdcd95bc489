"""How far a long work is, and how long it still takes: a bar on a terminal, a line a minute in a file or a pipe."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import track

Step = TypeVar("Step")

SECONDS_BETWEEN_LINES = 60


def with_time_left(steps: Iterable[Step], name: str, total: int, shown: bool = True) -> Iterator[Step]:
    """The steps, one by one, while standard error tells how far they are.

    Args:
        steps: what is gone through.
        name: what is done.
        total: how many steps there are.
        shown: False tells nothing.
    """
    if not shown:
        yield from steps
    elif sys.stderr.isatty():
        yield from track(steps, name, total=total, console=Console(stderr=True))
    else:
        yield from _with_lines(steps, name, total)


def _with_lines(steps: Iterable[Step], name: str, total: int) -> Iterator[Step]:
    started = told = time.monotonic()
    for number, step in enumerate(steps, start=1):
        yield step
        now = time.monotonic()
        if now - told >= SECONDS_BETWEEN_LINES and number < total:
            told = now
            left = duration((now - started) / number * (total - number))
            print(f"{name}: {number} of {total}, about {left} left", file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """So many seconds in words that are quickly read.

    >>> duration(7), duration(95), duration(3 * 3600 + 125)
    ('7 s', '2 min', '3 h 2 min')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
