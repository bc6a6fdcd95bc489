"""A mask in memory: a stack of one or two planes (1 or 2, H, W).

How much each pixel is evidence and, where some pixels are to be ignored, how much it is.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from lookright.data.encoding import Kind, Meaning
from lookright.data.mask_pixels import FILE, Pixels
from lookright.errors import InputError


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
