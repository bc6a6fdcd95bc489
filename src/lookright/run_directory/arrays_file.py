"""`.npz` files of a run: arrays of numbers by name."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from lookright.errors import InputError

LARGEST = 2**30
"""Bytes of the arrays of a file once unpacked."""


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays of a file without running any code that it may hold.

    Raises:
        InputError: it is no such file, damaged, unpacks to more than `LARGEST` bytes, or holds objects.
    """
    if not path.is_file():
        raise InputError(f"No file {str(path)!r}. Expected arrays that an evaluation writes there.")
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(_bytes(archive, entry) for entry in archive.infolist())
        if unpacked > LARGEST:
            raise InputError(f"{str(path)!r} unpacks to {unpacked:,} bytes; expected at most {LARGEST:,}.")
        with np.load(path, allow_pickle=False) as stored:
            return dict(stored)
    except InputError:
        raise
    except (OSError, ValueError, EOFError, KeyError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"Cannot read {str(path)!r}: {error or 'it is damaged'}. Evaluate the run again.") from error


def _bytes(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> int:
    """What an entry and the array that its header announces take, whichever is more."""
    with archive.open(entry) as file:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(file)
    announced = dtype.itemsize
    for length in shape:
        announced *= length
    return max(entry.file_size, announced)
