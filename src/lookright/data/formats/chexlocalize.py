"""CheXlocalize: a JSON file of a run-length encoding, as COCO's, for each finding of each radiograph of CheXpert.

The name of a radiograph is its path from the patient on, joined by `_`. All findings are listed for all, most of them
empty; what is marked in an image is what was found there.
"""

from collections.abc import Iterator
from pathlib import Path

from torchvision.datasets.folder import IMG_EXTENSIONS

from lookright.data.formats.annotated import Annotated, Format, require_size, runs
from lookright.data.formats.coco import run_lengths
from lookright.data.formats.json_file import read_json
from lookright.errors import InputError


def read(path: Path) -> Iterator[Annotated]:
    """The radiographs of a file of segmentations; they lie in folders of patients, in its folder or below.

    Raises:
        InputError: not such a file, or a radiograph is missing.
    """
    files = (file for file in path.parent.rglob("*") if file.suffix.lower() in IMG_EXTENSIONS)
    images = {_name(file.relative_to(path.parent)): file for file in files}
    for name, findings in read_json(path).items():
        if name not in images:
            raise InputError(f"No radiograph {name!r} below {str(path.parent)!r}; expected it in folders of patients.")
        marked = {}
        for finding, region in findings.items():
            height, width = (int(side) for side in region["size"])
            require_size(height, width)
            mask = runs(run_lengths(region["counts"]), height * width).reshape(width, height).T
            if mask.any():
                marked[str(finding)] = mask
        yield Annotated(images[name], marked)


def _name(image: Path) -> str:
    """Its path from the patient on.

    >>> _name(Path("CheXpert/val/patient1/study2/view1_frontal.jpg"))
    'patient1_study2_view1_frontal'
    """
    parts = image.with_suffix("").parts
    first = next((place for place, part in enumerate(parts) if part.startswith("patient")), 0)
    return "_".join(parts[first:])


def _recognises(path: Path) -> bool:
    if path.suffix != ".json" or not path.is_file():
        return False
    try:
        content = read_json(path)
    except InputError:
        return False
    first = next(iter(content.values()), None) if isinstance(content, dict) else None
    region = next(iter(first.values()), None) if isinstance(first, dict) else None
    return isinstance(region, dict) and set(region) == {"size", "counts"}


FORMAT = Format(
    "chexlocalize", "gt_segmentations_val.json of CheXlocalize beside CheXpert's folders", _recognises, read
)
