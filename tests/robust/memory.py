"""Resident memory of a training, epoch by epoch: `python tests/robust/memory.py`."""

import argparse
import os
import tempfile
from pathlib import Path

from test_inputs import SMALL, write_place

from lookright.training import loop
from lookright.training.run import train


def resident() -> float:
    """Megabytes of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=100)
    chosen = parser.parse_args()
    after: list[float] = []
    validate = loop.TrainingLoop._validate

    def noting(self: loop.TrainingLoop, validation: object) -> None:
        validate(self, validation)  # type: ignore[arg-type]
        after.append(resident())

    loop.TrainingLoop._validate = noting  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = str(Path(folder, "cache"))
        write_place(Path(folder, "place"))
        after.clear()
        os.chdir(Path(folder, "place/work"))
        train({"data": "data", "out": "long", "method": "CAMAL", **SMALL, "epochs": chosen.epochs})
    print("| after epoch | MB resident |\n|---|---|")
    for epoch in sorted({1, 10, len(after) // 2, len(after)}):
        print(f"| {epoch} | {after[epoch - 1]:.0f} |")


if __name__ == "__main__":
    main()
