"""Folders whose names tell labels, domains or splits, as native folders; DomainBed's data sets come so."""

import hashlib
import posixpath
import tarfile
import warnings
from collections.abc import Sequence, Set
from pathlib import Path

import pandas as pd
from torchvision.datasets.folder import IMG_EXTENSIONS

from lookright.data.formats.suffixes import MASK, MASK_FOLDERS, SPLITS
from lookright.errors import InputError
from lookright.replacing import replacing

LAYOUTS = "domain/class/image, split/class/image or class/image"
MOST_TOLD = 10
CONTACT_SHEET = "contact_sheet.png"
"""A picture of a folder that `lookright data sheet` writes into it: no image of its data."""
VLCS_URL = "https://drive.google.com/uc?id=1skwblH1_okBwxWxmRsp9_qi15hyPpxg8"
VLCS_MD5 = "8870171eba660927d9668f4e515928e4"


def read_image_folders(folder: Path) -> pd.DataFrame:
    """One row per image of a folder `domain/class/image`, `class/image`, or of images alone, by the names of folders.

    Where all outer folders are called train, val (valid, validation) or test, they are splits; a single one is no
    domain. Images that lie in no folder of a class have the name of the whole folder as label. Files of other types
    than images are left out, and so is what starts with a dot; images that do not lie as deep as the deepest are left
    out with a warning.

    Returns:
        `image` (path in the folder), `label` and, where there are several, `domain` or `split`.

    Raises:
        InputError: no such folder, no image at these depths, masks among the images, some outer folders are splits and
            others are not, a name that is no text, or a class that is spelled in two ways.
    """
    if not folder.is_dir():
        raise InputError(f"No folder {str(folder)!r}. Expected a folder with the layout {LAYOUTS}.")
    images = _images_in(folder)
    if not images:
        raise InputError(f"No image in {str(folder)!r}. Expected labels.csv, or images with the layout {LAYOUTS}.")
    _require_images_alone(folder, images)
    deep = [path for path in images if len(path.parts) == len(images[-1].parts)]
    if len(deep) < len(images):
        warnings.warn(
            f"Left out: {len(images) - len(deep)} of {len(images)} images in {str(folder)!r}, such as "
            f"{str(images[0])!r}, which lies in fewer folders than {str(deep[0])!r}.",
            stacklevel=2,
        )
    return _with_outer(folder, deep)


def index_image_folders(folder: Path) -> pd.DataFrame:
    """Write `labels.csv` into a folder whose folders tell labels, which makes it a native folder; the images stay.

    Raises:
        InputError: as `read_image_folders`, or the folder has a `labels.csv` that says something else.
    """
    table = read_image_folders(folder)
    path, text = folder / "labels.csv", table.to_csv(index=False, lineterminator="\n")
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise InputError(f"{str(path)!r} exists and names other images or labels. Delete it to index the folder anew.")
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8")
    return table


def unlisted_images(folder: Path, table: pd.DataFrame) -> list[str]:
    """Images of a native folder that its table names neither as image nor as mask, and that do not look like masks.

    Those whose names are no text (UTF-8), which no table can name, are left out.
    """
    masks = table.get("mask", ())
    named = {
        posixpath.normpath(name.strip()) for cell in (*table["image"], *masks) for name in (cell, *cell.split(";"))
    }
    images = _images_in(folder)
    new = [path for path in images if path.as_posix() not in named and _is_text(path)]
    stems = {path.with_suffix("") for path in images} if new else set()
    return [path.as_posix() for path in new if not _is_like_mask(path, stems)]


def rows_of(unlisted: Sequence[str], folder: Path, table: pd.DataFrame) -> pd.DataFrame:
    """Rows for unlisted images, where folders tell what the table says of every image that it lists.

    Returns:
        `image`, `label`, and `split` or `domain` where the table has them, of the images that lie as deep as the listed
        ones; no row where the listed ones do not lie equally deep, or the table says anything else than their folders.
    """
    listed = [Path(image) for image in table["image"]]
    depths = {len(path.parts) for path in listed if not path.is_absolute()}
    new = [path for path in map(Path, unlisted) if {len(path.parts)} == depths]
    none = pd.DataFrame({"image": [], "label": []})
    if not new or any(path.is_absolute() for path in listed):
        return none
    try:
        told = _with_outer(folder, [*listed, *new])
    except InputError:
        return none
    names = [name for name in ("label", "split", "domain") if name in table]
    fits = set(names) == set(told.columns) - {"image"}
    fits = fits and told[names].head(len(listed)).to_numpy().tolist() == table[names].to_numpy().tolist()
    return told.iloc[len(listed) :] if fits else none


