"""Does guided attention help where the shortcut lies on the evidence? Scikit-learn's digits, in their class's colour.

In training, each digit is drawn in its class's colour; a test digit is shown in each of the ten colours, so that the
accuracy is that under a random one. The mask marks the cell of 8 by 8 pixels in which the digit stands, on a canvas of
twice that side: it says where to look and not what to see there. `repainted` draws each digit in other colours in
every step, which is what a network can do that does not read them.

    python benchmarks/coloured_digits.py

adds to benchmarks/results/coloured_digits.csv a row for each method and seed; columns as of decoy_digits.py, and
`energy`, the share of the class map that lies in the mask, over the images whose map is not empty.
"""

import argparse
import copy
from pathlib import Path

import pandas as pd
import torch
from decoy_digits import COLOURS, SIZE, TRAINING, Batch, measure, train
from sklearn.datasets import load_digits
from torch import Tensor

from lookright import CAMAL, ERM, RRR, SAGE, EnergyGuidance, LearningToLook, Method
from lookright.attribution import class_map
from lookright.metrics import energy_in_mask
from lookright.run_directory.environment import processor

RESULTS = Path(__file__).parent / "results/coloured_digits.csv"
METHODS: dict[str, Method] = {
    "plain": ERM(),
    "LearningToLook": LearningToLook(),
    "LearningToLook, weight 1": LearningToLook(weight=1.0),
    "CAMAL": CAMAL(),
    "CAMAL, contrast": CAMAL(map="contrast"),
    "EnergyGuidance": EnergyGuidance(),
    "RRR": RRR(),
    "SAGE": SAGE(),
    "repainted": ERM(),
}


def coloured(digit: Tensor, colour: Tensor) -> Tensor:
    return digit[:, None] * COLOURS[colour][:, :, None, None]


def repainted(batch: Batch) -> Tensor:
    """The digits in colours drawn at random; the brightest channel of each colour is 1."""
    return coloured(batch["image"].amax(1), torch.randint(len(COLOURS), (len(batch["label"]),)))


def digits(seed: int) -> tuple[Batch, Batch, Tensor]:
    """Training and test, each as one batch, and the test digits without colour."""
    generator = torch.Generator().manual_seed(seed)
    pixels, label = (torch.from_numpy(array) for array in load_digits(return_X_y=True))
    order = torch.randperm(len(label), generator=generator)
    digit, mask, label = torch.zeros(len(label), SIZE, SIZE), torch.zeros(len(label), SIZE, SIZE), label[order]
    for row, (y, x) in enumerate(torch.randint(SIZE - 8 + 1, (len(label), 2), generator=generator).tolist()):
        digit[row, y : y + 8, x : x + 8] = (pixels[order[row]] / 16).float().view(8, 8)
        mask[row, y : y + 8, x : x + 8] = 1
    batch = {"image": coloured(digit, label), "label": label, "mask": mask}
    training, test = (
        {key: value[part] for key, value in batch.items()} for part in (slice(TRAINING), slice(TRAINING, None))
    )
    return training, test, digit[TRAINING:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=60)
    arguments = parser.parse_args()
    device = f"{processor()}, threads: {torch.get_num_threads()}"
    for seed in arguments.seeds:
        for name, method in METHODS.items():
            training, test, digit = digits(seed)
            repaint = repainted if name == "repainted" else None
            classifier = train(copy.deepcopy(method), training, seed, arguments.epochs, repaint)
            shown = [coloured(digit, torch.full_like(test["label"], colour)) for colour in range(10)]
            row = {"method": name, "seed": seed} | measure(classifier, test["label"], shown)
            map = class_map(classifier, classifier(test["image"]), test["label"]).detach()
            row["energy"] = round(energy_in_mask(map, test["mask"]).nanmean().item(), 4)
            table = pd.DataFrame([row | {"epochs": arguments.epochs, "device": device}])
            table.to_csv(RESULTS, mode="a", header=not RESULTS.exists(), index=False)
    print(pd.read_csv(RESULTS).groupby("method", sort=False).mean(numeric_only=True).round(3).to_string())


if __name__ == "__main__":
    main()
