"""Size of a report on 2,000 test images with as many maps as a page holds, and how long Chromium takes to open it.

Eight splits of 250 images, four methods; the pictures are cut out of two photographs. Opened is when the page is drawn
after everything in it was loaded, and when something was drawn first: the median of five, each in a new tab. Beside the
clock stands the processor time of the tab's process, which other programs on the machine disturb least. Needs Linux.

    python benchmarks/report_size.py
"""

import json
import os
import shutil
import statistics
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from playwright.sync_api import sync_playwright
from sklearn.datasets import load_sample_images

from lookright.measures import MEASURES
from lookright.report import write_report
from lookright.report.gallery import MAXIMUM
from lookright.run_directory.environment import processor

SPLITS = [f"hospital_{number}" for number in range(1, 9)]
METHODS = ["ERM", "CAMAL", "SAGE", "ALIGN"]
IMAGES = 250
SIDE = 224
DRAWN = """() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done([
  performance.now() / 1000, performance.getEntriesByName("first-contentful-paint")[0].startTime / 1000,
]))))"""


def write_study(directory: Path) -> None:
    random = np.random.default_rng(0)
    measured = [name for name, row in MEASURES.items() if row.when == "always" and row.kind != "agents"]
    rows = []
    for number, method in enumerate(METHODS):
        run = directory / "runs" / method
        (run / "evaluation").mkdir(parents=True)
        for split in SPLITS:
            write_evaluation(run / "evaluation", split, np.random.default_rng(number))
            rows.append(
                {"method": method, "seed": 0, "split": split, "images": IMAGES, "run": f"runs/{method}"}
                | dict(zip(measured, random.random(len(measured)), strict=True))
            )
    pd.DataFrame(rows).to_csv(directory / "results.csv", index=False)


def write_evaluation(folder: Path, split: str, random: np.random.Generator) -> None:
    """One split of a run; images and masks depend on the split alone."""
    shared = np.random.default_rng(SPLITS.index(split))
    photographs = load_sample_images().images
    images, masks = [], []
    for _ in range(MAXIMUM):
        photograph = photographs[shared.integers(len(photographs))]
        y, x = (shared.integers(length - SIDE) for length in photograph.shape[:2])
        images.append(photograph[y : y + SIDE, x : x + SIDE])
        masks.append(np.hypot(*(np.mgrid[:SIDE, :SIDE] - shared.integers(60, 160, 2)[:, None, None])) < 50)
    pd.DataFrame(
        {
            "image": [f"images/{number:04d}.jpg" for number in range(IMAGES)],
            "label": "benign",
            "prediction": random.choice(["benign", "malignant"], IMAGES),
            "confidence": random.uniform(0.5, 1, IMAGES),
            "correct": random.integers(0, 2, IMAGES),
            "energy_in_mask": random.random(IMAGES),
        }
    ).to_csv(folder / f"{split}.csv", index=False)
    np.savez(
        folder / f"{split}.npz",
        fraction=np.linspace(0, 1, 17),
        insertion_curve=np.sort(random.random(17)),
        deletion_curve=-np.sort(-random.random(17)),
        gallery_row=np.arange(MAXIMUM),
        gallery_image=np.stack(images),
        gallery_mask=np.stack(masks).astype(np.uint8) * 255,
        gallery_map=random.random((MAXIMUM, 7, 7)).astype(np.float16),
    )


def processor_seconds_of_tabs() -> float:
    """Of the processes of the browser started here that show a tab."""
    parent, ticks = {}, {}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            fields = (process / "stat").read_text().rsplit(")", 1)[1].split()
            parent[process.name] = fields[1]
            if b"--type=renderer" in (process / "cmdline").read_bytes():
                ticks[process.name] = int(fields[11]) + int(fields[12])
    own = str(os.getpid())

    def started_here(process: str) -> bool:
        return process == own or (process in parent and started_here(parent[process]))

    return sum(spent for process, spent in ticks.items() if started_here(process)) / os.sysconf("SC_CLK_TCK")


def seconds_to_open(path: Path, executable: str) -> dict[str, float]:
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        found = []
        for _ in range(5):
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            before = processor_seconds_of_tabs()
            page.goto(path.as_uri(), timeout=120_000)
            drawn, first = page.evaluate(DRAWN)
            found.append((drawn, first, processor_seconds_of_tabs() - before))
            page.close()
        browser.close()
    names = ("seconds to open", "seconds until something is drawn", "processor seconds to open")
    return {
        name: round(statistics.median(values), 2) for name, values in zip(names, zip(*found, strict=True), strict=True)
    }


def main() -> None:
    executable = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if executable is None:
        raise SystemExit("No Chromium is installed.")
    with TemporaryDirectory() as folder:
        write_study(Path(folder))
        path = write_report(Path(folder))
        html = path.read_text(encoding="utf-8")
        result: dict[str, Any] = {
            "test images": len(SPLITS) * IMAGES,
            "photographs": html.count("data:image/jpeg"),
            "maps": html.count("data:image/png"),
            "megabytes": round(path.stat().st_size / 1e6, 2),
            **seconds_to_open(path, executable),
            "processor": processor(),
        }
    print(json.dumps(result, indent=2))
    out = Path(__file__).parent / "results/report_size.json"
    out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
