"""How soon a training on many images starts, what they cost in memory, and how fast one process prepares batches.

The first step of `lookright train` on folders of tiny images with masks (hard links to 1,000 pictures), timed from the
command on; and, in one run, round by round, images a second of one process through lookright's input, mask included,
and through timm's own transforms of the same strength without a mask. Figures of the second part are processor time of
one thread, which other programs disturb least.

    python benchmarks/data_speed.py --images 20000 200000
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

RESULTS = Path(__file__).parent / "results" / "data_speed.json"
DISTINCT = 1000


def make(folder: Path, images: int, side: int, suffix: str) -> None:
    """Smooth pictures with noise, as photographs have it, and a mask of a disc for each."""
    random = np.random.default_rng(0)
    for number in range(images):
        place = folder / f"{number // 1000}"
        image, mask = place / f"{number}{suffix}", place / f"{number}_mask.png"
        if number >= DISTINCT:
            for path in (image, mask):
                place.mkdir(parents=True, exist_ok=True)
                os.link(folder / "0" / path.name.replace(f"{number}", f"{number % DISTINCT}", 1), path)
            continue
        place.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(random.integers(0, 255, (8, 8, 3)).astype(np.uint8)).resize((side, side), 3)
        pixels = np.asarray(coarse, int) + random.integers(-12, 12, (side, side, 3))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(image)
        disc = np.hypot(*(np.mgrid[:side, :side] - side / 2)) < side / 4
        Image.fromarray((disc * 255).astype(np.uint8)).save(mask)
    names = [f"{number // 1000}/{number}" for number in range(images)]
    table = {
        "image": [f"{name}{suffix}" for name in names],
        "label": ["ab"[number % 2] for number in range(images)],
        "mask": [f"{name}_mask.png" for name in names],
        "split": ["test" if number % 100 == 99 else "train" for number in range(images)],
    }
    pd.DataFrame(table).to_csv(folder / "labels.csv", index=False)


FIRST_STEP = """
import os, sys, time
from lookright import ERM
from lookright.cli import main

class FirstStep(ERM):
    def stepped(self, *given):
        pages = int(open("/proc/self/statm").read().split()[1])
        print("first step", time.time(), pages * os.sysconf("SC_PAGE_SIZE") / 1e6, flush=True)
        os._exit(0)

sys.modules["first_step"] = sys.modules["__main__"]
sys.exit(main(sys.argv[1:]))
"""


def first_step(folder: Path, out: Path) -> tuple[float, float]:
    """Seconds from the command to the end of the first step, and resident megabytes then."""
    arguments = ["--data", folder, "--out", out, "--model", "small_cnn", "--size", "32", "--epochs", "1"]
    arguments += ["--workers", "1", "--method", "first_step.FirstStep"]
    start = time.time()
    run = subprocess.run(
        [sys.executable, "-c", FIRST_STEP, "train", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    line = [line for line in run.stdout.splitlines() if line.startswith("first step")]
    if not line:
        raise SystemExit(run.stdout + run.stderr)
    _, _, end, megabytes = line[0].split()
    return float(end) - start, float(megabytes)


INPUTS: dict[str, tuple[str, int, dict]] = {
    "224": ("photographs", 224, {"cache": 0.0}),
    "96": ("photographs", 96, {"cache": 0.0}),
    "96_later_epochs": ("photographs", 96, {}),
    "large_224": ("large", 224, {"cache": 0.0}),
    "large_224_reduced": ("large", 224, {"cache": 0.0, "least_side": 448}),
}
"""Photographs, what the model sees, and how they are read: by default decoded images are kept for later epochs."""


def input_speed(folder: Path, images: int, rounds: int, size: int, reading: dict) -> dict[str, float]:
    """Images a second of one process, and the median over rounds of their ratio; a first round is not counted."""
    import torch
    from timm.data import create_transform

    from lookright.data.dataset import Augmentation, Collate, ImageDataset
    from lookright.data.samples import read_samples
    from lookright.data.table import read_table

    torch.set_num_threads(1)
    table, samples, _ = read_samples(folder, read_table(folder).head(images), check_pixels=False, **reading)
    ours = ImageDataset(table, samples, ["a", "b"], [], size, Augmentation())
    collate = Collate((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    transform = create_transform(size, is_training=True, scale=(0.5, 1), color_jitter=0.2, interpolation="bilinear")
    files = [folder / name for name in table["image"]]

    def lookright() -> None:
        for start in range(0, images, 32):
            collate([ours[0, index] for index in range(start, min(start + 32, images))])

    def timm() -> None:
        for start in range(0, images, 32):
            torch.stack([transform(Image.open(file).convert("RGB")) for file in files[start : start + 32]])

    seconds: dict[str, list[float]] = {"lookright": [], "timm": []}
    for turn in range(rounds + 1):
        for name, run in (("lookright", lookright), ("timm", timm)):
            begin = time.process_time()
            run()
            if turn:
                seconds[name].append(time.process_time() - begin)
    ratios = [theirs / own for own, theirs in zip(seconds["lookright"], seconds["timm"], strict=True)]
    speed = {
        f"{name}_images_per_second": round(images / statistics.median(times), 1) for name, times in seconds.items()
    }
    return {**speed, "ratio": round(statistics.median(ratios), 3), "lowest": round(min(ratios), 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs=2, default=(20_000, 200_000))
    parser.add_argument("--photographs", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", choices=("start", "input"))
    arguments = parser.parse_args()
    from lookright.run_directory.environment import processor

    found = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    found |= {"device": f"{os.cpu_count()} cores of {processor()}", "load_average": os.getloadavg()[0]}
    work = Path(tempfile.mkdtemp())
    try:
        if arguments.only != "input":
            for images in arguments.images:
                make(work / f"{images}", images, 32, ".png")
                seconds, megabytes = first_step(work / f"{images}", work / f"run{images}")
                found[f"first_step_{images}"] = {"seconds": round(seconds, 1), "resident_megabytes": round(megabytes)}
                print(images, found[f"first_step_{images}"], flush=True)
            few, many = (found[f"first_step_{images}"]["resident_megabytes"] for images in arguments.images)
            found["memory_ratio"] = round(many / few, 3)
        if arguments.only != "start":
            make(work / "photographs", arguments.photographs, 400, ".jpg")
            counts = {"photographs": arguments.photographs, "large": arguments.photographs // 4}
            make(work / "large", counts["large"], 1600, ".jpg")
            for name, (kind, size, reading) in INPUTS.items():
                found[f"input_{name}"] = input_speed(work / kind, counts[kind], arguments.rounds, size, reading)
                print(name, found[f"input_{name}"], flush=True)
    finally:
        shutil.rmtree(work)
    RESULTS.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
