"""The folder that the page shows: its table, its images, and nothing outside of it."""

import csv
import hashlib
import io
import posixpath
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout
from jaxtyping import UInt8
from PIL import Image

from lookright.data.encoding import Encoding
from lookright.data.samples import COLUMNS, Sample, Samples, folder_encoding
from lookright.data.table import read_table
from lookright.errors import InputError
from lookright.replacing import replacing

OWN = ".studio"
"""What the page keeps in the folder: thumbnails, where each annotator was, runs that it trained."""

HISTORY = Path("masks", ".history")
LARGEST_PICTURE = 2000
PATIENCE = 10.0
"""Seconds that a process waits for another one that writes."""

_QUALITY = 85


class NotShown(InputError):
    """An image that the page does not show."""


class StudioFolder:
    """A native folder; its table is read again whenever `labels.csv` has changed.

    Args:
        root: with labels.csv.

    Raises:
        InputError: the table, or what its masks mean, cannot be read.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self._lock = threading.RLock()
        self._stamp: object = None
        self._read()

    @property
    def table(self) -> pd.DataFrame:
        """The table as it is now."""
        with self._lock:
            return self._read()

    @property
    def encoding(self) -> Encoding:
        """What the masks of the folder mean, those aside whose rows say it."""
        return self._encoding

    def row(self, image: str) -> dict[str, str]:
        """The row of an image as text by column.

        Raises:
            NotShown: the table has no such image.
        """
        with self._lock:
            self._read()
            position = self._positions.get(image)
            if position is None:
                raise NotShown(f"labels.csv names no image {image[:200]!r}.")
            return {str(name): str(value) for name, value in self._table.iloc[position].items()}

    def path(self, image: str) -> Path:
        """The file of an image of the table.

        Raises:
            NotShown: the table has no such image, or it lies outside of the folder.
        """
        self.row(image)
        return self.inside(self.root / image)

    def inside(self, path: Path) -> Path:
        """The path, which must lie in the folder once every link is followed.

        Raises:
            NotShown: it does not.
        """
        try:
            resolved = path.resolve()
        except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a zero byte
            raise NotShown(f"{str(path)!r} cannot be followed: {error}") from error
        if not resolved.is_relative_to(self.root):
            raise NotShown(f"{str(path)!r} lies outside of the folder, and the page shows nothing from there.")
        return path

    def sample(self, image: str) -> Sample:
        """An image and the mask that its row names, decoded.

        Raises:
            InputError: a file lies outside of the folder or cannot be read.
        """
        row, _ = self.row(image), self.path(image)
        for name in filter(None, row.get("mask", "").split(";")):
            self.inside(self.root / name.strip())
        columns = {name: [row[name]] for name in COLUMNS if name in row}
        return Samples(self.root, columns, self._encoding)[0]

    def picture(self, image: str, side: int = LARGEST_PICTURE) -> bytes:
        """An image as JPEG, upright, at most `side` pixels high and wide.

        Raises:
            InputError: it lies outside of the folder or cannot be read.
        """
        self.path(image)
        pixels = Samples(self.root, {"image": [image]}, self._encoding)[0].image.permute(1, 2, 0).numpy()
        return _jpeg(pixels, side)

    def thumbnail(self, image: str, side: int) -> bytes:
        """The same, kept in the folder for the next time.

        Raises:
            InputError: it lies outside of the folder or cannot be read.
        """
        path = self.path(image)
        try:
            status = path.stat()
            state = f"{image}\0{status.st_size}\0{status.st_mtime_ns}\0{side}"
        except OSError:
            return self.picture(image, side)
        kept = self.root / OWN / "thumbnails" / (hashlib.sha256(state.encode()).hexdigest()[:24] + ".jpg")
        self.inside(kept)
        try:
            return kept.read_bytes()
        except OSError:
            found = self.picture(image, side)
        try:
            kept.parent.mkdir(parents=True, exist_ok=True)
            with replacing(kept) as draft:
                draft.write_bytes(found)
        except OSError:  # a folder that nobody may write to is looked at all the same
            pass
        return found

    def cells(self, image: str) -> dict[str, str]:
        """The cells of an image's row as `labels.csv` has them.

        Raises:
            NotShown: the table has no such image any more.
        """
        with self._lock:
            header, lines = self._lines()
            return dict(zip(header, self._lines_of(image, header, lines)[0], strict=False))

    def set_cells(self, image: str, cells: Mapping[str, str]) -> None:
        """Write cells of an image's row into `labels.csv`, whose former text is kept in `masks/.history`.

        Columns that are missing are added, and everything else stays as it is.

        Raises:
            InputError: the table has no such image any more.
            OSError: the file cannot be written.
        """
        with self._lock:
            header, lines = self._lines()
            header += [name for name in cells if name not in header]
            for line in lines:
                if line:
                    line += [""] * (len(header) - len(line))
            for line in self._lines_of(image, header, lines):
                for name, value in cells.items():
                    line[header.index(name)] = value
            self._write([header, *lines])

    def add_rows(self, rows: pd.DataFrame) -> None:
        """Write rows at the end of `labels.csv`, whose former text is kept in `masks/.history`.

        Args:
            rows: with columns of the table; its others are left empty.

        Raises:
            InputError: with them, the table could not be read; it stays as it was.
            OSError: the file cannot be written.
        """
        with self.writing(), self._lock:
            header, lines = self._lines()
            added = rows.reindex(columns=header, fill_value="").to_numpy().tolist()
            self._write([header, *lines, *added], try_first=True)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Keep other processes from writing meanwhile.

        Raises:
            InputError: another one still writes after ten seconds.
            OSError: the folder cannot be written.
        """
        own = self.inside(self.root / OWN)
        own.mkdir(exist_ok=True)
        try:
            with FileLock(own / "lock", timeout=PATIENCE):
                yield
        except Timeout:
            raise InputError(f"Another process is writing {str(self.root)!r}. Try again.") from None

    def _write(self, lines: list[list[str]], try_first: bool = False) -> None:
        path = self.root / "labels.csv"
        former = self.inside(self.root / HISTORY) / "labels.csv"
        former.parent.mkdir(parents=True, exist_ok=True)
        with replacing(former) as draft:
            shutil.copyfile(path, draft)
        with replacing(path) as draft:
            with draft.open("w", encoding="utf-8", newline="") as file:
                csv.writer(file, lineterminator="\n").writerows(lines)
            if try_first:
                read_table(draft.parent)

    def _lines(self) -> tuple[list[str], list[list[str]]]:
        with self.inside(self.root / "labels.csv").open(encoding="utf-8-sig", newline="") as file:
            header, *lines = list(csv.reader(file))
        return header, lines

    def _lines_of(self, image: str, header: list[str], lines: list[list[str]]) -> list[list[str]]:
        place = header.index("image")
        found = [line for line in lines if len(line) > place and posixpath.normpath(line[place]) == image]
        if not found:
            raise NotShown(f"labels.csv names no image {image[:200]!r}.")
        return found

    def _read(self) -> pd.DataFrame:
        path = self.root / "labels.csv"
        try:
            status = path.stat()
            stamp: object = (status.st_size, status.st_mtime_ns, status.st_ino)
        except OSError:
            stamp = None
        if stamp is None or stamp != self._stamp:
            table = read_table(self.root)
            table["image"] = table["image"].map(posixpath.normpath)
            self._table = table.drop_duplicates("image", ignore_index=True)
            if self._stamp is None:
                self._encoding = folder_encoding(self.root, table)
            self._positions = {name: position for position, name in enumerate(self._table["image"])}
            self._stamp = stamp
        return self._table


def _jpeg(pixels: UInt8[np.ndarray, "H W 3"], side: int) -> bytes:
    image = Image.fromarray(pixels)
    image.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    file = io.BytesIO()
    image.save(file, "jpeg", quality=_QUALITY)
    return file.getvalue()
