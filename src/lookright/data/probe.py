"""What gives the class away: a linear probe on simple features, cross-validated."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image

GRID = 4
SHAPE = 12


class Probe(NamedTuple):
    """How well a class is told.

    Attributes:
        accuracy: mean over the classes of the share of images that are told right, on images not fitted on.
        chance: one over the number of classes.
        limit: what chance alone reaches once in 40 times.
    """

    accuracy: float
    chance: float
    limit: float

    @property
    def verdict(self) -> str:
        """In words.

        >>> Probe(0.9, 0.25, 0.3).verdict, Probe(0.4, 0.25, 0.3).verdict, Probe(0.28, 0.25, 0.3).verdict
        ('gives the class away', 'hints at the class', 'does not tell the class')
        """
        if self.accuracy > max(self.limit, self.chance + (1 - self.chance) / 2):
            return "gives the class away"
        return "hints at the class" if self.accuracy > self.limit else "does not tell the class"


def probe(features: Float[np.ndarray, "n d"], label: Int[np.ndarray, " n"], folds: int = 5, seed: int = 0) -> Probe:
    """Ridge regression on one-hot labels, each image told by a fit on the other folds; classes weigh alike."""
    classes = label.max() + 1
    fold = np.random.default_rng(seed).permutation(len(label)) % folds
    count = np.bincount(label, minlength=classes)
    predicted = np.empty(len(label), int)
    for held in range(folds):
        fit, test = fold != held, fold == held
        mean, std = features[fit].mean(0), features[fit].std(0) + 1e-6
        x = np.column_stack([(features[fit] - mean) / std, np.ones(fit.sum())])
        weight = (1 / count[label[fit]])[:, None]
        target = np.eye(classes)[label[fit]]
        gram = x.T @ (weight * x) + 0.1 * classes / len(x) * x.shape[1] ** 0.5 * np.eye(x.shape[1])
        coefficients = np.linalg.solve(gram, x.T @ (weight * target))
        scores = np.column_stack([(features[test] - mean) / std, np.ones(test.sum())]) @ coefficients
        predicted[test] = scores.argmax(1)
    accuracy = float(np.mean([(predicted[label == each] == each).mean() for each in range(classes)]))
    chance = 1 / classes
    spread = np.sqrt(np.mean(chance * (1 - chance) / count) / classes)
    return Probe(accuracy, chance, float(chance + 1.96 * spread))


def scenery(image: UInt8[np.ndarray, "H W 3"], mask: Float[np.ndarray, "H W"]) -> Float[np.ndarray, " d"]:
    """Colours and contrast of what lies outside the mask, cell by cell; a covered cell is like the rest."""
    size = 8 * GRID
    small = np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BOX), float) / 255
    cover = np.asarray(Image.fromarray((mask * 255).astype(np.uint8)).resize((size, size), Image.Resampling.BOX)) / 255
    outside = (cover < 0.05).astype(float)[..., None]
    if not outside.any():
        return np.zeros(GRID * GRID * 6)
    cells = [block.reshape(GRID, 8, GRID, 8, -1) for block in (small * outside, small**2 * outside, outside)]
    first, second, weight = (cell.sum((1, 3)) for cell in cells)
    overall = (small * outside).sum((0, 1)) / outside.sum()
    seen = weight > 0
    mean = np.where(seen, first / np.maximum(weight, 1), overall)
    variance = np.where(seen, second / np.maximum(weight, 1) - mean**2, 0)
    return np.concatenate([mean, np.sqrt(np.maximum(variance, 0))], axis=2).reshape(-1)


def shape(mask: Float[np.ndarray, "H W"]) -> Float[np.ndarray, " d"]:
    """The mask alone, small."""
    small = Image.fromarray((mask * 255).astype(np.uint8)).resize((SHAPE, SHAPE), Image.Resampling.BOX)
    return np.append(np.asarray(small, float).reshape(-1) / 255, [mask.mean(), mask.mean() ** 0.5])
