"""CVAT for images 1.1: one XML file of masks, polygons, boxes and tags.

A mask is a run-length encoding, row by row within its own box, the first run of zeros. What is marked as `ignore` is
ignored.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from jaxtyping import Bool

from lookright.data.formats.annotated import (
    Annotated,
    Format,
    polygon,
    rectangle,
    require_size,
    run_counts,
    runs,
    union,
    within,
)
from lookright.data.formats.exported import IGNORED, Writer, exported
from lookright.errors import InputError


def read(path: Path) -> Iterator[Annotated]:
    """The images of a file; they lie beside it or in `images`. A tag is the label of its image.

    Raises:
        InputError: not such a file, or an image is missing.
    """
    for image in _parsed(path).iter("image"):
        height, width = int(image.attrib["height"]), int(image.attrib["width"])
        require_size(height, width)
        marked: dict[str, np.ndarray] = {}
        tag = None
        for shape in image:
            if shape.tag == "tag":
                tag = shape.attrib["label"]
            elif shape.tag in ("mask", "polygon", "box"):
                marked = union(marked, shape.attrib["label"], _mask(shape, height, width))
            else:
                raise InputError(f"A shape {shape.tag!r} in {str(path)!r}; expected mask, polygon, box or tag.")
        split = image.attrib.get("subset", "").lower()
        ignore = marked.pop(IGNORED, None)
        yield Annotated(within(path.parent, image.attrib["name"]), marked, ignore, tag, split or None)


def _mask(shape: ElementTree.Element, height: int, width: int) -> Bool[np.ndarray, "H W"]:
    has = shape.attrib
    if shape.tag == "polygon":
        pairs = [pair.split(",") for pair in has["points"].split(";")]
        return polygon([(float(x), float(y)) for x, y in pairs], height, width)
    if shape.tag == "box":
        return rectangle(float(has["xtl"]), float(has["ytl"]), float(has["xbr"]), float(has["ybr"]), height, width)
    left, top, box_width, box_height = (int(has[key]) for key in ("left", "top", "width", "height"))
    if left < 0 or top < 0 or left + box_width > width or top + box_height > height:
        raise InputError(f"A mask of CVAT reaches out of its image of {width} by {height} pixels.")
    mask = np.zeros((height, width), bool)
    inside = runs([int(count) for count in has["rle"].split(",")], box_width * box_height)
    mask[top : top + box_height, left : left + box_width] = inside.reshape(box_height, box_width)
    return mask


def write(images: Iterable[Annotated], root: Path) -> dict[str, str]:
    """Masks and, as tags, labels. CVAT knows no empty mask: such an image has its tag alone."""
    annotations = ElementTree.Element("annotations")
    ElementTree.SubElement(annotations, "version").text = "1.1"
    for number, one in enumerate(exported(images, root)):
        size = {"width": str(one.width), "height": str(one.height)}
        has = {"id": str(number), "name": one.name} | ({"subset": one.split} if one.split else {}) | size
        image = ElementTree.SubElement(annotations, "image", has)
        ElementTree.SubElement(image, "tag", {"label": one.label, "source": "manual"})
        for label, mask in ((one.label, one.evidence), (IGNORED, one.ignore)):
            if mask is not None and mask.any():
                ElementTree.SubElement(image, "mask", {"label": label, "source": "manual"} | _box(mask))
    ElementTree.indent(annotations)
    return {".xml": ElementTree.tostring(annotations, encoding="unicode")}


def _box(mask: Bool[np.ndarray, "H W"]) -> dict[str, str]:
    rows, columns = np.nonzero(mask.any(1))[0], np.nonzero(mask.any(0))[0]
    crop = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    place = {"left": columns[0], "top": rows[0], "width": crop.shape[1], "height": crop.shape[0]}
    runs = ", ".join(map(str, run_counts(crop.reshape(-1))))
    return {"occluded": "0", "rle": runs, "z_order": "0"} | {name: str(value) for name, value in place.items()}


def _parsed(path: Path) -> ElementTree.Element:
    text = path.read_bytes()
    if b"<!ENTITY" in text:
        raise InputError(f"{str(path)!r} defines entities, which CVAT never does; it is not read.")
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise InputError(f"Cannot read {str(path)!r} as XML: {error}") from error


def _recognises(path: Path) -> bool:
    try:
        return path.suffix == ".xml" and path.is_file() and _parsed(path).tag == "annotations"
    except InputError:
        return False


FORMAT = Format("cvat", "an XML file of CVAT for images 1.1 beside its images", _recognises, read)
WRITER = Writer("cvat", "masks and tags, for images 1.1", write)
