"""What the numbers in mask files mean: evidence, background, or *ignore*, which is neither.

It is found out from the files of a folder together, or said in `encoding.yaml` beside `labels.csv`. What cannot be
decided is refused, never guessed.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import yaml

from lookright.data.mask_pixels import FILE, Channel, Pixels
from lookright.errors import InputError
from lookright.yaml_file import read_yaml

Meaning = Literal["evidence", "background", "ignore"]
VOID = 224 + 256 * 224 + 65536 * 192  # the colour that Pascal VOC and its imitators give to index 255
VOID_ID = 1000  # ImageNet-S


@dataclass(frozen=True)
class Kind:
    """How numbers are turned into evidence.

    Attributes:
        name: what the user is told.
        values: the meaning of each number; None: shades, from 0 (background) to `top` (evidence).
        other: the meaning of numbers that `values` does not name; None refuses them.
    """

    name: str
    values: Mapping[int, Meaning] | None = None
    other: Meaning | None = None


@dataclass(frozen=True)
class Encoding:
    """What the masks, boxes and images of a folder mean: the keys of `encoding.yaml`.

    Attributes:
        channel: where a mask file holds its mask: `luminance`, `alpha`, `index` (the numbers of a palette, or of a grey
            file) or `rgb_id` (R + 256·G + 65536·B); None finds out.
        values: what each number means; None finds out, or, where a channel is given, takes the numbers as shades.
        other: what numbers mean that `values` does not name; None refuses them.
        polarity: whether masks mark the `evidence`, or a `nuisance`: what must not matter.
        resize: whether a mask of another size than its image is resized, where both have the same aspect.
        drawn_on: whether masks and boxes of images that their EXIF tag turns were drawn on the pixels as `stored`, or
            on the `upright` picture; None refuses those for which it makes a difference.
        box_format: `xyxy` (two corners, both included) or `xywh` (corner, width and height).
        box_unit: `pixels`, `fractions` or `percent` of the image.
        image_range: the numbers that are black and white in images of more than 8 bits; None finds out.
        kinds: what was found out, by channel and largest number.
    """

    channel: Channel | None = None
    values: Mapping[int, Meaning] | None = None
    other: Meaning | None = None
    polarity: Literal["evidence", "nuisance"] = "evidence"
    resize: bool = False
    drawn_on: Literal["stored", "upright"] | None = None
    box_format: Literal["xyxy", "xywh"] = "xyxy"
    box_unit: Literal["pixels", "fractions", "percent"] = "pixels"
    image_range: tuple[float, float] | None = None
    kinds: Mapping[tuple[Channel, float], Kind] = field(default_factory=dict)

    @property
    def is_given(self) -> bool:
        """Whether the folder says what its masks mean."""
        return self.channel is not None or self.values is not None

    def kind(self, pixels: Pixels, name: str) -> Kind:
        """How the numbers of a file are read.

        Raises:
            InputError: it cannot be decided.
        """
        if self.is_given:
            if self.values is None and self.channel in ("index", "rgb_id"):
                raise InputError(
                    f"{FILE} says channel: {self.channel} and not what the numbers mean. Add a line such as "
                    "'values: {0: background, 1: evidence}', or a column mask_value to labels.csv."
                )
            return Kind(f"as {FILE} says", self.values, self.other)
        return self.kinds.get((pixels.channel, pixels.top)) or find_kind([pixels], [name])

    def of_row(self, row: Mapping[Any, Any]) -> "Encoding":
        """The encoding of a row, whose columns `mask_polarity`, `box_format` and `box_unit` go before the folder's."""
        columns = {"polarity": "mask_polarity", "box_format": "box_format", "box_unit": "box_unit"}
        given = {key: row[column] for key, column in columns.items() if row.get(column)}
        return _checked({**_as_dict(self), **given}, "labels.csv") if given else self


