"""An image under a map."""

import matplotlib
import numpy as np

COLOURS = "inferno"


def overlay(image: np.ndarray, map: np.ndarray, opacity: float = 0.55) -> np.ndarray:
    """Blend a map in [0, 1] (H, W) over an image (H, W, 3) uint8."""
    colour = matplotlib.colormaps[COLOURS](map)[..., :3] * 255
    return ((1 - opacity) * image + opacity * colour).round().astype(np.uint8)
