"""Evaluates a trained run on splits and keeps `result.json`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from lookright.attribution import common_share
from lookright.classifier import Classifier
from lookright.data.protocols import ORACLE_SPLIT, UNTESTED_SPLITS
from lookright.data.table import read_table
from lookright.errors import InputError
from lookright.measures import MEASURES, find_measure
from lookright.run_directory import only_writer, read_facts, read_json, write_json
from lookright.training.attack_detection import attack_summary
from lookright.training.evaluation import evaluate_split, split_accuracy, write_evaluation
from lookright.training.open_set import open_set_summary, training_class_means
from lookright.training.run import TrainedRun, load_last_step
from lookright.training.run_data import RunData, load_data
from lookright.training.settings import RunSettings


def evaluate_run(
    run: TrainedRun,
    data: Path | None = None,
    splits: Sequence[str] | None = None,
    out: Path | None = None,
    accelerator: str | None = None,
    map: str | None = None,
) -> dict[str, Any]:
    """Measure a run on splits; write tables, maps and `result.json`.

    Where there is a split `oracle_val`, the accuracies of the last step on it and on the tests are kept, too, as
    `last_step`: the oracle chooses among runs, not among the steps of a run.

    Args:
        run: a trained run.
        data: folder with labels.csv; None: the one it was trained on. Other data needs an `out` of its own.
        splits: None: every test split. An open-set split is compared with all test splits of known classes that are
            measured with it.
        out: where to write; None: the run's directory, whose `result.json` gains the splits.
        accelerator: `cpu` or `gpu`; None: a GPU where there is one.
        map: a name in `lookright.attribution.MAPS`; None: the one of the run's settings.

    Returns:
        The content of `result.json`.

    Raises:
        InputError: as `load_data`, there is no split to evaluate, `splits` names an open-set split without one to
            compare it with, `out` has the result of another map or is written by another process, or it is the run's
            directory and `data` is not the run's.
    """
    settings, map = run.settings, map or run.settings.evaluation.map
    out = out or run.directory
    folder, open_set = data or settings.data, settings.protocol.open_set_splits
    asked = [split for split in splits or () if split in open_set]
    if splits is not None and asked:
        _require_known_split(settings, folder, asked[0], splits)

    def load(folder: Path, splits: Sequence[str] | None) -> RunData:
        return load_data(
            folder, settings.protocol, settings.seed, splits=splits, classes=run.classes, **settings.reading
        )

    loaded = load(folder, splits=splits)
    is_own = loaded.fingerprint == run.fingerprint
    has_oracle = splits is None and len(loaded.rows(ORACLE_SPLIT)) > 0
    splits = list(splits) if splits is not None else loaded.test_splits
    if not splits:
        raise InputError(
            f"{str(folder)!r} has no split besides train and val. Name one with --split, or fill in the "
            "column split of labels.csv."
        )
    if not is_own and out.resolve() == run.directory.resolve():
        raise InputError(
            f"{str(folder)!r} is not the data that the run {str(run.directory)!r} was trained on, or has changed "
            "since: its results would take the place of the run's own. Give --out another directory."
        )
    out.mkdir(parents=True, exist_ok=True)
    with only_writer(out):
        path = out / "result.json"
        result = read_json(path, {"map": str, "splits": dict}) if path.is_file() else _describe(run, map)
        if result["map"] != map:
            raise InputError(f"{str(path)!r} is about the map {result['map']}. Give --out another directory for {map}.")
        use_gpu = accelerator != "cpu" and settings.machine.accelerator != "cpu" and torch.cuda.is_available()
        device = "cuda" if use_gpu else "cpu"
        last_step = load_last_step(run).to(device) if has_oracle else None
        classifier = run.classifier.to(device)
        evaluations = {}
        for split in splits:
            evaluations[split] = evaluation = evaluate_split(
                classifier,
                loaded,
                split,
                run.preprocessing,
                map=map,
                faithfulness=settings.evaluation.faithfulness,
                faithfulness_images=settings.evaluation.faithfulness_images,
                steps=settings.evaluation.curve_points,
                budget=settings.evaluation.curve_budget,
                evidence=settings.evaluation.evidence,
                further=settings.evaluation.measures,
            )
            result["splits"][split] = evaluation.summary()
        rows = [find_measure(name) for name in settings.evaluation.measures]
        if rows:
            result["measures"] = {row.name: row.described() for row in rows if row.name not in MEASURES}
        result["common_share"] = _common_share(classifier)
        known = [split for split in splits if split not in open_set]
        tests = {split: evaluations[split] for split in splits if split not in UNTESTED_SPLITS}
        opened = [split for split in splits if split in open_set]
        if opened:
            training = (
                loaded if splits is None and is_own else load(folder if is_own else settings.data, splits=["train"])
            )
            means = training_class_means(classifier, training, run.preprocessing)
            known_tests = [tests[split] for split in known if split in tests]
            for split in opened:
                result["splits"][split] |= open_set_summary(known_tests, evaluations[split], means)
        if settings.protocol.bona_fide is not None:
            for split, evaluation in tests.items():
                of_attacks = attack_summary([*tests.values()], evaluation, run.classes, settings.protocol.bona_fide)
                result["splits"][split] |= of_attacks
        if last_step:
            result["last_step"] = {
                split: split_accuracy(last_step, loaded, split, run.preprocessing) for split in (ORACLE_SPLIT, *known)
            }
        loaded.samples.require_unchanged()  # before anything is written
        for split, evaluation in evaluations.items():
            write_evaluation(
                evaluation, loaded, split, out / "evaluation", settings.images.size, settings.evaluation.gallery
            )
        write_json(path, result)
        return result


def _require_known_split(settings: RunSettings, folder: Path, asked: str, splits: Sequence[str]) -> None:
    tests = settings.protocol.test_splits(settings.protocol.assign(read_table(folder), settings.seed))
    known = [split for split in tests if split not in settings.protocol.open_set_splits]
    if known and not set(known).intersection(splits):
        raise InputError(
            f"Split {asked!r} of {str(folder)!r} has unknown classes, and no test split of known ones is measured "
            f"with it to compare it with. Name one or more of {', '.join(known)} as well."
        )


def _common_share(classifier: Classifier) -> float | None:
    """None where there is no single final linear layer."""
    return common_share(classifier) if classifier.route.head is not None else None


def _describe(run: TrainedRun, map: str) -> dict[str, Any]:
    settings, facts = run.settings, read_facts(run.directory / "model.safetensors", ("val_accuracy", "train_seconds"))
    method = type(settings.method).__name__
    return {
        "method": method,
        "name": settings.name or method,
        "model": settings.model,
        "protocol": type(settings.protocol).__name__,
        "seed": settings.seed,
        "map": map,
        "val_accuracy": facts["val_accuracy"],
        "epochs": facts.get("epochs"),
        "compute": facts.get("compute"),
        "train_seconds": facts["train_seconds"],
        "splits": {},
    }
