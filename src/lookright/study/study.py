"""Does the runs of a study that are missing, and keeps `results.csv` up to date."""

from collections import Counter
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from statistics import fmean
from types import NoneType
from typing import Any

import jsonargparse
import pandas as pd

from lookright.data.protocols import ORACLE_SPLIT, LeaveTwoDomainsOut
from lookright.data.table import read_table
from lookright.errors import InputError
from lookright.run_directory import read_json
from lookright.study.config import PlannedRun, read_study
from lookright.study.executors import Executor
from lookright.study.grid import do_missing, each_once, open_directory, write_table
from lookright.study.status import is_finished
from lookright.training.results import evaluate_run
from lookright.training.run import load_run, resume, train
from lookright.training.settings import instantiate, read_settings
from lookright.trust import trusting

RESULT = {"name": str, "method": str, "model": str, "seed": int, "val_accuracy": (float, int, NoneType), "splits": dict}
LEADING = ["protocol", "name", "method", "model", "seed", "split", "images", "images_with_mask", "epochs"]


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
        InputError: a bad study, a search without validation images, `out` holds runs with other settings, or some runs
            failed.
    """
    study = read_study(config)
    runs = list(study.runs(out))
    if study.search:
        _require_validation(runs)
    settings = _settings_of(runs)
    if several := [str(out / one.out) for one in settings if one.devices > 1]:
        raise InputError(
            f"{several[0]!r} would train on several devices, each of which starts its command again, and a study has "
            "many runs in one. Set devices to 1 and train several runs at a time with --jobs, or train run by run."
        )
    with trusting():  # the user's own study names the same code
        open_directory(config, out, settings, read_settings)
    return do_missing(out, settings, finish_run, partial(collect_results, out, runs), executor, jobs)


def _require_validation(runs: list[PlannedRun]) -> None:
    """Refuse a search whose draws could not be chosen from."""
    for name, planned in {run.protocol: run.settings for run in runs}.items():
        settings = instantiate(planned)
        table = settings.protocol.assign(read_table(settings.data), settings.seed)
        if not (table["split"] == "val").any():
            raise InputError(
                f"search chooses by validation images, and the protocol {name!r} has none in {str(settings.data)!r}: "
                f"its splits are {', '.join(map(repr, table['split'].unique()))}. Name one of them val."
            )


def planned_directories(config: Path, out: Path) -> list[Path]:
    """The directories of all runs of a study in `out`, those that cross-validate others included."""
    return [Path(settings.out) for settings in _settings_of(read_study(config).runs(out))]


def _settings_of(runs: Iterable[PlannedRun]) -> list[jsonargparse.Namespace]:
    """Of the runs and of those that cross-validate them, each once."""
    return each_once(planned.settings for run in runs for planned in (run, *run.cross_validation.values()))


def finish_run(settings: jsonargparse.Namespace) -> None:
    """Train, resume or only evaluate a run: whatever it lacks."""
    out = Path(settings.out)
    with trusting():
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
    candidates = Counter(method for method, _ in {(run.candidate_of, run.settings.name) for run in runs})
    for run in runs:
        path = out / run.directory / "result.json"
        if is_finished(out / run.directory):
            result = read_json(path, RESULT)
            described = {key: result[key] for key in ("name", "method", "model", "seed")}
            last_step, share = result.get("last_step", {}), result.get("common_share")
            selection = {
                "candidate_of": run.candidate_of,
                "candidates": candidates[run.candidate_of],
                "drawn": run.drawn,
                "val_accuracy": result["val_accuracy"],
                "cross_validation_accuracy": _cross_validation_accuracy(out, run),
                "oracle_accuracy": last_step.get(ORACLE_SPLIT),
            }
            for split, values in result["splits"].items():
                row = {
                    "protocol": run.protocol,
                    **described,
                    "split": split,
                    **values,
                    "epochs": result.get("epochs"),
                    "common_share": share,
                }
                row |= selection | {"last_step_accuracy": last_step.get(split)} if run.candidate_of else {}
                rows.append(row | {"run": str(run.directory)})
    table = pd.DataFrame(rows, columns=None if rows else LEADING)
    rest = [column for column in table if column not in LEADING and column != "run"]
    return write_table(table[[*(c for c in LEADING if c in table), *rest, *(["run"] if "run" in table else [])]], out)


def _cross_validation_accuracy(out: Path, run: PlannedRun) -> float | None:
    """Mean over the other domains of the accuracy on each of them when it is held out, too; None before all is done."""
    paths = {domain: out / other.directory / "result.json" for domain, other in run.cross_validation.items()}
    if not paths or not all(is_finished(path.parent) for path in paths.values()):
        return None
    splits = {domain: read_json(path, ("splits",))["splits"] for domain, path in paths.items()}
    return fmean(splits[domain][LeaveTwoDomainsOut.split(domain)]["accuracy"] for domain in splits)
