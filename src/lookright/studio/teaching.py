"""Which images to draw masks for next: those that stand for many others of their label, and each for others."""

from collections.abc import Mapping, Sequence, Set

import numpy as np
from jaxtyping import Bool, Float, Int

from lookright.studio.scores import Score

NEAREST = 20
"""Images whose mean similarity to an image says how typical it is."""

MOST_COMPARED = 2000
"""Images of a label that are compared with each other; of more, evenly spaced ones are."""


def typicality(embedding: Float[np.ndarray, "n D"]) -> Float[np.ndarray, " n"]:
    """The mean cosine similarity of each image to the 20 others nearest to it; 0 for one alone.

    Hacohen, Dekel, Weinshall, "Active Learning on a Budget: Opposite Strategies Suit High and Low Budgets" (ICML 2022),
    equation 4, with cosines in place of inverse distances.
    """
    similarity = _similarity(embedding, embedding)
    np.fill_diagonal(similarity, -np.inf)
    nearest = np.sort(similarity, axis=1)[:, ::-1][:, : min(NEAREST, len(embedding) - 1)]
    return nearest.mean(1) if nearest.size else np.zeros(len(embedding))


def representatives(
    embedding: Float[np.ndarray, "n D"],
    known: Float[np.ndarray, "m D"],
    may: Bool[np.ndarray, " n"],
    number: int,
) -> Int[np.ndarray, " k"]:
    """Images that stand for all, best first: each time the one that adds most to Σ_i max_j cos(i, j).

    The sum is over all images, the maximum over those known and those chosen so far: facility location, as in Wei,
    Iyer, Bilmes, "Submodularity in Data Subset Selection and Active Learning" (ICML 2015).

    Args:
        embedding: of each image.
        known: embeddings of others that stand for them already.
        may: which may be chosen.
        number: at most so many.

    >>> embedding = np.array([[1.0, 0.1], [1.0, 0.0], [1.0, -0.1], [-1.0, 0.0]])
    >>> representatives(embedding, embedding[:0], np.full(4, True), 2).tolist()
    [1, 3]
    """
    similarity = _similarity(embedding, embedding)
    best = _similarity(embedding, known).max(1, initial=-1)
    left = may.copy()
    chosen: list[int] = []
    while len(chosen) < number and left.any():
        gain = np.maximum(similarity - best[:, None], 0).sum(0)
        chosen.append(int(np.where(left, gain, -1).argmax()))
        left[chosen[-1]] = False
        best = np.maximum(best, similarity[:, chosen[-1]])
    return np.array(chosen, int)


def choose(scores: Mapping[str, Score], labels: Mapping[str, str], masked: Set[str], number: int) -> list[str]:
    """The images to draw masks for, best first.

    Labels take turns, the one with the fewest masks first. Of each label come the `representatives` among the more
    typical half of its images; the other half, which is seldom like any other, comes last.

    Args:
        scores: of a run, by image.
        labels: of these images.
        masked: those that have a mask; they are not chosen.
        number: at most so many.
    """
    by_label: dict[str, list[str]] = {}
    for image in scores:
        by_label.setdefault(labels[image], []).append(image)
    orders = {label: _order(images, scores, masked, number) for label, images in sorted(by_label.items())}
    count = {label: sum(image in masked for image in images) for label, images in by_label.items()}
    found: list[str] = []
    while len(found) < number and any(orders.values()):
        label = min((label for label in orders if orders[label]), key=count.__getitem__)
        found.append(orders[label].pop(0))
        count[label] += 1
    return found


def _order(images: Sequence[str], scores: Mapping[str, Score], masked: Set[str], number: int) -> list[str]:
    """Those of one label without a mask."""
    places = np.unique(np.linspace(0, len(images) - 1, min(len(images), MOST_COMPARED)).round().astype(int))
    compared = [images[place] for place in places]
    embedding = np.stack([scores[image].embedding for image in compared])
    known = [scores[image].embedding for image in images if image in masked]
    typical = typicality(embedding)
    is_typical = typical >= np.median(typical)
    free = np.array([image not in masked for image in compared])
    found: list[int] = []
    for half in (is_typical, ~is_typical):
        near = np.array([*known, *embedding[found]]).reshape(-1, embedding.shape[1])
        found += representatives(embedding, near, free & half, number - len(found)).tolist()
    return [compared[place] for place in found]


def _similarity(one: Float[np.ndarray, "n D"], other: Float[np.ndarray, "m D"]) -> Float[np.ndarray, "n m"]:
    """The cosine of each pair."""
    first, second = (
        rows.astype(np.float32) / np.maximum(np.linalg.norm(rows.astype(np.float32), axis=1, keepdims=True), 1e-9)
        for rows in (one, other)
    )
    return first @ second.T
