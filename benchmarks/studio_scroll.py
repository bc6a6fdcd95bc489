"""How quick the studio's page stays with many images: seconds in Chromium, with no thumbnail made before.

The page is that of `lookright studio`, in a process of its own. `first_grid` is the time from asking for the page until
every picture in sight is shown; `screen` that of a picture further down; `frame` the time between two frames while the
wheel turns; `filter` from the last key to the new grid; `stroke` from the end of a box to "Saved".

    python benchmarks/studio_scroll.py
"""

import argparse
import json
import os
import random
import re
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
from playwright.sync_api import Page, sync_playwright

from lookright.run_directory.environment import processor

RESULTS = Path(__file__).parent / "results/studio_scroll.json"
SIDE = 256
JUMPS = 15
TURNS = 120

SHOWN = """() => {
  const frame = document.querySelector("#grid").getBoundingClientRect();
  const inSight = [...document.querySelectorAll(".tile img")].filter((image) => {
    const { top, bottom } = image.getBoundingClientRect();
    return bottom > frame.top && top < frame.bottom;
  });
  return inSight.length && inSight.every((image) => image.complete && image.naturalWidth);
}"""
"""Whether every picture in sight is there."""

JUMP = "(share) => { const grid = document.querySelector('#grid'); grid.scrollTop = share * grid.scrollHeight; }"

FRAMES = """() => {
  window.frames_ = [];
  let before = performance.now();
  const step = (now) => {
    window.frames_.push(now - before);
    before = now;
    window.counting = requestAnimationFrame(step);
  };
  window.counting = requestAnimationFrame(step);
}"""


def make(folder: Path, images: int) -> None:
    """Small photographs of noise, each in one of ten classes."""
    generator = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    for number in range(images):
        coarse = Image.fromarray(generator.integers(0, 255, (16, 16, 3), dtype=np.uint8))
        coarse.resize((SIDE, SIDE)).save(folder / f"images/{number:06}.jpg", quality=80)
    names = [f"images/{number:06}.jpg" for number in range(images)]
    labels = [f"class {number % 10}" for number in range(images)]
    pd.DataFrame({"image": names, "label": labels, "split": "train"}).to_csv(folder / "labels.csv", index=False)


def megabytes(process: int) -> int | None:
    """What a process holds in memory; None where the system does not tell in /proc."""
    status = Path(f"/proc/{process}/status")
    found = re.search(r"VmRSS:\s+(\d+)", status.read_text()) if status.is_file() else None
    return round(int(found[1]) / 1024) if found else None


def waited(page: Page, ready: str) -> float:
    """Seconds until it is so."""
    began = time.perf_counter()
    page.wait_for_function(ready, polling=10)
    return time.perf_counter() - began


def measured(page: Page, address: str) -> dict[str, float]:
    """The page, from its address to the first mask."""
    began = time.perf_counter()
    page.goto(address)
    page.wait_for_function(SHOWN, polling=10)
    found = {"first_grid": time.perf_counter() - began}
    chance = random.Random(0)
    seconds = []
    for _ in range(JUMPS):
        page.evaluate(JUMP, chance.random())
        page.wait_for_timeout(20)
        seconds.append(0.02 + waited(page, SHOWN))
    found |= {"screen_median": statistics.median(seconds), "screen_worst": max(seconds)}
    box = page.locator("#grid").bounding_box() or {}
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.evaluate(FRAMES)
    for _ in range(TURNS):
        page.mouse.wheel(0, 240)
        page.wait_for_timeout(16)
    frames = sorted(page.evaluate("() => { cancelAnimationFrame(window.counting); return window.frames_; }"))
    found |= {"frame_median": statistics.median(frames) / 1000, "frame_95": frames[int(0.95 * len(frames))] / 1000}
    page.locator("#filter").fill("label:7")
    found["filter"] = waited(page, "() => document.querySelector('.tile b')?.textContent === 'class 7'")
    page.locator("#grid").focus()
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    page.locator("#stage[data-image]").wait_for()
    page.keyboard.press("r")
    stage = page.locator("#stage").bounding_box() or {}
    x, y = stage["x"] + stage["width"] / 2, stage["y"] + stage["height"] / 2
    for name, at in (("stroke_first", -80), ("stroke_next", 20)):
        page.mouse.move(x + at, y)
        page.mouse.down()
        page.mouse.move(x + at + 50, y + 50)
        page.mouse.up()
        found[name] = waited(page, "() => document.querySelector('#saved').textContent.startsWith('Saved')")
        page.evaluate("() => { document.querySelector('#saved').textContent = ''; }")
    return {name: round(value, 3) for name, value in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[200, 20_000])
    parser.add_argument("--chromium", default=shutil.which("chromium") or shutil.which("google-chrome"))
    arguments = parser.parse_args()
    device = f"{os.cpu_count()} cores of {processor()}"
    results: dict[str, object] = {"device": device, "load_average": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory() as work, sync_playwright() as driver:
        for images in arguments.images:
            folder = Path(work, str(images))
            make(folder, images)
            began = time.perf_counter()
            command = [sys.executable, "-u", "-m", "lookright.cli", "studio", str(folder), "--open", "false"]
            server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            try:
                assert server.stdout is not None
                address = server.stdout.readline().strip()
                found: dict[str, object] = {"start": round(time.perf_counter() - began, 3)}
                options = {"executable_path": arguments.chromium, "args": ["--headless", "--no-sandbox"]}
                with driver.chromium.launch(**options) as browser:
                    page = browser.new_page(viewport={"width": 1280, "height": 800}, bypass_csp=True)
                    page.set_default_timeout(300_000)
                    found |= measured(page, address)
                    page.locator("#back").click()
                    heap = page.context.new_cdp_session(page)
                    heap.send("HeapProfiler.collectGarbage")
                    found |= {
                        "tiles": page.locator(".tile").count(),
                        "page_megabytes": round(page.evaluate("performance.memory.usedJSHeapSize") / 2**20, 1),
                        "server_megabytes": megabytes(server.pid),
                    }
            finally:
                server.terminate()
                server.wait()
            results[f"{images}_images"] = found
            print(images, found, flush=True)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
