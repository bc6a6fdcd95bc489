"""A mask in memory: a stack of one or two planes (1 or 2, H, W).

How much each pixel is evidence and, where some pixels are to be ignored, how much it is: as bytes (255 is all) where
that is exact, as floats in [0, 1] elsewhere.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Shaped

from lookright.data.encoding import Kind, Meaning
from lookright.data.mask_pixels import FILE, Pixels
from lookright.errors import InputError


def planes(pixels: Pixels, kind: Kind, name: str) -> Shaped[np.ndarray, "P H W"]:
    """The evidence of each pixel and, if there are pixels to ignore, which.

    Raises:
        InputError: a value without a meaning.
    """
    values = pixels.values
    if kind.values is None and pixels.channel == "index" and pixels.background is not None:
        meant: Mapping[int, Meaning] = dict.fromkeys(pixels.background, "background")
        void: dict[int, Meaning] = {255: "ignore"} if 255 not in pixels.background else {}
        return planes(pixels, Kind(kind.name, {**meant, **void}, "evidence"), name)
    if kind.values is None:
        if values.dtype == np.uint8 and pixels.top == 255:
            return values[None]
        if not (values.min() >= 0 and values.max() <= pixels.top):
            raise InputError(
                f"Mask {name!r} has values from {values.min():g} to {values.max():g}; expected 0 to {pixels.top:g}."
            )
        return (values / pixels.top).astype(np.float32)[None]
    # Each number's meaning is found once, and looked up at every pixel.
    is_bytes = values.dtype == np.uint8
    numbers, places = (np.arange(256), values) if is_bytes else np.unique(values, return_inverse=True)
    places = places.reshape(values.shape)  # which NumPy 1 flattens
    meanings = np.array([kind.values.get(number) or kind.other or "strange" for number in numbers.tolist()])
    strange = meanings == "strange"
    if strange.any() and strange[places].any():
        known = ", ".join(f"{number} {meaning}" for number, meaning in kind.values.items())
        first = values[strange[places]].min()
        raise InputError(
            f"Mask {name!r} has the value {first:g}, and the folder's masks are read as {kind.name} ({known}). "
            f"Say what it means in {FILE} beside labels.csv: 'values: {{{first:g}: evidence}}', with the others."
        )
    evidence, ignore = (
        np.where(meanings == meaning, 255, 0).astype(np.uint8)[places] for meaning in ("evidence", "ignore")
    )
    return np.stack([evidence, ignore]) if ignore.any() else evidence[None]


def shares(mask: Shaped[np.ndarray, "P H W"]) -> Float[np.ndarray, "P H W"]:
    """A mask as floats."""
    return mask if mask.dtype.kind == "f" else (mask / 255).astype(np.float32)


def united(masks: list[Shaped[np.ndarray, "_ H W"]]) -> Shaped[np.ndarray, "P H W"]:
    """What is evidence in any mask; of the rest, what any mask ignores."""
    if len(masks) == 1:
        return masks[0]
    if len({mask.dtype for mask in masks}) > 1:
        masks = [shares(mask) for mask in masks]
    evidence = np.max([mask[0] for mask in masks], axis=0)
    ignored = [mask[1] for mask in masks if len(mask) == 2]
    if not ignored:
        return evidence[None]
    return np.stack([evidence, np.minimum(np.max(ignored, axis=0), _all(evidence) - evidence)])


def with_polarity(mask: Shaped[np.ndarray, "P H W"], polarity: str) -> Shaped[np.ndarray, "Q H W"]:
    """A nuisance mask says where no evidence is and nothing of the rest: no evidence, and all but the nuisance ignored.

    >>> with_polarity(np.array([[[1.0, 0.25]]]), "nuisance").tolist()
    [[[0.0, 0.0]], [[0.0, 0.75]]]
    """
    if polarity == "evidence":
        return mask
    rest = _all(mask) - mask[0]
    return np.stack([np.zeros_like(rest), rest if len(mask) == 1 else np.maximum(rest, mask[1])])


def _all(mask: Shaped[np.ndarray, "..."]) -> np.generic:
    return mask.dtype.type(1 if mask.dtype.kind == "f" else 255)
