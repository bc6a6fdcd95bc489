"""What studies of every kind share: their YAML file, their directory, and doing the runs that are missing."""

import dataclasses
import math
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import jsonargparse
import pandas as pd
import yaml

from lookright.errors import InputError, said_by_system
from lookright.replacing import replacing
from lookright.run_directory import only_writer, write_json
from lookright.run_directory.lock import remove_leftovers
from lookright.study.executors import Executor, execute
from lookright.study.status import FAILURES, is_finished
from lookright.time_left import duration
from lookright.yaml_file import parse_yaml, read_yaml

Grid = TypeVar("Grid")
Runs = Sequence[jsonargparse.Namespace]

MACHINE_SETTINGS = ("out", "workers", "device")
"""Settings that may change between two visits to a study: they do not change what a run gives."""


MOST_RUNS = 10_000
"""Of a study."""


def require_few_runs(*sizes: int) -> None:
    """Refuse a grid of more runs than anybody can wait for, or of none.

    >>> require_few_runs(3, 5)
    >>> require_few_runs(1000, 1000)
    Traceback (most recent call last):
    lookright.errors.InputError: The study asks for 1000 x 1000 = 1,000,000 runs; expected at most 10,000. Split it.
    """
    runs = math.prod(sizes)
    if runs > MOST_RUNS:
        asked = " x ".join(map(str, sizes))
        raise InputError(f"The study asks for {asked} = {runs:,} runs; expected at most {MOST_RUNS:,}. Split it.")
    if runs == 0:
        raise InputError("The study asks for no run; expected one name or more in every list.")


def each_once(runs: Iterable[jsonargparse.Namespace]) -> list[jsonargparse.Namespace]:
    """The settings of runs without repetitions, in the order in which to do them.

    Raises:
        InputError: two runs with different settings would share a directory.
    """
    known: dict[Path, jsonargparse.Namespace] = {}
    for run in runs:
        if known.setdefault(Path(run.out), run) != run:
            raise InputError(
                f"Two runs with different settings would share the directory {str(run.out)!r}. "
                "Rename one, or give it a study of its own."
            )
    return list(known.values())


def read_grid(path: Path, kind: type[Grid], named: Iterable[str]) -> Grid:
    """Read a study's YAML file.

    Args:
        path: of the file.
        kind: the dataclass whose attributes are the file's keys; those without a default must be there.
        named: keys that hold overrides by name, where nothing stands for no overrides.

    Raises:
        InputError: no such file, no YAML, or keys that are missing or unknown.
    """
    content = read_yaml(path)
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]
    known = [field.name for field in fields]
    missing = dataclasses.MISSING
    needed = [field.name for field in fields if field.default is missing and field.default_factory is missing]
    if not isinstance(content, dict) or not set(needed) <= set(content):
        rest = [key for key in known if key not in needed]
        raise InputError(
            f"{str(path)!r} is no such study; expected a mapping with {', '.join(needed)} and, if wanted, "
            f"{', '.join(rest)}."
        )
    for key in content:
        if key not in known:
            raise InputError(f"Unknown key {key!r} in {str(path)!r}; expected {', '.join(known)}.")
    for key in set(named) & set(content):
        content[key] = _named(path, key, content[key])
    if isinstance(content.get("candidates"), dict):
        content["candidates"] = {
            str(method): _named(path, f"candidates: {method}", of_method or {})
            for method, of_method in content["candidates"].items()
        }
    if "settings" in content and not isinstance(content["settings"], dict):
        raise InputError(f"settings: {content['settings']!r} in {str(path)!r}; expected settings of a run, by name.")
    if "scenarios" in content and not _are_names(content["scenarios"]):
        raise InputError(f"scenarios: {content['scenarios']!r} in {str(path)!r}; expected a list of names.")
    for key, kind_of in {"candidates": dict, "search": dict, "cross_validation": bool}.items():
        if key in content and not isinstance(content[key], kind_of):
            raise InputError(f"{key}: {content[key]!r} in {str(path)!r}; expected a {kind_of.__name__}.")
    seeds = content.get("seeds")
    if not isinstance(seeds, list) or not seeds or not all(type(seed) is int and seed >= 0 for seed in seeds):
        raise InputError(f"seeds: {seeds!r} in {str(path)!r}; expected a list of whole numbers, such as [0, 1, 2].")
    if len(set(seeds)) < len(seeds):
        raise InputError(f"seeds: {seeds!r} in {str(path)!r}; expected each once, for equal seeds give equal runs.")
    return kind(**content)


def _are_names(content: Any) -> bool:
    return isinstance(content, list) and all(isinstance(name, str) for name in content)


def _named(path: Path, key: str, content: Any) -> dict[str, dict]:
    """Settings by name; a list of names stands for names without settings of their own."""
    if _are_names(content):
        content = dict.fromkeys(content)
    if not isinstance(content, dict):
        raise InputError(
            f"{key}: {content!r} in {str(path)!r}; expected a list of names, or settings by name, such as "
            "{CAMAL: {}, strong CAMAL: {method: {class_path: CAMAL, init_args: {weight: 3}}}}."
        )
    for name, overrides in content.items():
        if not isinstance(overrides, dict | type(None)):
            raise InputError(
                f"{key}: {name}: {overrides!r} in {str(path)!r}; expected the settings that it changes, or nothing."
            )
    return {str(name): overrides or {} for name, overrides in content.items()}


