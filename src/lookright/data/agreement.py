"""How well each mask of a folder agrees with its image: by its edges, by its colours, and as the other masks do."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from scipy.ndimage import binary_erosion, uniform_filter

NEAR, FAR = 5, 21
"""Sides of the windows around a pixel, in pixels."""
TURNS = ("mirrored", "upside down", "turned by 180 degrees")
RIDGE = 1e-3
LEAST = 1e-4
"""Smallest share of a mask's variance that counts as explained."""


@dataclass(frozen=True)
class Traits:
    """What is kept of an image and its mask, as it is and in each of `TURNS`.

    Attributes:
        edges: mean strength of the image's edges along the mask's outline, as their rank among all edges, 0 to 1.
        gram: of the pixels' standardised features: colours, their surroundings near and far, texture.
        covariance: of the features with the mask.
    """

    edges: Float[np.ndarray, " 4"]
    gram: Float[np.ndarray, "K K"]
    covariance: Float[np.ndarray, "K 4"]


def traits(image: UInt8[np.ndarray, "S S 3"], mask: Float[np.ndarray, "S S"]) -> Traits | None:
    """Of one image; None for a mask that covers nothing or all."""
    whole = mask >= 0.5
    if not 0 < whole.mean() < 1:
        return None
    turned = (whole, whole[:, ::-1], whole[::-1], whole[::-1, ::-1])
    steps = np.hypot(*np.gradient(image.astype(float).mean(2)))
    rank = steps.reshape(-1).argsort().argsort().reshape(steps.shape) / steps.size
    edges = np.array([rank[one & ~binary_erosion(one, border_value=1)].mean() for one in turned])
    pixels = _features(image / 255.0)
    target = np.stack(turned, axis=2).reshape(mask.size, 4)
    target = (target - target.mean(0)) / target.std(0)
    return Traits(edges, pixels.T @ pixels / mask.size, pixels.T @ target / mask.size)


def _features(colour: Float[np.ndarray, "S S 3"]) -> Float[np.ndarray, "P K"]:
    near = uniform_filter(colour, (NEAR, NEAR, 1), mode="nearest")
    far = uniform_filter(colour, (FAR, FAR, 1), mode="nearest")
    variance = uniform_filter(colour**2, (NEAR, NEAR, 1), mode="nearest") - near**2
    texture = np.sqrt(np.maximum(variance, 0)).mean(2, keepdims=True)
    pixels = np.concatenate([colour, near, near**2, near * np.roll(near, 1, axis=2), far, far**2, texture], axis=2)
    pixels = pixels.reshape(-1, pixels.shape[2])
    return (pixels - pixels.mean(0)) / (pixels.std(0) + 1e-6)


def misfits(all_of_them: list[Traits]) -> Float[np.ndarray, " N"]:
    """How suspicious each mask is, summed over the three ways to fit; 0 is usual."""
    edges = np.array([one.edges for one in all_of_them])
    own = np.array([own_fit(one) for one in all_of_them])
    return suspicions(edges) + suspicions(own) + suspicions(shared_fit(all_of_them))


def own_fit(one: Traits) -> Float[np.ndarray, " 4"]:
    """Logarithm of the share of the mask's variance that a linear fit of this image explains; in each of its turns."""
    solution = np.linalg.solve(_ridged(one.gram), one.covariance)
    return np.log(np.maximum((one.covariance * solution).sum(0), LEAST))


def shared_fit(all_of_them: list[Traits]) -> Float[np.ndarray, "N 4"]:
    """Correlation of each mask with what a linear fit of all other images makes of its own; in each of its turns."""
    gram = sum(one.gram for one in all_of_them)
    covariance = sum(one.covariance[:, 0] for one in all_of_them)
    found = []
    for one in all_of_them:
        others = len(all_of_them) - 1
        weights = np.linalg.solve(_ridged((gram - one.gram) / others), (covariance - one.covariance[:, 0]) / others)
        found.append(weights @ one.covariance / np.sqrt(weights @ one.gram @ weights + 1e-12))
    return np.array(found)


def suspicions(fit: Float[np.ndarray, "N 4"]) -> Float[np.ndarray, " N"]:
    """How much better a mask would fit if it were turned, and how much worse it fits than the median; in spreads.

    A spread is 1.48 times the median absolute deviation of the fits of the masks as they are.
    """
    own = fit[:, 0]
    spread = max(1.4826 * np.median(np.abs(own - np.median(own))), 0.02)
    return (fit[:, 1:].max(1) - own + np.median(own) - own) / spread


def _ridged(gram: Float[np.ndarray, "K K"]) -> Float[np.ndarray, "K K"]:
    return gram + RIDGE * np.eye(len(gram))
