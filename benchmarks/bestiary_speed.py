"""How fast the bestiary renders: images a second by the clock, and processor time an image, the engine's included.

The clock counts whatever else runs on the machine; the processor time hardly does, and 1 / it is the rate that one
undisturbed core would reach.

    python benchmarks/bestiary_speed.py
"""

import argparse
import json
import os
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from lookright.data.bestiary import render_bestiary
from lookright.run_directory.environment import processor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images_per_pair", type=int, default=24)
    parser.add_argument("--images_at_home", type=int, default=300)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("results") / "bestiary_speed.json")
    arguments = parser.parse_args()
    what = {name: vars(arguments)[name] for name in ("images_per_pair", "images_at_home", "size", "workers")}

    clock, busy = time.perf_counter(), _processor_time()
    with tempfile.TemporaryDirectory() as folder:
        images = len(render_bestiary(Path(folder) / "bestiary", **what))
        size = sum(path.stat().st_size for path in Path(folder).rglob("*.png"))
    clock, busy = time.perf_counter() - clock, _processor_time() - busy

    result = what | {
        "images": images,
        "megabytes": round(size / 1e6, 1),
        "seconds": round(clock, 1),
        "images_per_second": round(images / clock, 1),
        "processor_milliseconds_per_image": round(1000 * busy / images, 2),
        "load_average": round(os.getloadavg()[0], 1),
        "device": f"{os.cpu_count()} cores of {processor()}",
        "vizdoom": version("vizdoom"),
    }
    draft = arguments.out.with_suffix(".tmp")
    draft.write_text(json.dumps(result, indent=2) + "\n")
    draft.replace(arguments.out)
    print(json.dumps(result, indent=2))


def _processor_time() -> float:
    """Seconds of this process and of the engines that it started and that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


if __name__ == "__main__":
    main()
