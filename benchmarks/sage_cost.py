"""Time of a training step with SAGE, as a multiple of plain training's.

Every round times one step of each method, one after the other, so that whatever else the machine does hits all of them
alike; the figure is the median over the rounds of the ratio within a round. On a CPU it is the processor time of one
thread, which other programs on the machine disturb least.

    python benchmarks/sage_cost.py
"""

import argparse
import json
import platform
import statistics
import time
from pathlib import Path

import timm
import torch

from lookright import CAMAL, ERM, SAGE, Classifier, Method
from lookright.perturb import Inpaint, Noise

METHODS: dict[str, Method] = {
    "ERM": ERM(),
    "SAGE": SAGE(),
    "SAGE, in-painting": SAGE(perturbation=Inpaint()),
    "SAGE, noise": SAGE(perturbation=Noise()),
    "SAGE, batchnorm original": SAGE(batchnorm="original"),
    "SAGE, share 0.5": SAGE(share=0.5),
    "SAGE, share 0.25": SAGE(share=0.25),
    "CAMAL + SAGE": CAMAL() + SAGE(),
}


def make_step(model: str, method: Method, batch: dict[str, torch.Tensor], device: str):
    classifier = Classifier(timm.create_model(model, num_classes=8)).to(device)
    optimizer = torch.optim.AdamW(classifier.parameters())

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
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "sage_cost.json")
    arguments = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"

    if device == "cpu":
        torch.set_num_threads(1)
    torch.manual_seed(0)
    shape = (arguments.batch_size, arguments.size, arguments.size)
    batch = {
        "image": torch.randn(shape[0], 3, *shape[1:], device=device),
        "label": torch.randint(8, shape[:1], device=device),
        "mask": (torch.rand(shape, device=device) > 0.7).float(),
    }
    steps = {name: make_step(arguments.model, method, batch, device) for name, method in METHODS.items()}
    for step in steps.values():
        step()
    rounds = [{name: step() for name, step in steps.items()} for _ in range(arguments.rounds)]

    ratios = {name: sorted(seconds[name] / seconds["ERM"] for seconds in rounds) for name in METHODS}
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
