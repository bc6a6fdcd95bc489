"""Does the scenery mislead the model at all? If not, there is nothing to gain from looking away from it.

It misleads where the accuracy on `scenery` is below chance. For every finished run of a method of a study, and each
split that has masks: the accuracy on the masked images as they are (`image`), with all but the evidence in-painted
(`evidence`), and with the evidence in-painted (`scenery`).

    python benchmarks/evidence_alone.py runs/align_bestiary ERM ALIGN
"""

import argparse
import json
from pathlib import Path

import pandas as pd
import torch

from lookright.metrics import evidence_accuracy, scenery_accuracy
from lookright.training.run import TrainedRun, load_run
from lookright.training.run_data import load_data

RESULTS = Path(__file__).parent / "results"


@torch.no_grad()
def accuracies(run: TrainedRun) -> pd.DataFrame:
    """One row per split."""
    settings = run.settings
    data = load_data(settings.data, settings.protocol, settings.seed)
    rows = []
    for split in ["val", *data.test_splits]:
        if not (data.rows(split)["mask_weight"] > 0).any() or split in settings.protocol.open_set_splits:
            continue
        correct = []
        for batch in data.loader(split, run.preprocessing):
            has_mask = batch["mask_weight"] > 0
            image, mask, label = (batch[key][has_mask] for key in ("image", "mask", "label"))
            whole = (run.classifier(image).logits.argmax(1) == label).float()
            parts = [measure(run.classifier, image, mask, label) for measure in (evidence_accuracy, scenery_accuracy)]
            correct.append(torch.stack([whole, *parts], 1))
        means = torch.cat(correct).nanmean(0).tolist()
        row = dict(zip(("image", "evidence", "scenery"), means, strict=True))
        rows.append(
            {"name": settings.name, "protocol": run.directory.parts[-3], "seed": settings.seed, "split": split, **row}
        )
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("methods", nargs="+", help="as the study names them")
    arguments = parser.parse_args()
    results = sorted(arguments.study.glob("runs/**/result.json"))
    found = [path.parent for path in results if json.loads(path.read_text())["name"] in arguments.methods]
    table = pd.concat([accuracies(load_run(directory)) for directory in found])
    table.to_csv(RESULTS / f"evidence_alone_{arguments.study.name}.csv", index=False)
    print(
        table.groupby(["protocol", "split", "name"], sort=False)[["image", "evidence", "scenery"]]
        .mean()
        .round(3)
        .to_string()
    )


if __name__ == "__main__":
    main()
