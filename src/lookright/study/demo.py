"""The demonstration: from nothing to a finished study in a few minutes."""

from pathlib import Path

import yaml

from lookright.data.bestiary import KNOWN_CREATURES, render_bestiary
from lookright.study.study import run_study

SETTINGS = {
    "model": "small_cnn",
    "model_arguments": {"width": 16},
    "size": 64,
    "augmentation": {"colour_jitter": 0.0},
    "batch_size": 32,
    "lr": 2e-3,
    "select": "last",
    "workers": 0,
    "curve_points": 8,
    "faithfulness_images": 100,
}


def run_demo(
    out: Path, seeds: int = 3, jobs: int = 2, images_per_pair: int = 20, images_at_home: int = 300, epochs: int = 12
) -> Path:
    """Render the bestiary into `out/bestiary`, and run ERM and CAMAL on its shortcut protocol.

    Args:
        out: directory of the study. What is there from an interrupted demonstration is used.
        seeds: runs of each method.
        jobs: runs at a time.
        images_per_pair: images of each creature in each level that is not its home.
        images_at_home: images of each creature in its home level.
        epochs: of each run.

    Returns:
        The study's directory.
    """
    images = out / "bestiary"
    if not images.exists():
        render_bestiary(
            images, creatures=KNOWN_CREATURES, images_per_pair=images_per_pair, images_at_home=images_at_home, size=64
        )
    config = {
        "methods": {"ERM": {}, "CAMAL": {}},
        "protocols": {"Shortcut": {"data": str(images)}},
        "seeds": list(range(seeds)),
        "settings": SETTINGS | {"epochs": epochs},
    }
    path = out / "study.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    run_study(path, out, jobs=jobs)
    return out
