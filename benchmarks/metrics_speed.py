"""Time of the metrics, as a multiple of what a loop over the images, or a peer, takes for the same work.

Every round times each of a pair once, one after the other, so that whatever else the machine does hits both alike; the
figure is the median over the rounds of the ratio within a round. On a CPU it is the processor time of one thread,
which other programs on the machine disturb least.

    python benchmarks/metrics_speed.py
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import timm
import torch
import torch.nn.functional as F
import torchvision.transforms.v2.functional as transforms
from pytorch_grad_cam.metrics.road import ROADMostRelevantFirstAverage
from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget
from torch import Tensor

from lookright import Classifier, metrics
from lookright.perturb import Inpaint, blur
from lookright.run_directory.environment import processor

STEPS = 28


def insertion_loop(model: torch.nn.Module, image: Tensor, map: Tensor, target: Tensor, batched: bool) -> None:
    """RISE's evaluation, image after image: the steps of an image one by one, or in one forward."""
    height, width = image.shape[-2:]
    for x, m, y in zip(image, map, target, strict=True):
        order = F.interpolate(m[None, None], (height, width), mode="bilinear").flatten().argsort(descending=True)
        mixed = transforms.gaussian_blur(x, [11, 11], [5.0, 5.0]).flatten(1)
        frames = [mixed.clone()]
        for part in order.chunk(STEPS):
            mixed[:, part] = x.flatten(1)[:, part]
            frames.append(mixed.clone())
        inputs = torch.stack(frames).view(-1, *x.shape)
        with torch.no_grad():
            for chunk in inputs.split(len(inputs) if batched else 1):
                model(chunk).softmax(1)[:, y]


def pointing_loop(map: Tensor, mask: Tensor) -> None:
    """The pointing game, image after image."""
    for m, target in zip(map, mask, strict=True):
        resized = F.interpolate(m[None, None], target.shape, mode="bilinear")[0, 0]
        row, column = divmod(int(resized.argmax()), target.shape[1])
        bool(target[row, column] >= 0.5)


def iou_loop(map: Tensor, mask: Tensor) -> None:
    """IoU at the mask's area, image after image."""
    for m, target in zip(map, mask, strict=True):
        resized = F.interpolate(m[None, None], target.shape, mode="bilinear").flatten()
        inside = target.flatten() >= 0.5
        selected = torch.zeros_like(inside)
        selected[resized.topk(int(inside.sum())).indices] = True
        float((selected & inside).sum() / (selected | inside).sum())


def pairs(model: str, images: int, size: int, device: str) -> dict[str, tuple[Callable, Callable]]:
    torch.manual_seed(0)
    plain = timm.create_model(model, num_classes=8).to(device).eval()
    classifier = Classifier(plain)
    image = torch.randn(images, 3, size, size, device=device)
    map = torch.randn(images, size // 32, size // 32, device=device)
    target = torch.randint(8, (images,), device=device)
    masks, maps = torch.zeros(32, size, size, device=device), torch.randn(32, size // 32, size // 32, device=device)
    masks[:, size // 4 : size // 2, size // 4 : size // 2] = 1
    fine = F.interpolate(map[:, None], (size, size), mode="bilinear")[:, 0].cpu().numpy()
    road = ROADMostRelevantFirstAverage()
    classes = [ClassifierOutputSoftmaxTarget(int(y)) for y in target]

    def insertion() -> None:
        metrics.insertion(classifier, image, map, target, steps=STEPS)

    return {
        "insertion / one forward a step": (insertion, lambda: insertion_loop(plain, image, map, target, False)),
        "insertion / one forward an image": (insertion, lambda: insertion_loop(plain, image, map, target, True)),
        "comprehensiveness with in-painting / ROAD of pytorch-grad-cam, nine shares": (
            lambda: metrics.comprehensiveness(
                classifier, image, map, target, percentages=tuple(range(10, 100, 10)), fill=Inpaint()
            ),
            lambda: road(image, fine, classes, plain),
        ),
        "pointing game, 32 images / a loop": (
            lambda: metrics.pointing_game(maps, masks),
            lambda: pointing_loop(maps, masks),
        ),
        "IoU, 32 images / a loop": (lambda: metrics.iou(maps, masks), lambda: iou_loop(maps, masks)),
        "blur of 5 % of the width / torchvision": (
            lambda: blur(image, 0.05 * size),
            lambda: transforms.gaussian_blur(image, [2 * round(0.15 * size) + 1] * 2, [0.05 * size] * 2),
        ),
    }


def seconds(work: Callable[[], None], device: str) -> float:
    if device == "cpu":
        start = time.process_time()
        work()
        return time.process_time() - start
    torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--size", type=int, default=96, help="side of the images, in pixels")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "metrics_speed.json")
    arguments = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        torch.set_num_threads(1)
    measured = {}
    for name, (ours, other) in pairs(arguments.model, arguments.images, arguments.size, device).items():
        ours()
        rounds = [(seconds(ours, device), seconds(other, device)) for _ in range(arguments.rounds)]
        measured[name] = {
            "seconds": round(statistics.median(first for first, _ in rounds), 4),
            "ratio": round(statistics.median(first / second for first, second in rounds), 3),
        }
        print(f"{measured[name]['ratio']:7.3f} x  {name}", flush=True)
    result = {
        "model": arguments.model,
        "images": arguments.images,
        "size": arguments.size,
        "rounds": arguments.rounds,
        "device": torch.cuda.get_device_name() if device == "cuda" else f"one thread of {processor()}",
        "torch": torch.__version__,
        "ours / other": measured,
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    temporary = arguments.out.with_suffix(".tmp")
    temporary.write_text(json.dumps(result, indent=2) + "\n")
    temporary.replace(arguments.out)


if __name__ == "__main__":
    main()