def read_encoding(folder: Path) -> Encoding:
    """Read `encoding.yaml` of a folder; without one, everything is found out from the files.

    Raises:
        InputError: not YAML, or a key or value that is none of `Encoding`'s.
    """
    path = folder / FILE
    if not path.is_file():
        return Encoding()
    content = read_yaml(path)
    if content is None:
        return Encoding()
    if not isinstance(content, dict):
        raise InputError(f"{str(path)!r} holds {content!r}; expected lines such as 'channel: alpha'.")
    return _checked(content, str(path))


def write_encoding(folder: Path, **content: Any) -> None:
    """Write `encoding.yaml`."""
    (folder / FILE).write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def _as_dict(encoding: Encoding) -> dict[str, Any]:
    return {entry.name: getattr(encoding, entry.name) for entry in fields(Encoding)}


_CHOICES: dict[str, tuple[Any, ...]] = {
    "channel": (None, *get_args(Channel)),
    "other": (None, *get_args(Meaning)),
    "polarity": ("evidence", "nuisance"),
    "resize": (False, True),
    "drawn_on": (None, "stored", "upright"),
    "box_format": ("xyxy", "xywh"),
    "box_unit": ("pixels", "fractions", "percent"),
}


def _checked(content: Mapping[str, Any], source: str) -> Encoding:
    for key, value in content.items():
        if key in _CHOICES and value not in _CHOICES[key]:
            names = ", ".join("true" if choice is True else str(choice) for choice in _CHOICES[key] if choice)
            raise InputError(f"{key} is {value!r} in {source}; expected one of {names}.")
        if key not in _CHOICES and key not in ("values", "image_range", "kinds"):
            raise InputError(f"Unknown key {key!r} in {source}; expected {', '.join([*_CHOICES, 'values'])}.")
    values = content.get("values")
    if values is not None and not (
        isinstance(values, Mapping)
        and all(isinstance(number, int) and meaning in get_args(Meaning) for number, meaning in values.items())
    ):
        raise InputError(
            f"values is {values!r} in {source}; expected whole numbers and one of {', '.join(get_args(Meaning))}, such "
            "as {0: background, 1: evidence}."
        )
    span = content.get("image_range")
    if span is not None:
        if not (isinstance(span, (list, tuple)) and len(span) == 2 and float(span[0]) < float(span[1])):
            raise InputError(f"image_range is {span!r} in {source}; expected two numbers, such as [0, 4095].")
        content = {**content, "image_range": (float(span[0]), float(span[1]))}
    return Encoding(**content)


def find_encoding(encoding: Encoding, masks: Iterable[tuple[str, Pixels]]) -> Encoding:
    """The encoding with what some masks of the folder tell together: a single one may leave it open.

    Raises:
        InputError: it cannot be decided.
    """
    groups: dict[tuple[Channel, float], list[tuple[str, Pixels]]] = defaultdict(list)
    for name, pixels in masks:
        if pixels.channel == "alpha" or pixels.values.any():  # an empty mask fits everything
            groups[pixels.channel, pixels.top].append((name, pixels))
    kinds = {
        group: find_kind([pixels for _, pixels in members], [name for name, _ in members])
        for group, members in groups.items()
    }
    return replace(encoding, kinds=kinds)


