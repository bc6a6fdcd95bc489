"""Reads the directory of a study, or of one run: results, configuration, environment, evaluation of single images."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from lookright.errors import InputError
from lookright.measures import FLAT, RANDOM, Measure
from lookright.report.selection import RULES
from lookright.run_directory import read_arrays, read_json
from lookright.run_directory.file_name import file_name
from lookright.yaml_file import LARGEST, parse_yaml

KEYS = ("protocol", "model", "name", "method", "seed", "split")
REQUIRED = ("method", "seed", "split")
TEXT = (*KEYS, "candidate_of", "drawn", "run")
OF_SELECTION = {"candidates", *(column for columns in RULES.values() for column in columns)} - {"accuracy"}
NOT_METRICS = {*TEXT, *OF_SELECTION, "epochs", "images", "images_with_mask", "smallest_group"}


@dataclass(frozen=True)
class StudyResults:
    """What a directory holds.

    Attributes:
        directory: where it lies.
        results: one row per run and test split: text columns `TEXT` (seed as int), the rest numbers.
        metrics: the columns of `results` that are metrics with at least one value.
        config: text of study.yaml or config.yaml, empty where there is none.
        planned: what `config` lists: `methods`, `seeds`, `protocols`; an empty list where it does not say. The methods
            of a study with candidates are listed as `candidate_of`: only the results know the candidates' names.
        unfinished: run directories that were begun and have no result yet, relative to `directory`.
        measures: the rows of the user's own measures that the runs describe, by column.
    """

    directory: Path
    results: pd.DataFrame
    metrics: list[str]
    config: str
    planned: dict[str, list]
    unfinished: list[str]
    measures: Mapping[str, Measure] = field(default_factory=dict)

    def environments(self) -> Iterator[dict[str, str]]:
        """environment.json of each run, each entry as a line of text."""
        for run in self.results["run"].unique():
            path = self.directory / run / "environment.json"
            if path.is_file():
                yield {key: _text(value) for key, value in read_json(path).items()}


@dataclass(frozen=True)
class Evaluation:
    """One run's evaluation on one split, image by image.

    Attributes:
        images: one row per test image (evaluation/<split>.csv), the index is the row number.
        arrays: curves and gallery (evaluation/<split>.npz), empty where there is none.
    """

    images: pd.DataFrame
    arrays: dict[str, np.ndarray]


def read_results(directory: Path) -> StudyResults:
    """Reads the directory of a study (results.csv) or of one run (result.json).

    Raises:
        InputError: where the directory is neither, or a file in it is not what it should be.
    """
    if not directory.is_dir():
        raise InputError(f"no directory {str(directory)!r}; expected the directory of a study or of a run")
    if (directory / "results.csv").is_file():
        results, config = _read_results(directory / "results.csv"), directory / "study.yaml"
    elif (directory / "result.json").is_file():
        results, config = _read_result(directory / "result.json"), directory / "config.yaml"
    else:
        raise InputError(
            f"{str(directory)!r} holds neither results.csv (a study) nor result.json (a finished run); "
            "give the directory that `lookright study` or `lookright train` wrote"
        )
    no_metrics = NOT_METRICS | {floor + name for name in map(str, results) for floor in (FLAT, RANDOM)}
    metrics = [name for name in map(str, results) if name not in no_metrics and results[name].notna().any()]
    begun = sorted((directory / "runs").rglob("config.yaml"))
    unfinished = [path.parent.relative_to(directory).as_posix() for path in begun if not _is_finished(path.parent)]
    text = config.read_text(encoding="utf-8", errors="replace")[:LARGEST] if config.is_file() else ""
    return StudyResults(
        directory, results, metrics, text, _planned(text), unfinished, _own_measures(directory, results)
    )


def read_evaluation(run: Path, split: str) -> Evaluation | None:
    """The evaluation of a run on one split; None where it was not kept.

    Raises:
        InputError: where a file is there and cannot be read.
    """
    table, arrays = (run / "evaluation" / f"{file_name(split)}{kind}" for kind in (".csv", ".npz"))
    if not table.is_file():
        return None
    images = _read_csv(table)
    if "image" not in images:
        raise InputError(f"{str(table)!r} has the columns {', '.join(images.columns)}; expected `image` among them")
    for column in images.columns.difference(["image", "label", "domain", "prediction"]):
        images[column] = _numbers(images[column].replace({"True": "1", "False": "0"}))
    if not arrays.is_file():
        return Evaluation(images, {})
    evaluation = Evaluation(images, read_arrays(arrays))
    rows = evaluation.arrays.get("gallery_row", np.array([], int))
    if rows.dtype.kind not in "iu" or rows.ndim != 1:
        raise InputError(f"{str(arrays)!r} has no row numbers as 'gallery_row'; evaluate the run again")
    if (rows >= len(images)).any() or (rows < 0).any():
        raise InputError(
            f"{str(arrays)!r} shows row {rows.max()} of {str(table)!r}, which has {len(images)} rows; "
            "evaluate the run again"
        )
    return evaluation


def _own_measures(directory: Path, results: pd.DataFrame) -> dict[str, Measure]:
    found: dict[str, Measure] = {}
    for run in results["run"].unique():
        path = directory / run / "result.json"
        if path.is_file():
            described = read_json(path).get("measures", {})
            try:
                found |= {name: Measure(**row) for name, row in described.items()}
            except (TypeError, AttributeError) as error:
                raise InputError(f"{str(path)!r} describes no measures; evaluate the run again ({error})") from error
    return found


def _planned(config: str) -> dict[str, list]:
    """The grid of a study's YAML, as far as it is one: mappings and lists both list their names."""
    try:
        content = parse_yaml(config, "study.yaml")
    except InputError:
        content = None
    content = content if isinstance(content, dict) else {}
    axes = {axis: content.get(axis) for axis in ("methods", "seeds", "protocols")}
    axes["candidate_of"] = None
    if "candidates" in content or "search" in content:
        axes["methods"], axes["candidate_of"] = None, axes["methods"]
    return {axis: list(values) if isinstance(values, dict | list) else [] for axis, values in axes.items()}


