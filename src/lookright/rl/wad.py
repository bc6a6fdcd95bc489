"""Doom's archives: files with a directory of named lumps of bytes."""

import struct
from pathlib import Path
from typing import BinaryIO

from lookright.errors import InputError


def directory(file: BinaryIO) -> list[tuple[str, int, int]]:
    """Name, place and length of each lump of an open archive.

    Raises:
        InputError: no archive, or a damaged one.
    """
    try:
        kind, number, start = struct.unpack("<4sii", file.read(12))
        file.seek(start)
        entries = [struct.unpack("<ii8s", file.read(16)) for _ in range(number)]
        found = [(name.rstrip(b"\0").decode("ascii"), place, length) for place, length, name in entries]
    except (struct.error, UnicodeDecodeError, ValueError, OSError) as error:
        raise InputError(f"{str(file.name)!r} is no WAD file, or a damaged one ({error}).") from error
    if kind not in (b"IWAD", b"PWAD"):
        raise InputError(f"{str(file.name)!r} is no WAD file: it begins with {kind!r}, not with IWAD or PWAD.")
    return found


def read_lump(file: BinaryIO, place: int, length: int) -> bytes:
    """The bytes of one."""
    file.seek(place)
    return file.read(length)


def read_wad(path: Path) -> list[tuple[str, bytes]]:
    """All lumps, in order: those of a map follow an empty one with its name.

    Raises:
        InputError: no archive, or a damaged one.
    """
    with path.open("rb") as file:
        return [(name, read_lump(file, place, length)) for name, place, length in directory(file)]


def write_wad(lumps: list[tuple[str, bytes]], path: Path) -> None:
    """Write an archive that joins a game's own."""
    places, end = [], 12
    for _, content in lumps:
        places.append(end)
        end += len(content)
    entries = (
        struct.pack("<ii8s", place, len(content), name.encode("ascii"))
        for (name, content), place in zip(lumps, places, strict=True)
    )
    path.write_bytes(
        b"".join([struct.pack("<4sii", b"PWAD", len(lumps), end), *(content for _, content in lumps), *entries])
    )
