"""Time of a training step with ALIGN after its warm-up, and with DRE and SGT, as a multiple of plain training's.

Every round times one step of each, one after the other, so that whatever else the machine does hits all of them alike;
the figure is the median over the rounds of the ratio within a round. ALIGN's is the mean of its two turns. On a CPU it
is the processor time of one thread, which other programs on the machine disturb least.

    python benchmarks/align_cost.py
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import timm
import torch

from lookright import ALIGN, DRE, ERM, SGT, Classifier, Method
from lookright.perturb import ZeroFill


def align(turn: str, **arguments) -> ALIGN:
    """After the warm-ups, and always in the same turn: the steps are not counted."""
    return ALIGN(warmup=0, masker_warmup=1 if turn == "masker" else 0, masker_steps=0, **arguments)


METHODS: dict[str, Method] = {"ERM": ERM(), "DRE": DRE(), "SGT": SGT()}
VARIANTS = {
    "ALIGN": {},
    "ALIGN, small U-Net": {"masker": "unet"},
    "ALIGN, zero fill": {"fill": ZeroFill()},
    "ALIGN, regularisation 0": {"regularisation": 0.0},
}
for name, arguments in VARIANTS.items():
    METHODS |= {f"{name}: {turn}": align(turn, **arguments) for turn in ("masker", "classifier")}


def make_step(model: str, method: Method, batch: dict[str, torch.Tensor], device: str) -> Callable[[], float]:
    classifier = Classifier(timm.create_model(model, num_classes=8)).to(device)
    method.bind(classifier)
    optimizer = torch.optim.AdamW([*classifier.parameters(), *method.parameters()])

    def step() -> float:
        start = _now(device)
        optimizer.zero_grad()
        method(classifier, batch).total.backward()
        optimizer.step()
        return _now(device) - start

    return step


def _now(device: str) -> float:
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--size", type=int, default=96, help="side of the images, in pixels")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "align_cost.json")
    arguments = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"

    if device == "cpu":
        torch.set_num_threads(1)
    torch.manual_seed(0)
    batch = {
        "image": torch.randn(arguments.batch_size, 3, arguments.size, arguments.size, device=device),
        "label": torch.randint(8, (arguments.batch_size,), device=device),
    }
    steps = {name: make_step(arguments.model, method, batch, device) for name, method in METHODS.items()}
    for step in steps.values():
        step()
    rounds = [{name: step() for name, step in steps.items()} for _ in range(arguments.rounds)]
    for seconds in rounds:
        for name in VARIANTS:
            seconds[name] = (seconds[f"{name}: masker"] + seconds[f"{name}: classifier"]) / 2

    ratios = {name: [seconds[name] / seconds["ERM"] for seconds in rounds] for name in sorted(rounds[0])}
    result = {
        "model": arguments.model,
        "batch_size": arguments.batch_size,
        "size": arguments.size,
        "rounds": arguments.rounds,
        "device": torch.cuda.get_device_name() if device == "cuda" else f"one thread of {_processor()}",
        "torch": torch.__version__,
        "seconds_of_a_plain_step": statistics.median(seconds["ERM"] for seconds in rounds),
        "ratio": {name: round(statistics.median(values), 3) for name, values in ratios.items()},
        "quartiles": {
            name: [round(q, 3) for q in statistics.quantiles(values)[::2]] for name, values in ratios.items()
        },
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    temporary = arguments.out.with_suffix(".tmp")
    temporary.write_text(json.dumps(result, indent=2) + "\n")
    temporary.replace(arguments.out)
    for name, ratio in result["ratio"].items():
        print(f"{ratio:6.2f} x  {name}")


def _processor() -> str:
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return names[0].split(": ")[1] if names else platform.machine()


if __name__ == "__main__":
    main()