def _is_finished(run: Path) -> bool:
    return (run / "result.json").is_file()


def _read_csv(path: Path) -> pd.DataFrame:
    """Everything as text: a class may be called `NA`."""
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {str(path)!r} ({error}); expected a table with a header line") from error


def _numbers(column: pd.Series) -> pd.Series:
    return pd.to_numeric(column, errors="coerce").astype(float).replace([np.inf, -np.inf], np.nan)


def _read_results(path: Path) -> pd.DataFrame:
    results = _read_csv(path)
    if "scenario" in results:
        raise InputError(f"{str(path)!r} is a study of agents; write its page with lookright rl results {path.parent}")
    absent = [column for column in REQUIRED if column not in results]
    if absent:
        raise InputError(
            f"{str(path)!r} has the columns {', '.join(results.columns)}; expected {', '.join(REQUIRED)} among them"
        )
    if results.empty:
        raise InputError(f"{str(path)!r} has no rows; no run of this study is finished yet")
    return _checked(results, path)


def _read_result(path: Path) -> pd.DataFrame:
    result = read_json(path)
    if "scenario" in result:
        raise InputError(
            f"{str(path)!r} is the result of an agent, which has no report; see what it looks at with "
            f"lookright rl watch {path.parent}, and write the page of a study of agents with lookright rl results"
        )
    splits = result.get("splits")
    if not isinstance(splits, dict) or not splits or not all(isinstance(values, dict) for values in splits.values()):
        raise InputError(f"{str(path)!r} has no test split with metrics; evaluate the run on a test split first")
    about = {key: str(result.get(key, "")) for key in (*KEYS, "common_share")}
    return _checked(pd.DataFrame([about | values | {"split": split} for split, values in splits.items()]), path)


def _checked(results: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Columns of the right type, optional ones filled in, no row twice."""
    for column, default in (("protocol", ""), ("model", ""), ("run", "")):
        if column not in results:
            results[column] = default
    if "name" not in results:
        results["name"] = results["method"]
    results["name"] = results["name"].where(results["name"] != "", results["method"])
    seeds = pd.to_numeric(results["seed"], errors="coerce")
    no_seed = seeds.isna() | (seeds % 1 != 0)
    if no_seed.any():
        given = results["seed"][no_seed].iloc[0]
        raise InputError(f"{str(path)!r} has the seed {given!r}; expected a whole number")
    results["seed"] = seeds.astype(int)
    for column in results.columns.difference([*TEXT]):
        results[column] = _numbers(results[column])
    twice = results.duplicated(["protocol", "model", "name", "seed", "split"])
    if twice.any():
        row = results[twice].iloc[0]
        raise InputError(
            f"{str(path)!r} has two rows for {row['name']!r}, seed {row['seed']}, split {row['split']!r}; expected one"
        )
    return results


def _text(value: object) -> str:
    """A value of a JSON file in a line.

    >>> _text({"python": "3.13", "images": {"train": 10, "test": 5}})
    'python 3.13, images (train 10, test 5)'
    """
    if isinstance(value, dict):
        return ", ".join(
            f"{key} ({_text(item)})" if isinstance(item, dict) else f"{key} {_text(item)}"
            for key, item in value.items()
        )
    return ", ".join(map(_text, value)) if isinstance(value, list) else str(value)
