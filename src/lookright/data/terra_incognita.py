"""Terra Incognita: camera-trap photographs from four places, each a domain, as a native folder."""

import base64
import hashlib
import http.client
import json
import tarfile
import urllib.request
import zipfile
from collections import defaultdict
from pathlib import Path

import pandas as pd

from lookright.data.image_folders import index_image_folders
from lookright.errors import InputError
from lookright.replacing import replacing

SOURCE = "https://storage.googleapis.com/public-datasets-lila/caltechcameratraps"
IMAGES = "eccv_18_all_images_sm.tar.gz"
ANNOTATIONS = "labels/caltech_camera_traps.json.zip"
LOCATIONS = ("38", "43", "46", "100")
CLASSES = ("bird", "bobcat", "cat", "coyote", "dog", "empty", "opossum", "rabbit", "raccoon", "squirrel")


def download_terra_incognita(out: Path, source: str = SOURCE) -> pd.DataFrame:
    """Download DomainBed's selection of the Caltech Camera Traps (6.5 GB) into a native folder.

    Beery, Van Horn, Perona, "Recognition in Terra Incognita", ECCV 2018. The photographs are under the Community Data
    License Agreement (permissive variant). An archive whose sum differs from the one that its server states is refused.
    As in DomainBed, a photograph with animals of two classes stands in both.

    Args:
        out: folder to write; must not exist.
        source: address of the archives.

    Returns:
        The table in `labels.csv`: `image`, `label` (animal) and `domain` (`location_38` and so on).

    Raises:
        InputError: `out` exists, the network does not reach `source`, or an archive is damaged.
    """
    if out.exists():
        raise InputError(f"{str(out)!r} exists. Name a folder that does not, or delete it.")
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as draft:
        images, annotations = (draft.with_name(f"{out.name}.{content}") for content in ("images", "annotations"))
        _download(f"{source}/{ANNOTATIONS}", annotations)
        places = _places(annotations)
        _download(f"{source}/{IMAGES}", images)
        with tarfile.open(images) as tar:
            for member in tar:
                file, name = tar.extractfile(member), Path(member.name).name
                if file is not None and name in places:
                    content = file.read()
                    for place in places[name]:
                        (draft / place).mkdir(parents=True, exist_ok=True)
                        (draft / place / name).write_bytes(content)
        table = index_image_folders(draft)
    return table


def _places(archive: Path) -> dict[str, set[str]]:
    """The folders `domain/class` of each photograph of the four locations and ten classes."""
    with zipfile.ZipFile(archive) as file:
        annotations = json.loads(file.read(next(name for name in file.namelist() if name.endswith(".json"))))
    classes = {category["id"]: category["name"] for category in annotations["categories"]}
    photographs = {image["id"]: image for image in annotations["images"] if str(image["location"]) in LOCATIONS}
    places = defaultdict(set)
    for annotation in annotations["annotations"]:
        photograph, name = photographs.get(annotation["image_id"]), classes[annotation["category_id"]]
        if photograph is not None and name in CLASSES:
            places[Path(photograph["file_name"]).name].add(f"location_{photograph['location']}/{name}")
    return dict(places)


def _download(url: str, path: Path) -> None:
    """Download a file and compare it with the MD5 sum that the server states in `x-goog-hash`."""
    digest = hashlib.md5(usedforsecurity=False)
    try:
        with urllib.request.urlopen(url, timeout=60) as response, path.open("wb") as file:
            stated = ",".join(response.headers.get_all("x-goog-hash", []))
            while block := response.read(1 << 20):
                digest.update(block)
                file.write(block)
    except (OSError, http.client.HTTPException) as error:
        raise InputError(f"Cannot download {url}: {error}. Connect to the network and try again.") from error
    found = base64.b64encode(digest.digest()).decode()
    if f"md5={found}" not in [part.strip() for part in stated.split(",")]:
        raise InputError(f"{url} arrived with the MD5 sum {found}; its server states {stated or 'none'}. Try again.")
