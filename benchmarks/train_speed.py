"""`lookright train --method ERM` against timm's training, end to end on the same photographs.

Both are commands: ResNet-18 at 96 × 96, batches of 32, AdamW with a cosine, random crops, flips and colours, one
process that loads, a validation and a checkpoint after each epoch. lookright reads the masks, too, though plain
training looks at none. Seconds of an epoch are those of three epochs less those of one, halved; the two take turns.

    python benchmarks/train_speed.py FOLDER --train-py pytorch-image-models/train.py

FOLDER is a native folder with the splits train and val. timm's `train.py` is not in its package; without `--train-py`,
a loop of what that script is made of is timed in its place (`timm.data`, `timm.optim`, `timm.scheduler`, `timm.utils`).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from lookright.run_directory.environment import processor

RESULTS = Path(__file__).parent / "results" / "train_speed.json"
SIZE, BATCH, RATE = 96, 32, 1e-3


def as_class_folders(folder: Path, out: Path) -> int:
    """`out/train/LABEL/image` and `out/val/LABEL/image` as links; the number of training images."""
    table = pd.read_csv(folder / "labels.csv", dtype=str)
    for split, label, image in table[["split", "label", "image"]].itertuples(index=False):
        if split in ("train", "val"):
            place = out / split / label
            place.mkdir(parents=True, exist_ok=True)
            (place / Path(image).name).symlink_to((folder / image).resolve())
    return int((table["split"] == "train").sum())


def timm_parts(root: Path, out: Path, epochs: int) -> None:
    """A training of timm's parts, as its `train.py` puts them together."""
    import timm
    import torch
    from timm.data import create_dataset, create_loader
    from timm.optim import create_optimizer_v2
    from timm.scheduler import CosineLRScheduler
    from timm.utils import AverageMeter, CheckpointSaver, accuracy, dispatch_clip_grad

    sets = {split: create_dataset("", root, split=split, is_training=split == "train") for split in ("train", "val")}
    loaders = {
        split: create_loader(
            dataset,
            (3, SIZE, SIZE),
            BATCH,
            is_training=split == "train",
            use_prefetcher=False,
            scale=(0.5, 1),
            color_jitter=0.2,
            interpolation="bilinear",
            num_workers=1,
            device=torch.device("cpu"),
        )
        for split, dataset in sets.items()
    }
    model = timm.create_model("resnet18", num_classes=len(sets["train"].reader.class_to_idx))
    optimizer = create_optimizer_v2(model, "adamw", RATE, weight_decay=0.01)
    schedule, loss_of = CosineLRScheduler(optimizer, epochs), torch.nn.CrossEntropyLoss()
    saver = CheckpointSaver(model, optimizer, checkpoint_dir=str(out), recovery_dir=str(out), max_history=1)
    for epoch in range(epochs):
        model.train()
        losses, right = AverageMeter(), AverageMeter()
        for image, label in loaders["train"]:
            loss = loss_of(model(image), label)
            optimizer.zero_grad()
            loss.backward()
            dispatch_clip_grad(model.parameters(), 1.0)
            optimizer.step()
            losses.update(loss.item(), len(label))
        model.eval()
        with torch.no_grad():
            for image, label in loaders["val"]:
                right.update(accuracy(model(image), label)[0].item(), len(label))
        schedule.step(epoch + 1)
        saver.save_checkpoint(epoch, right.avg)


def commands(folder: Path, root: Path, train_py: Path | None, out: Path, epochs: int) -> dict[str, list[str]]:
    """What is timed."""
    ours = (
        f"-m lookright.cli train --data {folder} --out {out}/lookright --method ERM --model resnet18 --size {SIZE} "
        f"--workers 1 --batch_size {BATCH} --lr {RATE} --epochs {epochs} --evaluate false --check_pixels false "
        "--cache 0 --accelerator cpu"
    )
    theirs = f"{__file__} {folder} --parts {root} --out {out}/timm --epochs {epochs}"
    if train_py is not None:
        classes = len([place for place in (root / "train").iterdir() if place.is_dir()])
        theirs = (
            f"{train_py} {root} --val-split val --model resnet18 --num-classes {classes} --img-size {SIZE} --workers 1 "
            f"-b {BATCH} --opt adamw --lr {RATE} --weight-decay 0.01 --clip-grad 1 --epochs {epochs} --device cpu "
            f"--cooldown-epochs 0 --warmup-epochs 0 --scale 0.5 1 --color-jitter 0.2 --train-interpolation bilinear "
            f"--no-prefetcher --output {out}/timm"
        )
    return {"lookright": [sys.executable, *ours.split()], "timm": [sys.executable, *theirs.split()]}


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--train-py", type=Path)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--parts", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--epochs", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.parts is not None:
        given.out.mkdir(parents=True)
        timm_parts(given.parts, given.out, given.epochs)
        return
    taken: dict[str, list[float]] = {"lookright": [], "timm": []}
    whole: dict[str, list[float]] = {"lookright": [], "timm": []}
    with tempfile.TemporaryDirectory() as place:
        images = as_class_folders(given.folder, Path(place) / "classes")
        for turn in range(given.rounds):
            times: dict[str, dict[int, float]] = {"lookright": {}, "timm": {}}
            for epochs in (1, 3):
                out = Path(place) / f"{turn}-{epochs}"
                for name, command in commands(
                    given.folder.resolve(), Path(place) / "classes", given.train_py, out, epochs
                ).items():
                    times[name][epochs] = seconds(command)
            for name, of in times.items():
                taken[name].append((of[3] - of[1]) / 2)
                whole[name].append(of[1])
            print(times, flush=True)
    ratios = [theirs / own for own, theirs in zip(taken["lookright"], taken["timm"], strict=True)]
    result = {
        "device": f"{len(os.sched_getaffinity(0))} cores of {processor()}",
        "load_average": os.getloadavg()[0],
        "against": "train.py" if given.train_py else "a loop of timm's parts",
        "training_images": images,
        **{f"{name}_seconds_of_an_epoch": round(statistics.median(times), 2) for name, times in taken.items()},
        **{
            f"{name}_seconds_of_one_epoch_with_start": round(statistics.median(times), 2)
            for name, times in whole.items()
        },
        "ratio": round(statistics.median(ratios), 3),
    }
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
