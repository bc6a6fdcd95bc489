"""What every writer of a format gets."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Shaped

from lookright.data.formats.annotated import Annotated
from lookright.data.images import read_header
from lookright.errors import InputError

IGNORED = "ignore"
"""The label of ignored pixels in formats that have no word of their own for them."""


@dataclass(frozen=True)
class Writer:
    """Writes a folder for other tools.

    Attributes:
        name: on the command line.
        about: what it writes.
        write: makes of the images of a folder, and the folder, the text of each file by its suffix, the main one first.
    """

    name: str
    about: str
    write: Callable[[Iterable[Annotated], Path], dict[str, str]]


class Exported(NamedTuple):
    """An image of a folder and its mask.

    Attributes:
        name: of the file, from the folder.
        label: of the image.
        split: empty where there is none.
        height: of the upright image in pixels.
        width: likewise.
        shares: how much each pixel is evidence; None: the image has no mask.
        ignore: pixels of which nobody knows; None: none.
    """

    name: str
    label: str
    split: str
    height: int
    width: int
    shares: Shaped[np.ndarray, "H W"] | None
    ignore: Bool[np.ndarray, "H W"] | None

    @property
    def evidence(self) -> Bool[np.ndarray, "H W"] | None:
        """What is evidence by half or more."""
        return None if self.shares is None else self.shares >= 0.5


def exported(images: Iterable[Annotated], root: Path) -> Iterator[Exported]:
    """What to write of labelled images that lie in a folder.

    Raises:
        InputError: an image lies elsewhere.
    """
    for one in images:
        if not one.image.is_relative_to(root) or ".." in one.image.parts[len(root.parts) :]:
            raise InputError(f"Image {str(one.image)!r} lies outside of {str(root)!r}; expected paths within it.")
        width, height = read_header(one.image).upright
        name, label = one.image.relative_to(root).as_posix(), one.label or ""
        yield Exported(name, label, one.split or "", height, width, one.marked.get(label), one.ignore)
