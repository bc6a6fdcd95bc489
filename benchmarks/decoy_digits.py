"""Does R4 hold where RRR does not? Decoy-MNIST, after Ross et al. (2017), from scikit-learn's digits.

Each digit has a patch in one of the four corners, whose colour is the class's in training. The mask marks the patch as
what must not matter, in all training images or in a few. A test digit is shown with each of the ten colours, so that
the accuracy is that under a random one: whoever reads the patch is wrong nine times of ten. R4 is RRR with ε > 0; both
get the same weights, so that ε is all that differs.

    python benchmarks/decoy_digits.py
    python benchmarks/decoy_digits.py --why

The first adds to benchmarks/results/decoy_digits.csv a row for each method, weight, share of masks and seed: accuracy
under a random colour (`test`), under the class's own (`own_colour`), and the share of digits that are right under every
colour. The second looks for what is left for R4 to gain and writes decoy_digits_why.csv: the same for the larger weight
and for plain training whose patches get other colours in every step (`repainted`), which is what a network can do that
does not read them; and RRR's penalty on the masked training images and on test images, at the image (`at`) and where
ten steps of R4's search within ε = 0.5 end (`within`).
"""

import argparse
import colorsys
import itertools
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from lookright import ERM, R4, RRR, Classifier, Method
from lookright.run_directory.environment import processor

SIZE, PATCH = 16, 4
TRAINING = 1000
COLOURS = torch.tensor([colorsys.hsv_to_rgb(label / 10, 1.0, 1.0) for label in range(10)])
WEIGHTS = (0.1, 1.0)
MASK_SHARES = (1.0, 0.05)
RESULTS = Path(__file__).parent / "results/decoy_digits.csv"
Batch = dict[str, Tensor]


def methods() -> dict[str, list[Method]]:
    """What is compared."""
    return {
        "plain": [ERM()],
        "RRR": [RRR(weight=weight) for weight in WEIGHTS],
        "R4": [R4(weight=weight, epsilon=0.5, steps=2, step_size=0.25) for weight in WEIGHTS],
    }


def decoy_digits(seed: int, mask_share: float) -> tuple[Batch, Batch]:
    """Training and test, each as one batch of images in [0, 1], every digit with the colour of its class."""
    generator = torch.Generator().manual_seed(seed)
    pixels, label = (torch.from_numpy(array) for array in load_digits(return_X_y=True))
    order = torch.randperm(len(label), generator=generator)
    image, label = torch.zeros(len(label), 3, SIZE, SIZE), label[order]
    image[:, :, 4:12, 4:12] = (pixels[order] / 16).float().view(-1, 1, 8, 8)
    nuisance, corner = torch.zeros(len(label), SIZE, SIZE), torch.randint(4, (len(label),), generator=generator)
    for row, place in enumerate(corner.tolist()):
        y, x = (slice(0, PATCH) if side == 0 else slice(SIZE - PATCH, SIZE) for side in divmod(place, 2))
        nuisance[row, y, x] = 1
    batch = {"image": painted(image, nuisance, label), "label": label, "mask": 0 * nuisance, "ignore": 1 - nuisance}
    batch["mask_weight"] = (torch.arange(len(label)) < mask_share * TRAINING).float()
    return tuple(
        {key: value[part] for key, value in batch.items()} for part in (slice(TRAINING), slice(TRAINING, None))
    )


def painted(image: Tensor, nuisance: Tensor, colour: Tensor) -> Tensor:
    """The images with patches of other colours."""
    return image * (1 - nuisance[:, None]) + nuisance[:, None] * COLOURS[colour][:, :, None, None]


def repainted(batch: Batch) -> Tensor:
    """The images with patches of colours drawn at random."""
    return painted(batch["image"], 1 - batch["ignore"], torch.randint(10, (len(batch["label"]),)))


def in_all_colours(batch: Batch) -> list[Tensor]:
    """The images with patches of each colour."""
    image, nuisance, label = batch["image"], 1 - batch["ignore"], batch["label"]
    return [painted(image, nuisance, torch.full_like(label, colour)) for colour in range(10)]


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 1, 1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, 1, 1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * 4 * 4, 32),
        nn.ReLU(),
        nn.Linear(32, 10),
    )