def find_kind(files: list[Pixels], names: list[str]) -> Kind:
    """What the numbers of files of one channel and type mean.

    Raises:
        InputError: it cannot be decided.
    """
    channel, top = files[0].channel, files[0].top
    found = [np.unique(file.values) for file in files]
    values = set(np.unique(np.concatenate(found)).tolist())
    if channel == "index":
        return _palette(files, names)
    if channel == "rgb_id":
        if 0 not in values:
            raise _undecided(values, names[0], "rgb_id", top)
        ids = all(value < 4 * 256 for value in values)  # no blue, hardly any green
        name = "ids in red and green, 1000 ignored" if ids and VOID_ID in values else "colours on black"
        meanings: dict[int, Meaning] = {0: "background", VOID: "ignore"}
        return Kind(name, meanings | {VOID_ID: "ignore"} if ids else meanings, "evidence")
    where = " in the alpha channel" if channel == "alpha" else ""
    if values <= {0, 1} and top > 1:
        return Kind(f"0 and 1{where}", {0: "background", 1: "evidence"})
    if values <= {0, top}:
        return Kind(f"0 and {top:g}{where}")
    if values <= {0, 255} and top != 255:
        return Kind(f"0 and 255 in {'floats' if top == 1 else '16 bits'}", {0: "background", 255: "evidence"})
    if values == {1, 2, 3} and top > 1:
        return Kind("a trimap, 3 ignored", {1: "evidence", 2: "background", 3: "ignore"})
    if top == 1:
        shades = max(values) >= 0.1  # below lie the ones of a file of bytes that was divided by 255
    else:
        is_halves = top in values and values <= {0, top // 2, top // 2 + 1, top}
        shades = is_halves or any(_has_shades(file) for file in files)
    if shades and min(values) >= 0 and max(values) <= top:
        return Kind(f"shades from 0 to {top:g}{where}")
    raise _undecided(values, names[int(np.argmax([len(each) for each in found]))], channel, top)


def _has_shades(pixels: Pixels) -> bool:
    """Whether a file has more levels than classes have: many between black and white, none of them common."""
    between = pixels.values[(pixels.values > 0.02 * pixels.top) & (pixels.values < 0.98 * pixels.top)]
    counts = np.sort(np.unique(between, return_counts=True)[1])[::-1]
    return bool(
        pixels.values.max() >= pixels.top / 8
        and ((len(counts) > 16 and counts[:8].sum() < 0.8 * counts.sum()) or (len(counts) > 8 and _is_rim(pixels)))
    )


def _is_rim(pixels: Pixels) -> bool:
    """Whether black and white make up most of a file and other levels lie between them, as smooth edges do."""
    values, top = pixels.values, pixels.top
    extreme = (values <= 0.02 * top) | (values >= 0.98 * top)
    return bool((values >= 0.98 * top).sum() > (~extreme).sum() and extreme.mean() > 0.5)


def _palette(files: list[Pixels], names: list[str]) -> Kind:
    for file, name in zip(files, names, strict=True):
        used = set(np.unique(file.values).tolist())
        if file.background is None or (255 in used and not file.void and used - file.background == {255}):
            raise _undecided(used, name, "index", 255)
    void = any(255 in file.values for file in files)
    return Kind("a palette, index 255 ignored" if void else "a palette, its background black or transparent")


def _undecided(values: Iterable[float], name: str, channel: Channel, top: float) -> InputError:
    values = sorted(values)
    shown = ", ".join(f"{value:g}" for value in values[:8]) + (", ..." if len(values) > 8 else "")
    lines = ", ".join(f"{value:g}: {'evidence' if place else 'background'}" for place, value in enumerate(values[:3]))
    shades = f", or 'channel: {channel}' if they are shades from 0 to {top:g}" if channel != "rgb_id" else ""
    return InputError(
        f"Cannot tell what the values of mask {name!r} mean: {shown} (channel {channel}). Say it in {FILE} beside "
        f"labels.csv, such as 'values: {{{lines}}}' with 'channel: {channel}'{shades}. The meanings are evidence, "
        "background and ignore."
    )


def of_values(text: str, values: Mapping[int, Meaning] | None, ignored: str = "") -> Kind:
    """The kind for the cells `mask_value` and `mask_ignore`: other numbers than theirs are background.

    The numbers of `mask_value` are evidence; those of `mask_ignore`, or where it is empty those that `values` ignores,
    are ignored.

    Raises:
        InputError: not whole numbers.
    """
    wanted = _whole_numbers(text, "mask_value")
    known = [number for number, meaning in (values or {}).items() if meaning == "ignore"]
    left_out = _whole_numbers(ignored, "mask_ignore") if ignored else known
    meanings: dict[int, Meaning] = dict.fromkeys(left_out, "ignore")
    return Kind(f"as labels.csv and {FILE} say", meanings | dict.fromkeys(wanted, "evidence"), "background")


def _whole_numbers(text: str, column: str) -> list[int]:
    try:
        return [int(number) for number in text.split()]
    except ValueError:
        raise InputError(f"{column} {text!r}; expected whole numbers with spaces between.") from None
