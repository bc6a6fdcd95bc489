"""Over seeds and test images."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from lookright.statistics.paired import Estimate


def image_bootstrap(
    values: ArrayLike,
    baseline: ArrayLike,
    *,
    replicates: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Mean paired difference over test images with its percentile bootstrap interval, clustered by seed.

    All seeds are tested on the same images, so seeds and images are crossed: a replicate draws seeds and, apart from
    that, images, and keeps each pair (method and baseline, same seed and image) together (Owen 2007, the pigeonhole
    bootstrap). With one seed only images are drawn: the interval then says how sure the difference between *these two
    trained models* is, not what training once more would give.

    Args:
        values: (seeds, images) the method's score of each image, such as 0/1 for wrong/right; NaN is left out.
        baseline: (seeds, images) the baseline's, in the same order.
        replicates: number of bootstrap replicates.
        confidence: coverage of the interval.
        seed: seed of the resampling.

    Returns:
        Mean difference over all pairs; `count` is the number of images with a pair.

    Raises:
        ValueError: where the two are not matrices of the same shape.
    """
    ours, theirs = np.asarray(values, dtype=float), np.asarray(baseline, dtype=float)
    if ours.ndim != 2 or ours.shape != theirs.shape:
        raise ValueError(f"scores of {ours.shape} against {theirs.shape}; expected (seeds, images) twice")
    difference = ours - theirs
    defined = ~np.isnan(difference)
    count = int(defined.any(axis=0).sum())
    if count == 0:
        return Estimate(np.nan, np.nan, np.nan, 0)
    total = np.where(defined, difference, 0.0)
    value = float(total.sum() / defined.sum())
    if count < 2:
        return Estimate(value, np.nan, np.nan, count)
    seeds, images = difference.shape
    generator = np.random.default_rng(seed)
    means = np.full(replicates, np.nan)
    for replicate in range(replicates):
        seed_weight = np.bincount(generator.integers(seeds, size=seeds), minlength=seeds)
        image_weight = np.bincount(generator.integers(images, size=images), minlength=images)
        pairs = seed_weight @ defined @ image_weight
        if pairs:
            means[replicate] = seed_weight @ total @ image_weight / pairs
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(means, [tail, 1 - tail])
    return Estimate(value, float(low), float(high), count)


def hierarchical_bootstrap(
    values: Sequence[ArrayLike],
    baseline: Sequence[ArrayLike] | None = None,
    *,
    replicates: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Mean over seeds of each seed's mean over its images, with a percentile bootstrap interval of both levels.

    Each seed has test images of its own (another split, a rendering of its own): a replicate draws seeds, and then
    images within each seed that it drew (Davison and Hinkley 1997, section 3.8). Where all seeds are tested on the same
    images, `image_bootstrap` draws the images for all of them alike. With one seed only images are drawn.

    Args:
        values: of each seed, the score of each image, such as 0/1 for wrong/right; NaN is left out.
        baseline: the baseline's, in the same order; the differences of pairs are measured then.
        replicates: number of bootstrap replicates.
        confidence: coverage of the interval.
        seed: seed of the resampling.

    Returns:
        The mean; `count` is the number of seeds with an image, the level at which observations are independent.

    Raises:
        ValueError: where values and baseline differ in seeds or images.

    >>> estimate = hierarchical_bootstrap([[1, 0, 1, 1], [1, 1]])
    >>> estimate.value, estimate.count
    (0.875, 2)
    """
    clusters = [np.asarray(images, dtype=float) for images in values]
    if baseline is not None:
        others = [np.asarray(images, dtype=float) for images in baseline]
        shapes = [[images.shape for images in side] for side in (clusters, others)]
        if shapes[0] != shapes[1]:
            raise ValueError(f"seeds with images {shapes[0]} against {shapes[1]}; expected the same")
        clusters = [ours - theirs for ours, theirs in zip(clusters, others, strict=True)]
    clusters = [images[~np.isnan(images)] for images in clusters]
    clusters = [images for images in clusters if len(images)]
    count = len(clusters)
    if count == 0:
        return Estimate(np.nan, np.nan, np.nan, 0)
    value = float(np.mean([images.mean() for images in clusters]))
    if count == 1 and len(clusters[0]) < 2:
        return Estimate(value, np.nan, np.nan, count)
    generator = np.random.default_rng(seed)
    # How often an image is drawn is multinomial: one draw of counts gives all means of a seed.
    size = (replicates, count)
    means = np.empty(size)
    drawn = generator.integers(count, size=size)
    for number, images in enumerate(clusters):
        wanted = drawn == number
        counts = generator.multinomial(len(images), np.full(len(images), 1 / len(images)), size=int(wanted.sum()))
        means[wanted] = counts @ images / len(images)
    tail = (1 - confidence) / 2
    low, high = np.quantile(means.mean(1), [tail, 1 - tail])
    return Estimate(value, float(low), float(high), count)
