"""How much memory long trainings, many runs, many images and reports take.

python tests/robust/memory.py --record
"""

import argparse
import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from reliability import as_table, record
from test_inputs import SMALL
from torch.nn import functional

from lookright.data.samples import read_samples
from lookright.report import write_report
from lookright.training.results import evaluate_run
from lookright.training.run import TrainedRun, train

SIDE = 32
SMALLER = SMALL | {"size": SIDE, "batch_size": 16, "method": "CAMAL", "faithfulness": "none", "task": "memory.watched"}

at_steps: list[float] = []


def resident() -> float:
    """Megabytes of this process that lie in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def watched(logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """Cross-entropy, which notes the memory at every step."""
    at_steps.append(resident())
    return functional.cross_entropy(logits, label, reduction="none")


def write_images(folder: Path, number: int, tests: int) -> pd.DataFrame:
    """Links to a hundred different images and masks, `tests` of which are the split test."""
    draw = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    for kind in range(100):
        pixels, mask = draw.integers(0, 255, (SIDE, SIDE, 3), np.uint8), np.zeros((SIDE, SIDE), np.uint8)
        mask[8:20, 8:20] = 255
        Image.fromarray(pixels).save(folder / f"{kind}.png")
        Image.fromarray(mask).save(folder / f"mask-{kind}.png")
    for row in range(number):
        os.link(folder / f"{row % 100}.png", folder / f"images/{row}.png")
    table = pd.DataFrame({"image": [f"images/{row}.png" for row in range(number)]})
    table["mask"] = [f"mask-{row % 100}.png" for row in range(number)]
    table["label"] = [("cat", "dog")[row % 2] for row in range(number)]
    table["split"] = ["test" if row < tests else "val" if row < tests + 20 else "train" for row in range(number)]
    table.to_csv(folder / "labels.csv", index=False)
    return table


def epochs(folder: Path) -> tuple[str, str]:
    write_images(folder / "data", 400, 20)
    train(SMALLER | {"data": str(folder / "data"), "out": str(folder / "run"), "epochs": 100})
    tenth = len(at_steps) // 10
    early, late = np.median(at_steps[tenth : 2 * tenth]), np.median(at_steps[-tenth:])
    return "one training of 100 epochs", f"{early:.0f} MB in epochs 11 to 20, {late:.0f} MB in epochs 91 to 100"


def runs(folder: Path) -> tuple[str, str]:
    write_images(folder / "data", 80, 20)
    after = []
    for seed in range(30):
        config = SMALLER | {"data": str(folder / "data"), "out": str(folder / f"run-{seed}"), "seed": seed}
        evaluate_run(train(config))
        after.append(resident())
    return "30 runs one after another", f"{after[9]:.0f} MB after 10 of them, {after[29]:.0f} MB after all"


def images(folder: Path, cache: float) -> tuple[str, str]:
    table = write_images(folder / "data", 20_000, 20)
    before = resident()
    _, samples, _ = read_samples(folder / "data", table, cache=cache)
    without = resident()
    for index in range(len(samples)):
        samples[index]
    decoded = SIDE * SIDE * 5 * len(samples) / 1e6
    return (
        f"20,000 images, {decoded:.0f} MB decoded, `cache: {cache}`",
        f"{without - before:.0f} MB for the table, {resident() - without:.0f} MB more once all were read",
    )


def report(folder: Path, tests: int) -> tuple[str, str]:
    write_images(folder / "data", tests + 60, tests)
    run: TrainedRun = train(SMALLER | {"data": str(folder / "data"), "out": str(folder / "run"), "gallery": 24})
    evaluate_run(run)
    size = write_report(folder / "run").stat().st_size
    return f"report on {tests:,} test images, `gallery: 24`", f"{size / 1e6:.2f} MB"


MEASURED: list[tuple[Callable[..., tuple[str, str]], Any]] = [
    (epochs, ()),
    (runs, ()),
    (images, (0.0,)),
    (images, (0.02,)),
    (images, (4.0,)),
    (report, (100,)),
    (report, (2000,)),
]


def in_a_process(measure: Callable[..., tuple[str, str]], arguments: tuple) -> list[str]:
    """What a measurement says that begins with the memory of this process."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            with tempfile.TemporaryDirectory() as folder:
                os.environ["XDG_CACHE_HOME"] = str(Path(folder, "cache"))
                os.write(writing, "\n".join(measure(Path(folder), *arguments)).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    os.waitpid(process, 0)
    return said.split("\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", action="store_true", help="write the table into docs/reliability.md")
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    rows = [["What", "memory"]]
    for measure, arguments in MEASURED:
        rows.append(in_a_process(measure, arguments))
        print(rows[-1], flush=True)
    if chosen.record:
        record("Memory", as_table(rows))


if __name__ == "__main__":
    from memory import main

    main()
