"""Time of the metrics, as a multiple of what a loop over the images, a peer, or the bare forwards take for the same.

Every round times each of a pair once, one after the other, so that whatever else the machine does hits both alike; the
figure is the median over the rounds of the ratio within a round. On a CPU it is the processor time of one thread,
which other programs on the machine disturb least. A peer that is not installed is left out; figures that are there from
the same settings and device, and are not measured again, stay.

    python benchmarks/metrics_speed.py
    python benchmarks/metrics_speed.py --only ROAD budget
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
from torch import Tensor

from lookright import Classifier, metrics
from lookright.attribution.maps import explain_class
from lookright.perturb import blur
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

    def insertion(**options: object) -> Callable[[], None]:
        return lambda: metrics.insertion(classifier, image, map, target, steps=STEPS, **options)

    @torch.no_grad()
    def forwards(number: int) -> None:
        for chunk in image.repeat(number, 1, 1, 1).split(128):
            plain(chunk).softmax(1)

    ours = {
        "insertion / one forward a step": (insertion(), lambda: insertion_loop(plain, image, map, target, False)),
        "insertion / one forward an image": (insertion(), lambda: insertion_loop(plain, image, map, target, True)),
        "insertion / its bare forwards": (insertion(), lambda: forwards(STEPS + 1)),
        "insertion with a budget of 0.4 / insertion": (insertion(budget=0.4), insertion()),
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
    given = (classifier, image, map, target)
    return ours | grad_cam_pairs(*given) | captum_pairs(*given) | quantus_pairs(*given)


def grad_cam_pairs(
    classifier: Classifier, image: Tensor, map: Tensor, target: Tensor
) -> dict[str, tuple[Callable, Callable]]:
    """Beside pytorch-grad-cam."""
    try:
        from pytorch_grad_cam.metrics.road import ROADCombined
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget
    except ModuleNotFoundError:
        return {}
    fine = F.interpolate(map[:, None], image.shape[-2:], mode="bilinear")[:, 0].cpu().numpy()
    classes = [ClassifierOutputSoftmaxTarget(int(y)) for y in target]
    road = ROADCombined()
    return {
        "ROAD, both orders / pytorch-grad-cam": (
            lambda: metrics.road(classifier, image, map, target),
            lambda: road(image, fine, classes, classifier.model),
        )
    }


def captum_pairs(
    classifier: Classifier, image: Tensor, map: Tensor, target: Tensor
) -> dict[str, tuple[Callable, Callable]]:
    """Beside captum."""
    try:
        from captum.metrics import infidelity, sensitivity_max
    except ModuleNotFoundError:
        return {}
    channels = F.interpolate(map[:, None], image.shape[-2:], mode="bilinear").expand_as(image)

    def remove(inputs: Tensor, baselines: object = None) -> tuple[Tensor, Tensor]:
        gone = torch.zeros_like(inputs)
        side = inputs.shape[-1] // 3
        for row, (y, x) in enumerate(torch.randint(inputs.shape[-1] - side, (len(inputs), 2)).tolist()):
            gone[row, :, y : y + side, x : x + side] = 1
        return gone, inputs * (1 - gone)

    def explain(inputs: Tensor | tuple[Tensor, ...], target: Tensor) -> tuple[Tensor]:
        # A tuple: of a tensor captum would take the images for inputs.
        return (explain_class(classifier, inputs[0] if isinstance(inputs, tuple) else inputs, target),)

    def probability(inputs: Tensor) -> Tensor:
        return classifier.model(inputs).softmax(1)

    return {
        "infidelity, 50 squares / captum": (
            lambda: metrics.infidelity(classifier, image, map, target),
            lambda: infidelity(
                probability, remove, image, channels, target=target, n_perturb_samples=50, normalize=True
            ),
        ),
        "max-sensitivity, 10 draws / captum": (
            lambda: metrics.max_sensitivity(classifier, image, map, target, explain=explain_class),
            lambda: sensitivity_max(explain, image, target=target),
        ),
    }


def quantus_pairs(
    classifier: Classifier, image: Tensor, map: Tensor, target: Tensor
) -> dict[str, tuple[Callable, Callable]]:
    """Beside Quantus."""
    try:
        import quantus
    except ModuleNotFoundError:
        return {}
    # It counts the values of all channels, and a step must divide the pixels: 24 do for images of 96 and of 224 pixels.
    steps = 24
    flipping = quantus.PixelFlipping(image[0].numel() // steps, disable_warnings=True)
    fine = F.interpolate(map[:, None], image.shape[-2:], mode="bilinear").cpu().numpy()
    arrays = {"x_batch": image.cpu().numpy(), "y_batch": target.cpu().numpy(), "a_batch": fine}
    return {
        "deletion / pixel flipping of Quantus": (
            lambda: metrics.deletion(classifier, image, map, target, steps=steps),
            lambda: flipping(model=classifier.model, device=str(image.device), **arrays),
        )
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
    parser.add_argument("--only", nargs="+", default=[""], help="pairs whose names have one of these words")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "metrics_speed.json")
    arguments = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        torch.set_num_threads(1)
    about = {
        "model": arguments.model,
        "images": arguments.images,
        "size": arguments.size,
        "rounds": arguments.rounds,
        "device": torch.cuda.get_device_name() if device == "cuda" else f"one thread of {processor()}",
        "torch": torch.__version__,
    }
    before = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    measured = before["ours / other"] if about.items() <= before.items() else {}
    for name, (ours, other) in pairs(arguments.model, arguments.images, arguments.size, device).items():
        if not any(word in name for word in arguments.only):
            continue
        ours()
        rounds = [(seconds(ours, device), seconds(other, device)) for _ in range(arguments.rounds)]
        measured[name] = {
            "seconds": round(statistics.median(first for first, _ in rounds), 4),
            "ratio": round(statistics.median(first / second for first, second in rounds), 3),
        }
        print(f"{measured[name]['ratio']:7.3f} x  {name}", flush=True)
    result = about | {"ours / other": measured}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    temporary = arguments.out.with_suffix(".tmp")
    temporary.write_text(json.dumps(result, indent=2) + "\n")
    temporary.replace(arguments.out)


if __name__ == "__main__":
    main()
