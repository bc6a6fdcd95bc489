"""Files and folders appear whole or not at all."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from lookright.errors import InputError

DRAFT = 9
"""Characters that follow the name of a file in that of its draft's folder."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write a file or folder at, which is renamed to `path` once all is written.

    Whatever is raised meanwhile, `path` stays as it was. The path given has the name of `path` and lies, alone, in a
    new folder beside it; that folder is deleted in the end, with anything else that was put there.

    Args:
        path: in a folder that exists. A file, or an empty folder, that is there already is replaced.

    Raises:
        InputError: `path` is a pipe or a device, which a file must not replace.
        OSError: `path` cannot be written, or is a folder with something in it. One that names no file names `path`.

    Example:
        >>> out = getfixture("tmp_path") / "table.csv"
        >>> with replacing(out) as draft:
        ...     size = draft.write_text("image,label")
        ...     out.exists()
        False
        >>> out.read_text()
        'image,label'
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise InputError(f"{str(path)!r} is a pipe or a device. Expected the name of a file to write.")
    # A folder of its own leaves the permissions of what is written to its writer: a temporary file's are its owner's.
    with TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent, ignore_cleanup_errors=True) as folder:
        draft = Path(folder, path.name)
        try:
            yield draft
        except OSError as error:  # of a full disk, which does not say where
            error.filename = error.filename or str(path)
            raise
        draft.replace(path)


def remove_drafts(folder: Path, suffixes: tuple[str, ...]) -> None:
    """Delete the drafts that killed writers left in a folder and in the folders in it.

    Args:
        folder: in which no other process writes files with these suffixes.
        suffixes: of the files whose drafts are meant, such as `.csv`.
    """
    for path in [*folder.glob(".*"), *folder.glob("*/.*")]:
        if is_draft(path) and path.name[:-DRAFT].endswith(suffixes):
            shutil.rmtree(path, ignore_errors=True)


def is_draft(path: Path) -> bool:
    """Whether a folder is named as `replacing` names those for its drafts."""
    return path.is_dir() and re.fullmatch(r"\..+-[a-z0-9_]{8}", path.name) is not None
