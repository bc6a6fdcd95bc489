"""A study directory as `lookright study` writes it, with numbers made up here."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

SIZE = 48


def scene(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """An image with a disc in it, and the disc's mask."""
    y, x = np.mgrid[:SIZE, :SIZE]
    centre, radius = rng.uniform(12, SIZE - 12, 2), rng.uniform(6, 12)
    mask = (np.hypot(y - centre[0], x - centre[1]) < radius).astype(np.uint8) * 255
    image = np.stack([120 + x, 90 + y, 140 - x], -1) + rng.normal(0, 8, (SIZE, SIZE, 3))
    image[mask > 0] = rng.uniform(20, 235, 3)
    return image.clip(0, 255).astype(np.uint8), mask


def attention(mask: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """A coarse map with about `share` of its energy on the mask."""
    cells = mask.reshape(12, SIZE // 12, 12, SIZE // 12).mean((1, 3)) / 255
    map = share * cells / cells.sum() + (1 - share) * (1 - cells) / (1 - cells).sum()
    map = map * rng.uniform(0.6, 1.4, map.shape)
    return (map / map.max()).astype(np.float16)


def write_run(
    run: Path,
    about: dict,
    scores: dict[str, dict[str, float]],
    images: list[tuple[str, str, np.ndarray, np.ndarray]],
    energy: float,
    rng: np.random.Generator,
) -> None:
    (run / "evaluation").mkdir(parents=True)
    (run / "config.yaml").write_text("method: ERM\n")
    (run / "result.json").write_text(json.dumps(about | {"splits": scores}))
    (run / "environment.json").write_text(
        json.dumps({"seed": about["seed"], "device": "cpu", "versions": {"python": "3.13", "torch": "2.15"}})
    )
    fraction = np.linspace(0, 1, 15)
    for split, values in scores.items():
        energies = rng.normal(energy, 0.1, len(images)).clip(0, 1)
        correct = rng.random(len(images)) < values.get("accuracy", 0.5)
        labels = sorted({label for _, label, _, _ in images})
        pd.DataFrame(
            {
                "image": [file for file, *_ in images],
                "label": [label for _, label, *_ in images],
                "domain": [f"MAP{index % 3 + 1:02d}" for index in range(len(images))],
                "prediction": [
                    label if right else labels[(labels.index(label) + 1) % len(labels)]
                    for (_, label, *_), right in zip(images, correct, strict=True)
                ],
                "confidence": rng.uniform(0.4, 1, len(images)).round(3),
                "correct": correct.astype(int),
                "energy_in_mask": [f"{value:.4f}" if index else "" for index, value in enumerate(energies)],
                "attention_gap": rng.uniform(0, 1, len(images)).round(3),
                "insertion": rng.uniform(0, 1, len(images)).round(3),
            }
        ).to_csv(run / "evaluation" / f"{split}.csv", index=False)
        np.savez_compressed(
            run / "evaluation" / f"{split}.npz",
            fraction=fraction,
            insertion_curve=fraction**0.5 * energy,
            deletion_curve=1 - fraction**energy,
            gallery_row=np.arange(len(images)),
            gallery_image=np.stack([image for *_, image, _ in images]),
            gallery_mask=np.stack([mask for *_, mask in images]),
            gallery_mask_weight=np.array([0.0] + [1.0] * (len(images) - 1)),
            gallery_map=np.stack(
                [attention(mask, share, rng) for (*_, mask), share in zip(images, energies, strict=True)]
            ),
        )


def write_study(
    directory: Path,
    *,
    methods: dict[str, float] | None = None,
    seeds: tuple[int, ...] = (0, 1, 2),
    splits: tuple[str, ...] = ("conflicting", "unseen"),
    labels: tuple[str, ...] = ("Cacodemon", "Imp", "Zombie"),
    files: str = "images/{index:03d}.png",
    protocol: str = "shortcut",
    open_set: bool = False,
    count: int = 6,
) -> Path:
    """Writes a study in which a method's name stands beside its expected accuracy; its energy lies 0.3 below."""
    methods = {"ERM": 0.74, "CAMAL": 0.82} if methods is None else methods
    images = [
        (files.format(index=index), labels[index % len(labels)], *scene(np.random.default_rng(index)))
        for index in range(count)
    ]
    rows = []
    for number, (name, level) in enumerate(methods.items()):
        for seed in seeds:
            rng = np.random.default_rng([number, seed])
            run = f"runs/{protocol}/{number}/seed-{seed}"
            scores: dict[str, dict[str, float]] = {}
            # What a seed does to the data it does to every method: the pairing pays.
            shared = np.random.default_rng(seed).normal(0, 0.02)
            for split in splits:
                accuracy = level + shared + rng.normal(0, 0.005) + (0.1 if split == "aligned" else 0)
                scores[split] = {
                    "accuracy": accuracy,
                    "worst_group_accuracy": accuracy - 0.2 + rng.normal(0, 0.02),
                    "expected_calibration_error": 0.1 + rng.normal(0, 0.01),
                    "energy_in_mask": accuracy - 0.3,
                    "insertion": accuracy - 0.1,
                    "deletion": 1.1 - accuracy,
                    "my_extra_metric": 12 + rng.normal(),
                }
            if open_set:
                auroc = level + shared + rng.normal(0, 0.01)
                scores["unknown"] = {"auroc": auroc, "aupr_energy": auroc - 0.1, "fpr_at_95_tpr": 1.2 - auroc}
            about = {
                "protocol": protocol,
                "name": name,
                "method": name.split(",")[0],
                "model": "small_cnn",
                "seed": seed,
            }
            write_run(directory / run, about, scores, images, level - 0.3, rng)
            counts = {"images": 300, "images_with_mask": 290}
            rows += [about | {"split": split} | counts | values | {"run": run} for split, values in scores.items()]
    table = pd.DataFrame(rows)
    table = table[[column for column in table if column != "run"] + ["run"]]
    if (directory / "results.csv").exists():
        table = pd.concat([pd.read_csv(directory / "results.csv"), table])
    table.to_csv(directory / "results.csv", index=False)
    plan = {"methods": dict.fromkeys(methods), "seeds": list(seeds), "protocols": {protocol: {}}}
    (directory / "study.yaml").write_text(yaml.safe_dump(plan, sort_keys=False) + "# <b>not bold</b>\n")
    return directory


@pytest.fixture(scope="session")
def study_writer() -> Callable[..., Path]:
    return write_study


@pytest.fixture
def make_study(tmp_path: Path) -> Callable[..., Path]:
    def make(**options: object) -> Path:
        directory = tmp_path / "study"
        directory.mkdir(exist_ok=True)
        return write_study(directory, **options)  # type: ignore[arg-type]

    return make
