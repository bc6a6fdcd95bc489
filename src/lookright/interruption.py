"""Ctrl-C and SIGTERM, which batch systems send, end a training after the step that it is in."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """A signal asked for the end.

    Args:
        number: of the signal.
        advice: what is kept, and how to go on.
    """

    def __init__(self, number: int, advice: str = "") -> None:
        super().__init__(advice)
        self.number = number
        self.advice = advice

    @property
    def exit_code(self) -> int:
        """What a shell calls the end by this signal: 130 for Ctrl-C, 143 for SIGTERM."""
        return 128 + self.number


class Request:
    """Whether somebody asked for the end; `signal` is None as long as nobody did."""

    signal: int | None = None


@contextmanager
def noticing_signals() -> Iterator[Request]:
    """Notes the first signal instead of ending at once; the second one ends at once.

    Outside of the main thread, which alone gets signals, nothing is ever noted.
    """
    request = Request()

    def note(number: int, frame: FrameType | None) -> None:
        if request.signal is not None:
            raise Interrupted(number)
        request.signal = number

    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, note) for number in SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def ending_at_sigterm() -> Iterator[None]:
    """SIGTERM ends this process as Ctrl-C does: what is open is closed, and a message says what is kept."""

    def end(number: int, frame: FrameType | None) -> None:
        raise Interrupted(number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
