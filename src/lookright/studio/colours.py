"""Maps and masks as colours to lay over an image: (H, W, 4), the last being the opacity."""

import matplotlib
import numpy as np
from jaxtyping import Float, UInt8

from lookright.studio.drawing import EVIDENCE, IGNORE, NUISANCE, Codes

COLOURS = "inferno"
OPACITY = 0.85
OUTSIDE, MISSED = (217, 95, 2), (44, 102, 201)
"""Red, green and blue of attention where no evidence is, and of evidence without attention."""
PARTS = {EVIDENCE: (27, 158, 119, 150), IGNORE: (150, 150, 150, 150), NUISANCE: (217, 95, 2, 150)}
"""Red, green, blue and opacity of a mask's parts."""


def heat(map: Float[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W 4"]:
    """A map in [0, 1]: the more, the brighter, and clear where there is nothing."""
    colours = matplotlib.colormaps[COLOURS](np.clip(map, 0, 1))
    colours[..., 3] = OPACITY * np.sqrt(np.clip(map, 0, 1))
    return (colours * 255).round().astype(np.uint8)


def difference(
    map: Float[np.ndarray, "H W"], inside: Float[np.ndarray, "H W"], ignored: Float[np.ndarray, "H W"]
) -> UInt8[np.ndarray, "H W 4"]:
    """Where a map in [0, 1] lies outside of a mask, and where the mask has none of it.

    >>> one = np.array([[1.0, 0.0]])
    >>> difference(one, one[:, ::-1], 0 * one)[0, :, :3].tolist() == [list(OUTSIDE), list(MISSED)]
    True
    """
    outside, missed = map * (1 - inside), (1 - map) * inside
    colours = np.zeros((*map.shape, 4))
    colours[..., :3] = np.where((outside > missed)[..., None], OUTSIDE, MISSED)
    colours[..., 3] = 255 * OPACITY * np.maximum(outside, missed) * (1 - ignored)
    return colours.round().astype(np.uint8)


def parts(codes: Codes) -> UInt8[np.ndarray, "H W 4"]:
    """A mask that is being drawn, and clear where it marks nothing.

    >>> parts(np.array([[EVIDENCE, 0]], np.uint8)).tolist()
    [[[27, 158, 119, 150], [0, 0, 0, 0]]]
    """
    palette = np.zeros((256, 4), np.uint8)
    for code, colour in PARTS.items():
        palette[code] = colour
    return palette[codes]
