"""Does the runs of a study that are missing, and keeps `results.csv` up to date."""

import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonargparse
import pandas as pd

from lookright.errors import InputError
from lookright.study.config import PlannedRun, read_study
from lookright.study.executors import Executor, execute
from lookright.training.results import evaluate_run
from lookright.training.run import load_run, resume, train
from lookright.training.settings import RunSettings, read_settings

LEADING = ["protocol", "name", "method", "model", "seed", "split", "images", "images_with_mask"]


def run_study(config: Path, out: Path, executor: Executor = "local", jobs: int = 1) -> pd.DataFrame:
    """Train and evaluate every run of a study that is not finished.

    A run that was interrupted is resumed; one that fails is reported, and the others go on.

    Args:
        config: the study's YAML file; a copy is kept as `study.yaml`.
        out: directory of the study.
        executor: where runs run, see `execute`.
        jobs: runs at a time.

    Returns:
        The table of `results.csv`.

    Raises:
        InputError: a bad study, `out` holds runs with other settings, or some runs failed.
    """
    study = read_study(config)
    runs = list(study.runs(out))
    for run in runs:
        _check_same_settings(out, run)
    out.mkdir(parents=True, exist_ok=True)
    if config.resolve() != (out / "study.yaml").resolve():
        shutil.copyfile(config, out / "study.yaml")
    missing = [run.settings for run in runs if not _is_finished(out / run.directory)]
    print(f"{len(runs)} runs, {len(runs) - len(missing)} of them finished, in {out}", file=sys.stderr)
    table = collect_results(out, runs)
    failures = []
    for done, outcome in enumerate(execute(finish_run, missing, executor, jobs), start=1):
        if outcome.error:
            failures.append(outcome)
        print(f"[{done}/{len(missing)}] {outcome}", file=sys.stderr)
        table = collect_results(out, runs)
    if failures:
        raise InputError(f"{len(failures)} of {len(runs)} runs failed, the first: {failures[0]}")
    return table


@dataclass(frozen=True)
class Outcome:
    """How a run ended: its directory, and what was wrong."""

    directory: str
    error: str = ""

    def __str__(self) -> str:
        return f"{self.directory}: {self.error or 'finished'}"


def finish_run(settings: jsonargparse.Namespace) -> Outcome:
    """Train, resume or only evaluate a run: whatever it lacks."""
    out = Path(settings.out)
    try:
        if (out / "model.safetensors").is_file():
            trained = load_run(out)
        elif (out / "config.yaml").is_file():
            trained = resume(out)
        else:
            trained = train(settings)
        evaluate_run(trained)
    except InputError as error:
        return Outcome(str(out), str(error))
    return Outcome(str(out))


def collect_results(out: Path, runs: list[PlannedRun]) -> pd.DataFrame:
    """One row per finished run and test split; also written to `results.csv`."""
    rows: list[dict[str, Any]] = []
    for run in runs:
        path = out / run.directory / "result.json"
        if path.is_file():
            result = json.loads(path.read_text())
            described = {key: result[key] for key in ("name", "method", "model", "seed")}
            for split, values in result["splits"].items():
                rows.append(
                    {"protocol": run.protocol, **described, "split": split, **values, "run": str(run.directory)}
                )
    table = pd.DataFrame(rows, columns=None if rows else LEADING)
    rest = [column for column in table if column not in LEADING and column != "run"]
    table = table[[*(c for c in LEADING if c in table), *rest, *(["run"] if "run" in table else [])]]
    temporary = out / ".results.csv.tmp"
    table.to_csv(temporary, index=False, float_format="%.6g")
    os.replace(temporary, out / "results.csv")
    return table


def _is_finished(directory: Path) -> bool:
    return (directory / "result.json").is_file()


def _check_same_settings(out: Path, run: PlannedRun) -> None:
    path = out / run.directory / "config.yaml"
    if path.is_file():
        before, now = read_settings(path), run.settings
        for key in RunSettings.__dataclass_fields__:
            if before.get(key) != now.get(key) and key not in ("out", "workers"):
                raise InputError(
                    f"The study in {str(out)!r} was run with {key} = {before.get(key)!r}, and its configuration now "
                    f"says {now.get(key)!r}. Give another --out, or undo the change."
                )
