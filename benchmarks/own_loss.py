"""Whether each method improves its own loss: a minute of training, its terms before and after.

Every method trains from the same weights for the same time with the same settings. Its own loss (what it adds to the
task; the task on altered images or features where it adds nothing) is measured on a few training batches before, after,
and, to see what comes of itself, with the backbone of plain training after its minute. Where a method has a training
before the training, that one is measured.

    python benchmarks/own_loss.py
"""

import argparse
import copy
import itertools
import tempfile
import time
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from lookright import ERM, Classifier, Method, methods
from lookright.data.bestiary import KNOWN_CREATURES, render_bestiary
from lookright.data.dataset import Augmentation, ShuffledBatches
from lookright.data.protocols import Shortcut
from lookright.methods.group_dro import count_groups
from lookright.run_directory.settings_file import class_names
from lookright.training.model import build_model
from lookright.training.preprocessing import Preprocessing
from lookright.training.run_data import RunData, load_data

RESULTS = Path(__file__).parent / "results" / "own_loss.csv"
SIZE, BATCH, MEASURED = 64, 32, 4


def build(method: Method, data: RunData) -> tuple[Classifier, Preprocessing]:
    """The small network, a small transformer where attention is guided."""
    torch.manual_seed(0)
    name, arguments = "small_cnn", {"width": 16}
    if getattr(method, "map", None) == "attention_gradient":
        name, arguments = "vit_tiny_patch16_224", {"img_size": SIZE, "patch_size": 8, "depth": 4}
    model, (mean, std) = build_model(name, len(data.classes), arguments=arguments)
    return Classifier(model, input_size=(3, SIZE, SIZE)), Preprocessing(SIZE, mean, std)


def train(classifier: Classifier, method: Method, loader: DataLoader, seconds: float) -> int:
    """Train for a while; the number of steps."""
    classifier.train()
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=2e-3)
    method.attach(classifier, optimizer)
    end = time.perf_counter() + seconds
    for batch in itertools.takewhile(lambda _: time.perf_counter() < end, loader):
        optimizer.zero_grad()
        method(classifier, batch).total.backward()
        optimizer.step()
    return method.step


def own_loss(classifier: Classifier, method: Method, batches: list[dict[str, Tensor]]) -> float:
    """What the method adds to the task, in the state that it is in; the task where it adds nothing."""
    classifier, method = copy.deepcopy(classifier).train(), copy.deepcopy(method)
    torch.manual_seed(0)
    total = 0.0
    for batch in batches:
        terms = method(classifier, dict(batch)).terms
        task = terms.pop("task")
        total += (sum(terms.values()) if terms else task).item()
    return total / len(batches)


class Contest:
    """The data, and plain training's backbone after the same time."""

    def __init__(self, data: RunData, seconds: float) -> None:
        self.data, self.seconds = data, seconds
        self.plain: dict[str, Classifier] = {}

    def loader(self, preprocessing: Preprocessing) -> DataLoader:
        """Training batches without an end, always the same."""
        training = self.data.dataset("train", SIZE, Augmentation(colour_jitter=0.0), seed=0)
        shuffled = ShuffledBatches(len(training), BATCH, epochs=10_000, seed=0)
        return DataLoader(training, batch_sampler=shuffled, collate_fn=preprocessing.collate())

    def measure(self, method: Method) -> dict[str, float | int]:
        """A row of the table."""
        classifier, preprocessing = build(method, self.data)
        kind = type(classifier.model).__name__
        if kind not in self.plain:
            self.plain[kind] = copy.deepcopy(classifier)
            train(self.plain[kind], ERM(), self.loader(preprocessing), self.seconds)
        count_groups(method, self.data.group_sizes)
        batches = list(itertools.islice(self.loader(preprocessing), MEASURED))
        before, untrained = copy.deepcopy(classifier), copy.deepcopy(method)
        steps = train(classifier, method, self.loader(preprocessing), self.seconds)
        untrained.attach(before, torch.optim.SGD(before.parameters()))
        for part in untrained.modules():
            if isinstance(part, Method):
                part.step = steps  # after any warm-up
        return {
            "steps": steps,
            "before": own_loss(before, untrained, batches),
            "after": own_loss(classifier, method, batches),
            "plain": own_loss(self.plain[kind], method, batches),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--only", nargs="+", default=class_names(Method), help="names of methods")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "bestiary"
        render_bestiary(folder, creatures=KNOWN_CREATURES, images_per_pair=10, images_at_home=150, size=SIZE)
        contest = Contest(load_data(folder, Shortcut(), seed=0), arguments.seconds)
        for name in arguments.only:
            method = getattr(methods, name)()
            first, _ = method.first() or (method, 0)
            row = contest.measure(first)
            rows.append({"method": name, **row, "improved": row["after"] < row["before"]})
            print(rows[-1], flush=True)
    pd.DataFrame(rows).to_csv(RESULTS, index=False, float_format="%.4g")
    print(f"{sum(row['improved'] for row in rows)} of {len(rows)} methods improved their own loss.")


if __name__ == "__main__":
    main()