def train(
    method: Method, batch: Batch, seed: int, epochs: int, repaint: Callable[[Batch], Tensor] | None = None
) -> Classifier:
    """Adam, in batches of 100; of images in other colours each time, where they are repainted."""
    torch.manual_seed(seed)
    classifier = Classifier(network(), features="5", input_size=(3, SIZE, SIZE))
    optimizer = torch.optim.Adam(classifier.parameters(), 2e-3)
    method.attach(classifier, optimizer)
    for _ in range(epochs):
        for rows in torch.randperm(len(batch["label"])).split(100):
            part = {key: value[rows] for key, value in batch.items()}
            if repaint:
                part["image"] = repaint(part)
            loss = method(classifier, part)
            optimizer.zero_grad()
            loss.total.backward()
            optimizer.step()
    return classifier


@torch.no_grad()
def measure(classifier: Classifier, label: Tensor, shown: list[Tensor]) -> dict[str, float]:
    """Accuracies of digits, shown in each of the ten colours."""
    right = torch.stack([classifier(image).logits.argmax(1) == label for image in shown], 1).double()
    figures = {
        "test": right.mean(),
        "own_colour": right.gather(1, label[:, None]).mean(),
        "every_colour": right.amin(1).mean(),
    }
    return {name: round(figure.item(), 4) for name, figure in figures.items()}


def penalties(classifier: Classifier, batch: Batch) -> tuple[float, float]:
    """Of RRR on the masked images of a batch: at the images, and where R4's search ends."""
    searches = RRR(weight=1.0), R4(weight=1.0, epsilon=0.5, steps=10, step_size=0.1)
    found = []
    for method in searches:
        (name,) = set(terms := method(classifier, batch).terms) - {"task"}
        found.append(round(terms[name].item(), 5))
    return found[0], found[1]


def why(seeds: list[int], epochs: int) -> None:
    """What is left for R4 to gain."""
    rows, weight = [], max(WEIGHTS)
    for seed in seeds:
        contenders = [(name, share) for share in MASK_SHARES for name in ("RRR", "R4")]
        for name, share in [("plain", 1.0), ("repainted", 1.0), *contenders]:
            method = next((each for each in methods().get(name, []) if getattr(each, "weight", 0) == weight), ERM())
            training, test = decoy_digits(seed, share)
            classifier = train(method, training, seed, epochs, repainted if name == "repainted" else None)
            row = {"method": name, "masks": share, "seed": seed} | measure(
                classifier, test["label"], in_all_colours(test)
            )
            for split, batch in (
                ("masked", training),
                ("test", test | {"mask_weight": torch.ones(len(test["label"]))}),
            ):
                row[f"{split}_at"], row[f"{split}_within"] = penalties(classifier, batch)
            rows.append(row)
    table = pd.DataFrame(rows)
    table.to_csv(RESULTS.with_name("decoy_digits_why.csv"), index=False)
    print(table.groupby(["masks", "method"], sort=False).mean().drop(columns="seed").round(4).to_string())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--why", action="store_true")
    arguments = parser.parse_args()
    if arguments.why:
        why(arguments.seeds, arguments.epochs)
        return
    device = f"{processor()}, threads: {torch.get_num_threads()}"
    for seed in arguments.seeds:
        for name, settings in methods().items():
            for method, share in itertools.product(settings, MASK_SHARES if name != "plain" else (0.0,)):
                about = {"method": name, "weight": getattr(method, "weight", 0.0), "masks": share, "seed": seed}
                training, test = decoy_digits(seed, share)
                started = time.process_time()
                classifier = train(method, training, seed, arguments.epochs)
                seconds = round(time.process_time() - started, 1)
                row = (
                    about
                    | measure(classifier, test["label"], in_all_colours(test))
                    | {"cpu_seconds": seconds, "epochs": arguments.epochs}
                )
                table = pd.DataFrame([row | {"device": device}])
                table.to_csv(RESULTS, mode="a", header=not RESULTS.exists(), index=False)
    table = pd.read_csv(RESULTS)
    figures = ["test", "own_colour", "every_colour", "cpu_seconds"]
    print(table.groupby(["masks", "weight", "method"], sort=False)[figures].mean().round(3).to_string())


if __name__ == "__main__":
    main()