@contextmanager
def with_settings(config: Path, settings: Mapping[str, Any]) -> Iterator[Path]:
    """A study's YAML file whose runs have these settings in place of the file's; without any, the file itself.

    Raises:
        InputError: there are settings, and the file has no mapping to put them in.
    """
    if not settings:
        yield config
        return
    content = read_yaml(config)
    if not isinstance(content, dict) or not isinstance(content.get("settings", {}), dict):
        raise InputError(f"{str(config)!r} has no mapping called settings; expected a study.")
    with TemporaryDirectory() as folder:
        changed = Path(folder, config.name)
        read = {name: parse_yaml(to, name) if isinstance(to, str) else to for name, to in settings.items()}
        content["settings"] = {**content.get("settings", {}), **read}
        changed.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
        yield changed


def open_directory(config: Path, out: Path, runs: Runs, read: Callable[[Path], jsonargparse.Namespace]) -> None:
    """Make a study's directory, with a copy of its configuration as `study.yaml`.

    Args:
        config: the study's YAML file.
        out: the directory.
        runs: that the configuration asks for.
        read: reads the `config.yaml` of a run.

    Raises:
        InputError: the directory holds a run with other settings.
    """
    for run in runs:
        path = Path(run.out, "config.yaml")
        try:
            before = read(path) if path.is_file() else run
        except InputError:
            continue  # this run will say so itself, and the others go on
        for key in run.keys():  # noqa: SIM118, a Namespace iterates over its branches, too
            if before.get(key) != run.get(key) and key not in MACHINE_SETTINGS:
                raise InputError(
                    f"The run {str(path.parent)!r} was done with {key} = {before.get(key)!r}, and the study now says "
                    f"{run.get(key)!r}. Give another --out, or undo the change."
                )
    out.mkdir(parents=True, exist_ok=True)
    if config.resolve() != (out / "study.yaml").resolve():
        with replacing(out / "study.yaml") as draft:
            shutil.copyfile(config, draft)


def do_missing(
    out: Path,
    runs: Runs,
    work: Callable[[jsonargparse.Namespace], None],
    collect: Callable[[], pd.DataFrame],
    executor: Executor = "local",
    jobs: int = 1,
) -> pd.DataFrame:
    """Do every run that has no result; one that fails is reported, and the others go on.

    Args:
        out: directory of the study, which keeps what stopped runs as `failures.json`.
        runs: the settings of all runs.
        work: does a run, or whatever it lacks; importable by name.
        collect: gives the table of the results so far.
        executor: where runs run, see `execute`.
        jobs: runs at a time.

    Raises:
        InputError: some runs failed, or another process does the study.
    """
    with only_writer(out):
        missing = [run for run in runs if not is_finished(Path(run.out))]
        for run in runs:
            if run not in missing:
                remove_leftovers(Path(run.out))
        print(f"{len(runs)} runs, {len(runs) - len(missing)} of them finished", file=sys.stderr)
        table = collect()
        failures: dict[str, str] = {}
        write_json(out / FAILURES, failures)
        started = time.monotonic()
        attempts = execute(partial(_attempt, work), missing, _died, executor, jobs)
        for done, (run_out, error) in enumerate(attempts, start=1):
            if error:
                failures[Path(run_out).relative_to(out).as_posix()] = error
                write_json(out / FAILURES, failures)
            left = duration((time.monotonic() - started) / done * (len(missing) - done))
            still = f", about {left} left" if done < len(missing) else ""
            print(f"[{done}/{len(missing)}] {run_out}: {error or 'finished'}{still}", file=sys.stderr)
            table = collect()
        if failures:
            first = next(": ".join(failure) for failure in failures.items())
            raise InputError(
                f"{len(failures)} of {len(runs)} runs failed, the first: {first} "
                f"See all with lookright study status {out}."
            )
        return table


def write_table(table: pd.DataFrame, out: Path) -> pd.DataFrame:
    """Write `results.csv` of a study's directory; returns the table."""
    with replacing(out / "results.csv") as draft:
        table.to_csv(draft, index=False, float_format="%.6g")
    return table


def _died(settings: jsonargparse.Namespace) -> tuple[str, str]:
    return str(settings.out), (
        "The process that worked on it died, which may be for want of memory. The same command goes on from its last "
        "checkpoint; fewer --jobs need less."
    )


def _attempt(work: Callable[[jsonargparse.Namespace], Any], settings: jsonargparse.Namespace) -> tuple[str, str]:
    try:
        work(settings)
    except InputError as error:
        return str(settings.out), " ".join(str(error).split())
    except OSError as error:
        return str(settings.out), said_by_system(error)
    except Exception as error:  # a bug of ours in one run is no reason to lose the others
        traceback.print_exc()
        return str(settings.out), f"a bug of lookright, please report it: {type(error).__name__}: {error}"
    return str(settings.out), ""
