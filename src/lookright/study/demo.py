"""The demonstration: a report from nothing, in a few minutes."""

from pathlib import Path

import yaml

from lookright.data.bestiary import KNOWN_CREATURES, render_bestiary
from lookright.study.study import run_study

SETTINGS = {
    "model": "small_cnn",
    "size": 64,
    "epochs": 8,
    "batch_size": 32,
    "lr": 2e-3,
    "select": "last",
    "workers": 0,
    "steps": 8,
}


def run_demo(out: Path, seeds: int = 3, jobs: int = 2) -> Path:
    """Render the bestiary into `out/bestiary`, and run ERM and CAMAL on its shortcut protocol.

    Args:
        out: directory of the study.
        seeds: runs of each method.
        jobs: runs at a time.

    Returns:
        The study's directory.
    """
    images = out / "bestiary"
    if not images.exists():
        render_bestiary(images, creatures=KNOWN_CREATURES, images_per_pair=20, images_at_home=300, size=64)
    config = {
        "methods": {"ERM": {}, "CAMAL": {}},
        "protocols": {"Shortcut": {"data": str(images)}},
        "seeds": list(range(seeds)),
        "settings": SETTINGS,
    }
    path = out / "study.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    run_study(path, out, jobs=jobs)
    return out
