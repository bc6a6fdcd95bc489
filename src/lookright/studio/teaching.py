"""Which images without a mask the model asks for: unsure, looking elsewhere, unlike those with one."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int

from lookright.studio.scores import Score

ENOUGH = (
    "It is not known how many masks are enough: how the results of lookright's methods grow with the number of masks "
    "has not been measured. Train now and then, and go on while the change on held-out images is worth the work."
)
_WIDTH = 0.2


def need(
    probability: Float[np.ndarray, "n K"],
    embedding: Float[np.ndarray, "n D"],
    alignment: Float[np.ndarray, " n"],
) -> Float[np.ndarray, " n"]:
    """How much an image asks for a mask: (1 − expected alignment) · uncertainty, in [0, 1].

    Uncertainty is the entropy of the prediction over log K, at least 0.05, since a model that learned a shortcut is
    sure of it. The alignment of an image without a mask is expected to be that of masked images that the model finds
    similar: their mean, weighted by exp((cosine − 1) / 0.2), together with 0.5 at the weight of one of cosine 0.8.

    Args:
        probability: of each class.
        embedding: of each image.
        alignment: the share of attention in the mask; NaN where there is none.
    """
    p = np.clip(probability.astype(float), 1e-7, 1)
    entropy = -(p * np.log(p)).sum(1) / np.log(max(p.shape[1], 2))
    known = np.flatnonzero(np.isfinite(alignment))
    direction = _directions(embedding)
    weight = np.exp((direction @ direction[known].T - 1) / _WIDTH)
    prior = np.exp(-1.0)
    expected = (weight @ alignment[known] + 0.5 * prior) / (weight.sum(1) + prior)
    return (1 - expected) * np.clip(entropy, 0.05, 1)


def most_instructive(
    need: Float[np.ndarray, " n"], embedding: Float[np.ndarray, "n D"], taken: Sequence[int], number: int
) -> Int[np.ndarray, " m"]:
    """The images to ask for, best first: each time the one with the largest need · distance.

    The distance is (1 − cosine) / 2 to the nearest image that has a mask or was chosen before, 1 while there is none,
    so that no two ask for the same.

    Args:
        need: of each image, see `need`.
        embedding: of each image.
        taken: those that have a mask; they are not chosen.
        number: at most so many.

    >>> embedding = np.array([[1.0, 0.0], [1.0, 0.01], [0.0, 1.0]])
    >>> most_instructive(np.array([0.9, 0.8, 0.5]), embedding, [], 3).tolist()
    [0, 2, 1]
    """
    direction = _directions(embedding)
    distance = np.ones(len(need))
    left = np.ones(len(need), bool)
    for index in taken:
        left[index] = False
    if len(taken):
        distance = (1 - (direction @ direction[list(taken)].T).max(1)) / 2
    chosen: list[int] = []
    for _ in range(min(number, int(left.sum()))):
        value = np.where(left, need * np.maximum(distance, 0), -1.0)
        best = int(value.argmax())
        chosen.append(best)
        left[best] = False
        to_best = (1 - direction @ direction[best]) / 2
        distance = to_best if not len(taken) and len(chosen) == 1 else np.minimum(distance, to_best)
    return np.array(chosen, int)


def choose(scores: Mapping[str, Score], alignment: Mapping[str, float], masked: set[str], number: int) -> list[str]:
    """The images that the model asks for, of those that were scored.

    Args:
        scores: of a run, by image.
        alignment: of the images that have a mask.
        masked: those that have one.
        number: at most so many.
    """
    images = list(scores)
    if not images:
        return []
    embedding = np.stack([scores[image].embedding for image in images]).astype(float)
    probability = np.stack([scores[image].probability for image in images])
    aligned = np.array([alignment.get(image, np.nan) for image in images])
    taken = [place for place, image in enumerate(images) if image in masked]
    order = most_instructive(need(probability, embedding, aligned), embedding, taken, number)
    return [images[place] for place in order]


def _directions(embedding: Float[np.ndarray, "n D"]) -> Float[np.ndarray, "n D"]:
    embedding = embedding.astype(np.float32)
    return embedding / np.maximum(np.linalg.norm(embedding, axis=1, keepdims=True), 1e-9)
