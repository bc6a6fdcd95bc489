"""The demonstration: from nothing to a finished study in a few minutes."""

from math import isnan
from pathlib import Path

import pandas as pd
import yaml

from lookright.data.bestiary import KNOWN_CREATURES, render_bestiary
from lookright.study.study import run_study

PLAIN = "plain training"
METHODS = {
    PLAIN: {"method": "ERM"},
    "CAMAL": {"method": {"class_path": "CAMAL", "init_args": {"map": "contrast"}}},
    "Graft + CAMAL": {
        "method": {
            "class_path": "Sum",
            "init_args": {
                "methods": [{"class_path": "Graft"}, {"class_path": "CAMAL", "init_args": {"map": "contrast"}}]
            },
        }
    },
}
SETTINGS = {
    "model": "small_cnn",
    "model_arguments": {"width": 16},
    "size": 64,
    "augmentation": {"colour_jitter": 0.0},
    "channels_last": True,
    "batch_size": 32,
    "lr": 2e-3,
    "select": "last",
    "workers": 0,
    "curve_points": 8,
    "faithfulness_images": 50,
}


def run_demo(
    out: Path,
    data: Path | None = None,
    seeds: int = 3,
    jobs: int = 2,
    budget: float = 8,
    images_per_pair: int = 10,
    images_at_home: int = 160,
) -> pd.DataFrame:
    """Plain training, CAMAL, and Graft + CAMAL at equal compute: on the bestiary's shortcut, or on a folder.

    Args:
        out: directory of the study. What is there from an interrupted demonstration is used.
        data: a folder with `labels.csv` that has a column `split`; None renders the bestiary into `out/bestiary`.
        seeds: runs of each method.
        jobs: runs at a time.
        budget: compute of each run, in epochs of plain training.
        images_per_pair: images of each creature in each level that is not its home.
        images_at_home: images of each creature in its home level.

    Returns:
        The study's results: a row for each run and test split.
    """
    if data is None:
        data, protocol = out / "bestiary", "Shortcut"
        if not data.exists():
            render_bestiary(
                data, creatures=KNOWN_CREATURES, images_per_pair=images_per_pair, images_at_home=images_at_home, size=64
            )
    else:
        protocol = "GivenSplits"
    config = {
        "methods": METHODS,
        "protocols": {protocol: {"data": str(data)}},
        "seeds": list(range(seeds)),
        "settings": SETTINGS | {"budget": budget},
    }
    out.mkdir(parents=True, exist_ok=True)
    path = out / "study.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return run_study(path, out, jobs=jobs)


def what_was_seen(results: pd.DataFrame) -> list[str]:
    """Two sentences on the split that is hardest for plain training: how often each method is right, where it looks.

    Args:
        results: of `run_demo`.
    """
    plain = results[results["name"] == PLAIN].groupby("split")["accuracy"].mean()
    hardest = plain.idxmin()
    means = results[results["split"] == hardest].groupby("name", sort=False).mean(numeric_only=True)

    def each(column: str) -> str:
        return ", ".join(
            f"{name} {'nothing (its map is empty)' if isnan(value) else format(value, '.0%')}"
            for name, value in means[column].items()
        )

    lines = [f"Is it right? Of the images of {hardest!r}, the hardest split: {each('accuracy')}."]
    if "flat_energy_in_mask" not in means or means["flat_energy_in_mask"].isna().all():
        return [*lines, "Does it look right? That is not known: no image of this split has a mask."]
    flat = means["flat_energy_in_mask"].max()
    share = each("contrast_energy_in_mask")
    return [*lines, f"Does it look right? Share of its attention on the evidence: {share}; spread evenly, {flat:.0%}."]
