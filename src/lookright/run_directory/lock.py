"""One process at a time writes a run or a study."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from lookright.errors import InputError
from lookright.replacing import is_draft, remove_drafts

LOCK = ".lock"

PATIENCE = 2.0
"""Seconds to wait for a lock: whoever asks whether a run is being written holds it for a moment."""

SUFFIXES = (".ckpt", ".csv", ".json", ".npz", ".safetensors", ".yaml")
"""Of the files that only the holder of a lock writes; reports, films and exports are written without it."""


@contextmanager
def only_writer(out: Path) -> Iterator[None]:
    """Keeps other processes from writing a run or a study meanwhile; a process that dies lets go.

    The drafts that it left are deleted.

    Args:
        out: directory of the run or study, which exists.

    Raises:
        InputError: another process is writing there.
    """
    lock = FileLock(out / LOCK, timeout=PATIENCE)
    try:
        lock.acquire()
    except Timeout:
        raise InputError(
            f"Another process is writing {str(out)!r}. Wait until it is done, or give another --out."
        ) from None
    try:
        remove_drafts(out, SUFFIXES)
        yield
    finally:
        lock.release()


def remove_leftovers(out: Path) -> None:
    """Delete the drafts that a killed writer left in a run or study, unless another process writes there now."""
    with suppress(InputError, OSError), only_writer(out):
        pass


def require_empty(out: Path) -> None:
    """Refuse a directory that holds files already; drafts that a killed writer left are none.

    Raises:
        InputError: it does, or is no directory.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{str(out)!r} is a file; --out expects a directory, which is made if it is not there.")
    if out.exists() and any(path.name != LOCK and not is_draft(path) for path in out.iterdir()):
        raise InputError(
            f"{str(out)!r} already holds files. Continue a run with --resume {out}, or give another --out."
        )