def as_sentence(table: pd.DataFrame, folder: Path) -> str:
    """What an indexed folder holds.

    >>> as_sentence(pd.DataFrame({"label": ["cat", "dog", "cat"]}), Path("pets"))
    '3 images of 2 classes by their folders: cat, dog. They are listed in pets/labels.csv.'
    """
    names = table["label"].unique()
    told = ", ".join(names[:MOST_TOLD]) + (", ..." if len(names) > MOST_TOLD else "")
    of = f"{len(names)} classes by their folders" if len(names) > 1 else "one class"
    return f"{len(table)} images of {of}: {told}. They are listed in {folder / 'labels.csv'}."


def _require_images_alone(folder: Path, images: list[Path]) -> None:
    """Refuse names that are no text, and what looks like masks."""
    stems = {path.with_suffix("") for path in images}
    for path in images:
        if not _is_text(path):
            raise InputError(f"The name of {str(path)!r} in {str(folder)!r} is no text (UTF-8). Rename it.")
        if _is_like_mask(path, stems):
            raise InputError(
                f"{str(folder / path)!r} looks like a mask, and folders do not tell whose. Write labels.csv with the "
                "columns image, label and mask, or try 'lookright data convert'."
            )


def _images_in(folder: Path) -> list[Path]:
    """The images at most three folders deep, those that lie deepest last."""
    found = [path.relative_to(folder) for depth in ("*", "*/*", "*/*/*") for path in sorted(folder.glob(depth))]
    return [
        path
        for path in found
        if path.suffix.lower() in IMG_EXTENSIONS
        and not any(part.startswith(".") for part in path.parts)
        and path != Path(CONTACT_SHEET)
    ]


def _is_text(path: Path) -> bool:
    try:
        return bool(str(path).encode())
    except UnicodeEncodeError:
        return False


def _is_like_mask(path: Path, stems: Set[Path]) -> bool:
    named = MASK.match(path.stem)
    return path.parts[0].lower() in MASK_FOLDERS or (named is not None and path.with_name(named["image"]) in stems)


def _with_outer(folder: Path, images: list[Path]) -> pd.DataFrame:
    outer = [path.parts[0] for path in images]
    depth = len(images[0].parts) - 1
    are_splits = depth > 0 and {name.lower() for name in outer} <= set(SPLITS)
    labels = [Path(folder.resolve().name, *path.parts[int(are_splits) : -1]).name for path in images]
    table = pd.DataFrame({"image": [path.as_posix() for path in images], "label": labels})
    if are_splits:
        table["split"] = [SPLITS[name.lower()] for name in outer]
    elif depth > 1 and any(name.lower() == "train" for name in outer):
        raise InputError(
            f"{str(folder)!r} has the folders {', '.join(sorted(set(outer)))}, of which some are splits and others are "
            "not. Expected either domains or train, val and test."
        )
    elif depth > 1 and len(set(outer)) > 1:
        table["domain"] = outer
    for label in table["label"].unique():
        other = [name for name in table["label"].unique() if name != label and name.lower() == label.lower()]
        if other:
            raise InputError(f"Classes {label!r} and {other[0]!r} of {str(folder)!r} differ in case only; rename one.")
    return table


def unpack_vlcs(archive: Path, out: Path, md5: str = VLCS_MD5) -> pd.DataFrame:
    """Check and unpack DomainBed's VLCS.tar.gz into a native folder: Caltech101, LabelMe, SUN09 and VOC2007, 5 classes.

    The images come from four sets with terms of their own and the archive lies on a site that asks before it lets go
    of large files, so it is fetched by hand.

    Args:
        archive: VLCS.tar.gz.
        out: where to unpack to; must not exist.
        md5: the sum that the archive must have.

    Raises:
        InputError: no such archive, another sum, or `out` exists.
    """
    if not archive.is_file():
        raise InputError(f"No archive {str(archive)!r}. Fetch VLCS.tar.gz (3.6 GB) from {VLCS_URL} with a browser.")
    if out.exists():
        raise InputError(f"{str(out)!r} exists. Name a folder that does not, or delete it.")
    with archive.open("rb") as file:
        found = hashlib.file_digest(file, "md5").hexdigest()
    if found != md5:
        raise InputError(f"{str(archive)!r} has the MD5 sum {found}, expected {md5}. Fetch it again from {VLCS_URL}.")
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as draft:
        with tarfile.open(archive) as tar:
            tar.extractall(draft.parent, filter="data")
        draft.with_name("VLCS").rename(draft)
        table = index_image_folders(draft)
    return table
