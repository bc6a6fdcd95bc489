"""The masks that annotators draw: one file for each image and annotator, written whole, the former ones kept."""

import hashlib
import json
import os
import posixpath
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lookright.data.images import ORIENTATION, mask_pixels, read_header, turned
from lookright.data.mask_pixels import Channel
from lookright.errors import InputError
from lookright.replacing import replacing
from lookright.studio.drawing import EVIDENCE, IGNORE, NUISANCE, Codes
from lookright.studio.folder import HISTORY, StudioFolder

DRAWN = Path("masks", "drawn")
"""Where masks lie in the folder, by annotator."""

KEPT = 100
"""Former masks of each image and annotator."""

CELLS = ("mask", "mask_value", "mask_ignore", "mask_polarity", "annotator")


class Outdated(Exception):
    """The mask was changed since it was looked at.

    Args:
        version: that it has now.
    """

    def __init__(self, version: str) -> None:
        super().__init__(
            "This mask was changed in another window. What is there now is shown; what you drew last was not added."
        )
        self.version = version


@dataclass(frozen=True)
class Annotation:
    """A mask that is being drawn.

    Attributes:
        codes: (H, W), see `lookright.studio.drawing`.
        version: of the annotator's file; empty where there is none.
        is_own: whether the annotator has drawn one.
        former: masks that can be gone back to.
    """

    codes: Codes
    version: str
    is_own: bool
    former: int


class Annotations:
    """The masks of a folder's annotators.

    An annotator's mask of `images/cat/1.jpg` is `masks/drawn/NAME/cat/1.jpg.png`; the row of the image names the mask
    that was saved last, and its columns `mask_value`, `mask_ignore` and `mask_polarity` say what its numbers mean,
    whatever the folder's other masks are encoded as.

    Args:
        folder: that they lie in.
    """

    def __init__(self, folder: StudioFolder) -> None:
        self.folder = folder

    def read(self, image: str, annotator: str) -> Annotation:
        """The annotator's mask; before there is one, that of the table unless another annotator drew it.

        Raises:
            InputError: no such image, no name, or a file that cannot be read.
        """
        file = self._file(image, annotator)
        if file.is_file():
            return self._own(image, annotator)
        header = read_header(self.folder.path(image))
        codes: Codes = np.zeros(header.upright[::-1], np.uint8)
        row = self.folder.row(image)
        if (row.get("mask") or row.get("box")) and row.get("annotator", "") in ("", annotator):
            mask = self.folder.sample(image).mask
            if mask is not None:
                codes = codes_of(mask.numpy() / (1 if mask.is_floating_point() else 255))
        return Annotation(codes, "", False, 0)

    def change(self, image: str, annotator: str, version: str, change: Callable[[Codes], Codes]) -> Annotation:
        """Write a mask, and keep the former one.

        Args:
            image: of the table.
            annotator: whose mask it is.
            version: of the mask that the annotator has seen.
            change: makes the new mask of it.

        Raises:
            Outdated: the mask has another version by now; nothing is written.
            InputError: see `read`, and what `change` raises.
            OSError: it cannot be written; nothing is changed.
        """
        with self.folder.writing():
            before = self.read(image, annotator)
            if version != before.version:
                raise Outdated(before.version)
            codes = change(before.codes)
            self._keep(image, annotator, before.is_own)
            file = self._file(image, annotator)
            file.parent.mkdir(parents=True, exist_ok=True)
            with replacing(file) as draft:
                self._save(image, codes, draft)
            self._set_row(image, annotator, codes)
            return self._own(image, annotator)

    def undo(self, image: str, annotator: str, version: str) -> Annotation:
        """Go back to the former mask; before the first one, to what the table named then.

        Raises:
            Outdated: the mask has another version by now.
            InputError: there is none to go back to.
        """
        with self.folder.writing():
            before = self.read(image, annotator)
            if version != before.version:
                raise Outdated(before.version)
            if not before.is_own:
                raise InputError("There is nothing to undo.")
            file, former = self._file(image, annotator), self._former(image, annotator)
            if former:
                os.replace(former[-1], file)
                after = self._own(image, annotator)
                self._set_row(image, annotator, after.codes)
                return after
            first = self._history(image, annotator) / "row.json"
            if not first.is_file():
                raise InputError(f"The last {KEPT} masks of an image are kept, and this is the oldest.")
            if self.folder.row(image).get("annotator", "") == annotator:
                self.folder.set_cells(image, json.loads(first.read_text(encoding="utf-8")))
            file.unlink()
            first.unlink()
            return self.read(image, annotator)

    def by_image(self) -> dict[str, list[str]]:
        """Who has drawn a mask of which image."""
        found: dict[str, list[str]] = {}
        drawn = self.folder.inside(self.folder.root / DRAWN)
        if not drawn.is_dir():
            return found
        names = {mask_name(image): image for image in self.folder.table["image"]}
        for place in sorted(drawn.iterdir()):
            for file in sorted(place.rglob("*.png")) if _is_name(place.name) and not place.is_symlink() else ():
                image = names.get(file.relative_to(place).as_posix())
                if image is not None:
                    found.setdefault(image, []).append(place.name)
        return found

    def agreement(self) -> list[dict[str, Any]]:
        """Of each image that several annotators drew: who, and the least IoU of two of them, lowest first.

        Two masks without evidence agree, with 1.
        """
        found = []
        for image, names in self.by_image().items():
            if len(names) > 1:
                evidence = [self._own(image, name).codes == EVIDENCE for name in names]
                ious = [
                    float((one & other).sum() / (one | other).sum()) if (one | other).any() else 1.0
                    for one, other in combinations(evidence, 2)
                ]
                found.append({"image": image, "annotators": names, "iou": round(min(ious), 4)})
        return sorted(found, key=lambda one: one["iou"])

    def _file(self, image: str, annotator: str) -> Path:
        require_name(annotator)
        self.folder.path(image)
        return self.folder.inside(self.folder.root / DRAWN / annotator / mask_name(image))

    def _history(self, image: str, annotator: str) -> Path:
        return self.folder.inside(self.folder.root / HISTORY / annotator / mask_name(image))

    def _former(self, image: str, annotator: str) -> list[Path]:
        return sorted(self._history(image, annotator).glob("[0-9]*.png"))

    def _own(self, image: str, annotator: str) -> Annotation:
        file = self._file(image, annotator)
        codes = mask_pixels(file, self.folder.encoding)[0][1].values.astype(np.uint8)
        width, height = read_header(self.folder.path(image)).upright
        if codes.shape != (height, width):
            raise InputError(f"{str(file)!r} is of another size than its image, {width} by {height}; remove it.")
        digest = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
        return Annotation(codes, digest, True, len(self._former(image, annotator)))

    def _keep(self, image: str, annotator: str, is_own: bool) -> None:
        """What is there now, for `undo`."""
        place = self._history(image, annotator)
        place.mkdir(parents=True, exist_ok=True)
        if not is_own:
            cells = dict.fromkeys(CELLS, "") | {
                name: value for name, value in self.folder.cells(image).items() if name in (*CELLS, "mask_weight")
            }
            for left in self._former(image, annotator):
                left.unlink()
            with replacing(place / "row.json") as draft:
                draft.write_text(json.dumps(cells), encoding="utf-8")
            return
        former = self._former(image, annotator)
        number = int(former[-1].stem) + 1 if former else 1
        with replacing(place / f"{number:06}.png") as draft:
            shutil.copyfile(self._file(image, annotator), draft)
        for path in former[: max(len(former) + 1 - KEPT, 0)]:
            path.unlink()
            (place / "row.json").unlink(missing_ok=True)

    def _save(self, image: str, codes: Codes, path: Path) -> None:
        """As the pixels of the image are stored: who turns the image turns the mask."""
        orientation = read_header(self.folder.path(image)).orientation
        stored = turned(Image.fromarray(codes), {6: 8, 8: 6}.get(orientation, orientation))
        picture = _in_channel(stored, self.folder.encoding.channel)
        exif = Image.Exif()
        if orientation > 1:
            exif[ORIENTATION] = orientation
        picture.save(path, "png", exif=exif)

    def _set_row(self, image: str, annotator: str, codes: Codes) -> None:
        is_nuisance = bool((codes == NUISANCE).any() and not (codes == EVIDENCE).any())
        row = self.folder.row(image)
        cells = {
            "mask": self._file(image, annotator).relative_to(self.folder.root).as_posix(),
            "mask_value": str(NUISANCE if is_nuisance else EVIDENCE),
            "mask_ignore": str(IGNORE),
            "mask_polarity": "nuisance" if is_nuisance else "evidence",
            "annotator": annotator,
        }
        if any(row.get(name) != value for name, value in cells.items()):
            if _is_zero(self.folder.cells(image).get("mask_weight", "")):
                cells["mask_weight"] = "1"
            self.folder.set_cells(image, cells)


