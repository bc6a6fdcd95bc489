"""Folders of the layout `domain/class/image`, in which DomainBed's data sets come, as native folders."""

import hashlib
import tarfile
from pathlib import Path

import pandas as pd
from torchvision.datasets.folder import IMG_EXTENSIONS

from lookright.errors import InputError
from lookright.replacing import replacing

SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
VLCS_URL = "https://drive.google.com/uc?id=1skwblH1_okBwxWxmRsp9_qi15hyPpxg8"
VLCS_MD5 = "8870171eba660927d9668f4e515928e4"


def read_domain_folders(folder: Path) -> pd.DataFrame:
    """One row per image of a folder `domain/class/image`: `image` (path in the folder), `label` and `domain`.

    Where all outer folders are called train, val (valid, validation) or test, they are splits: the column is `split`.
    Files in other places and of other types than images are left out, and so is what starts with a dot.

    Raises:
        InputError: no such folder, no image at this depth, or a class that one domain spells otherwise than another.
    """
    if not folder.is_dir():
        raise InputError(f"No folder {str(folder)!r}. Expected a folder with the layout domain/class/image.")
    paths = sorted(path.relative_to(folder) for path in folder.glob("*/*/*") if path.suffix.lower() in IMG_EXTENSIONS)
    rows = [
        {"image": path.as_posix(), "label": path.parts[1], "domain": path.parts[0]}
        for path in paths
        if not any(part.startswith(".") for part in path.parts)
    ]
    if not rows:
        raise InputError(
            f"No image in {str(folder)!r} that lies two folders deep. Expected the layout domain/class/image."
        )
    table = pd.DataFrame(rows)
    outer = set(table["domain"])
    if {name.lower() for name in outer} <= set(SPLITS):
        table = table.rename(columns={"domain": "split"})
        table["split"] = table["split"].map(lambda name: SPLITS[name.lower()])
    elif any(name.lower() == "train" for name in outer):
        raise InputError(
            f"{str(folder)!r} has the folders {', '.join(sorted(outer))}, of which some are splits and others are not. "
            "Expected either domains or train, val and test."
        )
    for label in table["label"].unique():
        other = [name for name in table["label"].unique() if name != label and name.lower() == label.lower()]
        if other:
            raise InputError(f"Classes {label!r} and {other[0]!r} of {str(folder)!r} differ in case only; rename one.")
    return table


def index_domain_folders(folder: Path) -> pd.DataFrame:
    """Write `labels.csv` into a folder `domain/class/image`, which makes it a native folder; the images stay.

    Raises:
        InputError: as `read_domain_folders`, or the folder has a `labels.csv` that says something else.
    """
    table = read_domain_folders(folder)
    path, text = folder / "labels.csv", table.to_csv(index=False, lineterminator="\n")
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise InputError(f"{str(path)!r} exists and names other images or labels. Delete it to index the folder anew.")
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8")
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
        table = index_domain_folders(draft)
    return table
