"""Does the runs of a study that are missing, and keeps `results.csv` up to date."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import jsonargparse
import pandas as pd

from lookright.study.config import PlannedRun, read_study
from lookright.study.executors import Executor
from lookright.study.grid import do_missing, open_directory, write_results
from lookright.training.results import evaluate_run
from lookright.training.run import load_run, resume, train
from lookright.training.settings import read_settings

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
    runs = list(read_study(config).runs(out))
    settings = [run.settings for run in runs]
    open_directory(config, out, settings, read_settings)
    return do_missing(settings, finish_run, partial(collect_results, out, runs), executor, jobs)


def finish_run(settings: jsonargparse.Namespace) -> None:
    """Train, resume or only evaluate a run: whatever it lacks."""
    out = Path(settings.out)
    if (out / "model.safetensors").is_file():
        trained = load_run(out)
    elif (out / "config.yaml").is_file():
        trained = resume(out)
    else:
        trained = train(settings)
    evaluate_run(trained)


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
    return write_results(table[[*(c for c in LEADING if c in table), *rest, *(["run"] if "run" in table else [])]], out)