def codes_of(planes: np.ndarray) -> Codes:
    """The numbers of a mask that was read: what is at least half evidence is evidence.

    A mask that ignores all but what must not matter is one of nuisance.

    >>> codes_of(np.array([[[0.0, 0.7]], [[1.0, 0.0]]])).tolist()
    [[128, 255]]
    >>> codes_of(np.array([[[0.0, 0.0]], [[1.0, 0.0]]])).tolist()
    [[0, 64]]
    """
    evidence = planes[0] >= 0.5
    ignored = planes[1] >= 0.5 if len(planes) > 1 else np.zeros_like(evidence)
    if ignored.any() and not evidence.any():
        return np.where(ignored, np.uint8(0), np.uint8(NUISANCE))
    return np.where(evidence, np.uint8(EVIDENCE), np.where(ignored, np.uint8(IGNORE), np.uint8(0)))


def mask_name(image: str) -> str:
    """The image's path without a leading `images/`, as PNG.

    >>> mask_name("images/cat/1.jpg")
    'cat/1.jpg.png'
    """
    return posixpath.normpath(image).removeprefix("images/") + ".png"


def require_name(annotator: str) -> None:
    """Refuse what is no name of an annotator, which becomes one of a folder.

    Raises:
        InputError: it is none.
    """
    if not _is_name(annotator):
        raise InputError(
            f"{annotator[:60]!r} is no name for an annotator. Expected up to 40 letters, digits, spaces, '_' and '-', "
            "such as 'Ada'."
        )


def _is_zero(cell: str) -> bool:
    try:
        return float(cell) == 0
    except ValueError:
        return False


def _is_name(annotator: str) -> bool:
    return re.fullmatch(r"\w(?:[\w -]{0,38}\w)?", annotator) is not None


def _in_channel(codes: Image.Image, channel: Channel | None) -> Image.Image:
    """The numbers where the folder's masks have theirs."""
    if channel == "alpha":
        return Image.merge("LA", (codes, codes))
    if channel == "rgb_id":
        return Image.merge("RGB", (codes, Image.new("L", codes.size), Image.new("L", codes.size)))
    return codes
