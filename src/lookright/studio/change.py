"""What a training changed, on the images that it was not trained on."""

from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from lookright.statistics import paired_difference
from lookright.studio.scores import RunScores, disagreement

MOST_COMPARED = 500
"""Held-out images whose maps are compared, those with a mask first."""

MOST_SHOWN = 6


def change(before: RunScores | None, after: RunScores) -> dict[str, Any]:
    """A run beside an earlier one, on the images that it was not trained on, as far as both have scored them.

    Args:
        before: None: there is no other.
        after: whose settings tell which images are held out.

    Returns:
        `images` and `with_mask`, how many these are; `accuracy` (over all) and `alignment` (over those with a mask),
        see `_measured`; and `moved`, the images at which the two look most differently, as `image`, and `predicted` and
        `alignment` of both.

    Raises:
        InputError: the run's protocol does not fit the folder.
    """
    settings = after.run.settings
    runs = [after] if before is None else [before, after]
    table = settings.protocol.assign(after.folder.table.copy(), settings.seed)
    table = table[table["split"] != "train"]
    for scores in runs:
        table = table[table["image"].isin(list(scores.by_image))]
    labels = table["label"].tolist()
    right = np.array(
        [
            [predicted(scores, image) == label for image, label in zip(table["image"], labels, strict=True)]
            for scores in runs
        ]
    )
    aligned = np.array([[scores.alignment.get(image, np.nan) for image in table["image"]] for scores in runs])
    return {
        "images": len(table),
        "with_mask": int(np.isfinite(aligned).all(0).sum()),
        "accuracy": _measured(right.astype(float)),
        "alignment": _measured(aligned),
        "moved": [] if before is None else _moved(before, after, table),
    }


def predicted(scores: RunScores, image: str) -> str:
    """The class that a run gives an image that it has scored."""
    return scores.run.classes[int(scores.by_image[image].probability.argmax())]


def _measured(values: Float[np.ndarray, "runs n"]) -> dict[str, Any] | None:
    """`means` of the runs over the images for which all have a value, and the 95% `interval` of their difference.

    The interval is that of a paired t-test over images; None for one run, or where it is not defined.
    """
    values = values[:, np.isfinite(values).all(0)]
    if not values.shape[1]:
        return None
    interval = None
    if len(values) > 1:
        difference = paired_difference(values[1], values[0])
        interval = [difference.low, difference.high] if np.isfinite(difference.low) else None
    return {"means": values.mean(1).tolist(), "interval": interval}


def _moved(before: RunScores, after: RunScores, table: pd.DataFrame) -> list[dict[str, Any]]:
    first = table.sort_values("mask_weight", ascending=False, kind="stable")["image"].head(MOST_COMPARED)
    by_distance = sorted(first, key=lambda image: -disagreement(before.by_image[image], after.by_image[image])[1])
    found = []
    for image in by_distance[:MOST_SHOWN]:
        aligned = [scores.alignment.get(image, np.nan) for scores in (before, after)]
        found.append(
            {
                "image": image,
                "predicted": [predicted(scores, image) for scores in (before, after)],
                "alignment": aligned if np.isfinite(aligned).all() else None,
            }
        )
    return found
