"""What the numbers in a mask file mean: evidence, background, or *ignore*, which is neither.

A mask in memory is a stack of one or two planes (1 or 2, H, W): how much each pixel is evidence and, where some pixels
are to be ignored, how much it is. What a folder's files mean is found out from the files, or said in `encoding.yaml`
beside `labels.csv`. What cannot be decided is refused, never guessed.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import yaml
from jaxtyping import Float, Shaped
from PIL import Image

from lookright.errors import InputError
from lookright.yaml_file import read_yaml

FILE = "encoding.yaml"
Meaning = Literal["evidence", "background", "ignore"]
Channel = Literal["luminance", "alpha", "index", "rgb_id"]
VOID = 224 + 256 * 224 + 65536 * 192  # the colour that Pascal VOC and its imitators give to index 255
VOID_ID = 1000  # ImageNet-S


class Pixels(NamedTuple):
    """The numbers of a mask file.

    Attributes:
        channel: `luminance`; `alpha`; `index` of a coloured palette; or `rgb_id`, which is R + 256·G + 65536·B.
        values: one number a pixel.
        top: the largest number that the file's type holds (1 for floats).
        background: for `index`, what is background by the palette: transparent or black; None where that is not clear.
        void: for `index`, whether 255 has the colour of VOC's void.
    """

    channel: Channel
    values: Shaped[np.ndarray, "H W"]
    top: float
    background: frozenset[int] | None = None
    void: bool = False


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


def pixels_of(image: Image.Image, name: str, channel: Channel | None = None) -> Pixels:
    """The numbers of a mask, from the channel given or else from the one that holds it.

    Raises:
        InputError: the file has no such channel, or it is not clear which one holds the mask.
    """
    has_alpha = image.mode in ("LA", "La", "PA", "RGBA", "RGBa")
    if channel == "alpha":
        if not has_alpha and "transparency" not in image.info:
            raise InputError(f"Mask {name!r} of mode {image.mode} has no alpha channel, which {FILE} names.")
        return Pixels("alpha", np.array(image.convert("RGBA"))[..., 3], 255)
    if channel == "rgb_id":
        return Pixels("rgb_id", _ids(image), 2**24 - 1)
    if image.mode == "F":
        return Pixels("luminance", np.array(image), 1)
    if image.mode.startswith("I"):
        return Pixels("luminance", np.array(image).astype(np.int64), 65535)
    if channel == "index":
        if image.mode not in ("P", "L", "1"):
            raise InputError(f"Mask {name!r} of mode {image.mode} has no indices; expected a palette or a grey file.")
        return Pixels("index", np.array(image.convert("L") if image.mode == "1" else image), 255)
    if channel == "luminance":
        return Pixels("luminance", np.array(image.convert("L")), 255)
    if image.mode == "P":
        return _palette_pixels(image)
    if has_alpha:
        colours, alpha = _ids(image), np.array(image.convert("RGBA"))[..., 3]
        if (alpha < 255).any():
            if len(np.unique(colours[alpha > 0])) > 1:
                raise InputError(
                    f"Mask {name!r} has both an alpha channel and several colours. Say in {FILE} beside labels.csv "
                    "which one is the mask: 'channel: alpha', 'channel: luminance' or 'channel: rgb_id'."
                )
            return Pixels("alpha", alpha, 255)
    rgb = None if image.mode in ("1", "L") else np.array(image.convert("RGB"))
    if rgb is None or (rgb == rgb[..., :1]).all():
        return Pixels("luminance", np.array(image.convert("L")) if rgb is None else rgb[..., 0], 255)
    ids = _ids(image)
    if len(np.unique(ids)) > 256:
        raise InputError(
            f"Mask {name!r} has {len(np.unique(ids))} colours, as a photograph has and a mask has not. Name the mask, "
            f"or say 'channel: luminance' in {FILE} beside labels.csv if its brightness is the mask."
        )
    return Pixels("rgb_id", ids, 2**24 - 1)


def _ids(image: Image.Image) -> Shaped[np.ndarray, "H W"]:
    return np.array(image.convert("RGB")).astype(np.int64) @ np.array([1, 256, 65536])


def _palette_pixels(image: Image.Image) -> Pixels:
    index = np.array(image)
    used = np.unique(index).tolist()
    colours = np.array(image.convert("RGB"))
    transparency = image.info.get("transparency")
    if transparency is None and (colours == colours[..., :1]).all():
        return Pixels("luminance", colours[..., 0], 255)
    clear = {number for number in used if _is_clear(transparency, number)}
    palette = image.getpalette() or []
    of = {number: palette[3 * number : 3 * number + 3] for number in {0, *used}}
    black = {number for number in used if of[number] and max(of[number]) == 0}
    if clear:
        background: frozenset[int] | None = frozenset(clear)
    elif not of[0] or max(of[0]) < 16:
        background = frozenset({0})
    else:
        background = frozenset(black) if len(black) == 1 else None
    return Pixels("index", index, 255, background, of.get(255) == [224, 224, 192])


def _is_clear(transparency: bytes | int | None, index: int) -> bool:
    if isinstance(transparency, bytes):
        return index < len(transparency) and transparency[index] == 0
    return index == transparency


def planes(pixels: Pixels, kind: Kind, name: str) -> Float[np.ndarray, "P H W"]:
    """The evidence of each pixel in [0, 1] and, if there are pixels to ignore, which.

    Raises:
        InputError: a value without a meaning.
    """
    values = pixels.values
    if kind.values is None and pixels.channel == "index" and pixels.background is not None:
        meant: Mapping[int, Meaning] = dict.fromkeys(pixels.background, "background")
        void: dict[int, Meaning] = {255: "ignore"} if 255 not in pixels.background else {}
        return planes(pixels, Kind(kind.name, {**meant, **void}, "evidence"), name)
    if kind.values is None:
        if not (values.min() >= 0 and values.max() <= pixels.top):
            raise InputError(
                f"Mask {name!r} has values from {values.min():g} to {values.max():g}; expected 0 to {pixels.top:g}."
            )
        return (values / pixels.top).astype(np.float32)[None]
    strange = sorted(set(np.unique(values).tolist()) - set(kind.values))
    if strange and kind.other is None:
        known = ", ".join(f"{number} {meaning}" for number, meaning in kind.values.items())
        raise InputError(
            f"Mask {name!r} has the value {strange[0]:g}, and the folder's masks are read as {kind.name} ({known}). "
            f"Say what it means in {FILE} beside labels.csv: 'values: {{{strange[0]:g}: evidence}}', with the others."
        )
    evidence, ignore = (
        np.isin(values, [number for number, each in kind.values.items() if each == meaning])
        | (np.isin(values, strange) if kind.other == meaning else False)
        for meaning in ("evidence", "ignore")
    )
    return np.stack([evidence, ignore] if ignore.any() else [evidence]).astype(np.float32)


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


def united(masks: list[Float[np.ndarray, "_ H W"]]) -> Float[np.ndarray, "P H W"]:
    """What is evidence in any mask; of the rest, what any mask ignores."""
    evidence = np.max([mask[0] for mask in masks], axis=0)
    ignored = [mask[1] for mask in masks if len(mask) == 2]
    if not ignored:
        return evidence[None]
    return np.stack([evidence, np.max(ignored, axis=0) * (1 - evidence)])


def with_polarity(mask: Float[np.ndarray, "P H W"], polarity: str) -> Float[np.ndarray, "Q H W"]:
    """A nuisance mask says where no evidence is and nothing of the rest: no evidence, and all but the nuisance ignored.

    >>> with_polarity(np.array([[[1.0, 0.25]]]), "nuisance").tolist()
    [[[0.0, 0.0]], [[0.0, 0.75]]]
    """
    if polarity == "evidence":
        return mask
    unknown = mask[1] if len(mask) == 2 else 0
    return np.stack([np.zeros_like(mask[0]), np.maximum(1 - mask[0], unknown)])
