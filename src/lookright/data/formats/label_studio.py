"""Label Studio's JSON: tasks with brush strokes, polygons and rectangles.

A brush is a run-length encoding of bits of a picture of four channels, the mask in the last. Its values are not always
0 and 255: what is not 0 is marked. Polygons and rectangles are in percent. Several results of a label are united.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs, unquote, urlparse

import numpy as np
from jaxtyping import Bool, UInt8

from lookright.data.formats.annotated import Annotated, Format, polygon, rectangle, require_size, union, within
from lookright.data.formats.json_file import read_json
from lookright.errors import InputError


def read(path: Path) -> Iterator[Annotated]:
    """The tasks of an export that have an annotation; their images lie beside it or in `images`, by name.

    Raises:
        InputError: not such an export, or an image is missing.
    """
    for task in read_json(path):
        image = next((value for value in task["data"].values() if isinstance(value, str)), None)
        annotations = [each for each in task.get("annotations", ()) if not each.get("was_cancelled")]
        if image is None or not annotations:
            continue
        marked: dict[str, np.ndarray] = {}
        label = None
        for result in annotations[0]["result"]:
            value = result["value"]
            if result["type"] == "choices":
                label = str(value["choices"][0])
                continue
            height, width = int(result["original_height"]), int(result["original_width"])
            require_size(height, width)
            for name in value.get(result["type"], ()):
                marked = union(marked, str(name), _mask(value, height, width, path))
        yield Annotated(_file(path.parent, image), marked, label=label)


def _mask(value: dict, height: int, width: int, path: Path) -> Bool[np.ndarray, "H W"]:
    if value.get("format") == "rle":
        return unpack(bytes(value["rle"]), height * width * 4).reshape(height, width, 4)[..., 3] > 0
    if "points" in value:
        return polygon([(x / 100 * width, y / 100 * height) for x, y in value["points"]], height, width)
    if "width" in value and not value.get("rotation"):
        x, y = value["x"] / 100 * width, value["y"] / 100 * height
        return rectangle(x, y, x + value["width"] / 100 * width, y + value["height"] / 100 * height, height, width)
    raise InputError(f"A result in {str(path)!r} that is no brush, polygon or upright rectangle: {sorted(value)}.")


def unpack(packed: bytes, size: int) -> UInt8[np.ndarray, " size"]:
    """Undo thi.ng's rle-pack: 32 bits of length, 5 of word size, four times 4 of run sizes; runs and literals.

    Raises:
        InputError: the length is not the size, or the bits end too early.
    """
    bits = np.unpackbits(np.frombuffer(packed, np.uint8))
    place = 0

    def take(number: int) -> int:
        nonlocal place
        if place + number > len(bits):
            raise InputError("A brush stroke of Label Studio ends too early; export it again.")
        value = int("".join(map(str, bits[place : place + number])), 2)
        place += number
        return value

    length, word, sizes = take(32), take(5) + 1, [take(4) + 1 for _ in range(4)]
    if length != size:
        raise InputError(f"A brush stroke of {length} values; its image has {size} with four channels.")
    values = np.zeros(size, np.uint8)
    start = 0
    while start < length:
        is_run = take(1)
        end = start + 1 + take(sizes[take(2)])
        if is_run:
            values[start:end] = take(word)
        else:
            for index in range(start, min(end, length)):
                values[index] = take(word)
        start = end
    return values


def _file(folder: Path, image: str) -> Path:
    url = urlparse(image)
    name = PurePosixPath(unquote(parse_qs(url.query).get("d", [url.path])[0])).name
    try:
        return within(folder, name)
    except InputError:
        # Uploads get eight hexadecimal digits before their name.
        return within(folder, name.partition("-")[2] or name)


def _recognises(path: Path) -> bool:
    if path.suffix != ".json":
        return False
    try:
        content = read_json(path)
    except InputError:
        return False
    return isinstance(content, list) and bool(content) and isinstance(content[0], dict) and "annotations" in content[0]


FORMAT = Format("label_studio", "a JSON export of Label Studio beside its images", _recognises, read)
