"""Label Studio's JSON: tasks with brush strokes, polygons and rectangles.

A brush is a run-length encoding of bits of a picture of four channels, the mask in the last. Its values are not always
0 and 255: what is not 0 is marked. Polygons and rectangles are in percent. Several results of a label are united; what
is marked as `ignore` is ignored.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlparse
from xml.sax.saxutils import quoteattr

import numpy as np
from jaxtyping import Bool, UInt8

from lookright.data.formats.annotated import (
    Annotated,
    Format,
    polygon,
    rectangle,
    require_size,
    run_counts,
    union,
    within,
)
from lookright.data.formats.exported import IGNORED, Exported, Writer, exported
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
        ignore = marked.pop(IGNORED, None)
        yield Annotated(_file(path.parent, image), marked, ignore, label, task["data"].get("split"))


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


_SIZES = (3, 4, 8, 16)  # bits of a run's length, as Label Studio's own tools choose them


def pack(mask: Bool[np.ndarray, "H W"]) -> bytes:
    """A mask as a brush: what `unpack` undoes, four channels of 0 and 255."""
    bits = [f"{4 * mask.size:032b}", f"{7:05b}", *(f"{size - 1:04b}" for size in _SIZES)]
    for place, count in enumerate(run_counts(mask.reshape(-1))):
        count *= 4
        while count:
            part = min(count, 1 << _SIZES[-1])
            choice = next(number for number, size in enumerate(_SIZES) if part <= 1 << size)
            bits.append(f"1{choice:02b}{part - 1:0{_SIZES[choice]}b}{255 * (place % 2):08b}")
            count -= part
    return np.packbits(np.frombuffer("".join(bits).encode(), np.uint8) - ord("0")).tobytes()


def write(images: Iterable[Annotated], root: Path) -> dict[str, str]:
    """Tasks with one annotation each: brushes and the image's label as a choice; and the labelling interface for them.

    Images are named `/data/local-files/?d=PATH`, with paths from the folder: Label Studio finds them if the folder is
    its `LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT`.
    """
    return _written(images, root, lambda results: {"annotations": [{"result": results}]})


def write_predictions(images: Iterable[Annotated], root: Path) -> dict[str, str]:
    """What a model or a masker marks as pre-annotations, for a person to accept or to mend. Otherwise like `write`."""
    return _written(images, root, lambda results: {"predictions": [{"model_version": "lookright", "result": results}]})


def _written(images: Iterable[Annotated], root: Path, told: Callable[[list[dict]], dict]) -> dict[str, str]:
    tasks, labels = [], set()
    for one in exported(images, root):
        labels.add(one.label)
        data = {"image": f"/data/local-files/?d={quote(one.name)}"} | ({"split": one.split} if one.split else {})
        tasks.append({"data": data} | told(_results(one)))
    return {".json": json.dumps(tasks), ".xml": config(sorted(labels))}


def _results(one: Exported) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = [
        {"from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": [one.label]}}
    ]
    for name, mask in ((one.label, one.evidence), (IGNORED, one.ignore)):
        if mask is not None:
            results.append(
                {
                    "from_name": "mask",
                    "to_name": "image",
                    "type": "brushlabels",
                    "original_width": one.width,
                    "original_height": one.height,
                    "image_rotation": 0,
                    "value": {"format": "rle", "rle": list(pack(mask)), "brushlabels": [name]},
                }
            )
    return [{"id": f"{number}"} | result for number, result in enumerate(results)]


def config(names: list[str]) -> str:
    """The labelling interface for brushes and a choice of labels."""
    brushes = "".join(f"    <Label value={quoteattr(name)}/>\n" for name in [*names, IGNORED])
    choices = "".join(f"    <Choice value={quoteattr(name)}/>\n" for name in names)
    return (
        '<View>\n  <Image name="image" value="$image"/>\n'
        f'  <BrushLabels name="mask" toName="image">\n{brushes}  </BrushLabels>\n'
        f'  <Choices name="label" toName="image" required="true">\n{choices}  </Choices>\n</View>\n'
    )


def _file(folder: Path, image: str) -> Path:
    url = urlparse(image)
    if local := parse_qs(url.query).get("d"):
        return within(folder, local[0])
    name = PurePosixPath(unquote(url.path)).name
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
WRITER = Writer("label_studio", "tasks with brushes and choices", write)
PREDICTIONS = Writer("label_studio_predictions", "the same as pre-annotations", write_predictions)
