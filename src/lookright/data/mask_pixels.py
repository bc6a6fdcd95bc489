"""The numbers of a mask file, from the channel that holds the mask, before anybody says what they mean."""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Shaped
from PIL import Image

from lookright.errors import InputError

FILE = "encoding.yaml"
Channel = Literal["luminance", "alpha", "index", "rgb_id"]


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
