"""One process at a time writes a run."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from lookright.errors import InputError
from lookright.replacing import is_draft

LOCK = ".lock"


@contextmanager
def only_writer(out: Path) -> Iterator[None]:
    """Keeps other processes from writing the run meanwhile; a process that dies lets go.

    Args:
        out: directory of the run, which exists.

    Raises:
        InputError: another process is writing the run.
    """
    lock = FileLock(out / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise InputError(
            f"Another process is writing {str(out)!r}. Wait until it is done, or give another --out."
        ) from None
    try:
        yield
    finally:
        lock.release()


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
