"""How far the runs of a study are."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from lookright.errors import InputError
from lookright.run_directory import read_json
from lookright.run_directory.lock import LOCK

FAILURES = "failures.json"
"""In a study's directory: what stopped each run that failed in the last visit, by its directory."""


def run_states(directory: Path, outs: Iterable[Path]) -> Iterator[tuple[str, str]]:
    """The directory of each run, within the study's, and its state.

    That is `finished`, `running`, `failed: ...`, `interrupted` or `waiting`.

    Args:
        directory: of the study.
        outs: of the runs.
    """
    path = directory / FAILURES
    failures = read_json(path) if path.is_file() else {}
    for out in outs:
        name = out.relative_to(directory).as_posix()
        yield name, _state(out, failures.get(name))


def is_finished(out: Path) -> bool:
    """Whether a run has a result that can be read."""
    try:
        read_json(out / "result.json")
    except InputError:
        return False
    return True


def _state(out: Path, failure: object) -> str:
    if is_finished(out):
        return "finished"
    if _is_written(out):
        return "running"
    if failure is not None:
        return f"failed: {failure}"
    return "interrupted" if (out / "config.yaml").is_file() else "waiting"


def _is_written(out: Path) -> bool:
    if not (out / LOCK).is_file():
        return False
    try:
        with FileLock(out / LOCK, timeout=0):
            return False
    except Timeout:
        return True
