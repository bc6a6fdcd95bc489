"""A grid of agents: scenarios × seeds × methods."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import jsonargparse
import pandas as pd

from lookright.rl.agent_settings import parse_settings, read_settings
from lookright.rl.evaluate import EVALUATION_SEED, evaluate_policy, read_result
from lookright.rl.ppo import resume, train
from lookright.rl.scripted import PLAYERS, play_scripted
from lookright.run_directory import read_json, write_json
from lookright.study.config import run_path
from lookright.study.grid import do_missing, each_once, open_directory, read_grid, require_few_runs, write_table
from lookright.study.status import is_finished
from lookright.trust import trusting

RANDOM_EPISODES = 50
"""Played by an agent that presses buttons at random, for the zero of the normalised score, and by a player of rules."""


@dataclass(frozen=True)
class AgentStudy:
    """Scenarios × seeds × methods.

    Attributes:
        scenarios: names or paths, see `lookright.rl.environments.DoomEnvironment`.
        methods: by the name that results show, the settings of a run that replace those in `settings`. The setting
            `method` is this name unless the entry says otherwise. The first method is the baseline.
        seeds: of the runs.
        settings: of every run.
    """

    scenarios: list[str]
    methods: dict[str, Mapping[str, Any]]
    seeds: list[int]
    settings: Mapping[str, Any] = field(default_factory=dict)

    def runs(self, out: Path) -> list[jsonargparse.Namespace]:
        """The settings of all runs, seed by seed, so that an unfinished study has whole comparisons.

        Raises:
            InputError: settings that no run accepts, or files of scenarios that have one name.
        """
        require_few_runs(len(self.seeds), len(self.scenarios), len(self.methods))
        return each_once(self._settings(out, *run) for run in product(self.seeds, self.scenarios, self.methods))

    def _settings(self, out: Path, seed: int, scenario: str, name: str) -> jsonargparse.Namespace:
        directory = out / run_path(out, Path(scenario).stem, name, f"seed-{seed}")
        config = {"method": name, "name": name, **self.settings, **self.methods[name]}
        return parse_settings(config | {"scenario": scenario, "seed": seed, "out": str(directory)})


def read_agent_study(path: Path) -> AgentStudy:
    """Read a study's YAML file.

    Raises:
        InputError: no such file, no YAML, or keys that are missing or unknown.
    """
    return read_grid(path, AgentStudy, ("methods",))


def run_agent_study(config: Path, out: Path | None = None, jobs: int = 1) -> pd.DataFrame:
    """Train and evaluate every agent of a study that is not finished, and write `results.csv`.

    A run that was interrupted is resumed; one that fails is reported, and the others go on.

    Args:
        config: the study's YAML file; a copy is kept as `study.yaml`.
        out: directory of the study; by default `runs/` and the file's name.
        jobs: runs at a time.

    Returns:
        The table of `results.csv`.

    Raises:
        InputError: a bad study, `out` holds runs with other settings, or some runs failed.
    """
    out = out or Path("runs", config.stem)
    grid = read_agent_study(config)
    runs = grid.runs(out)
    with trusting():  # the user's own study names the same code
        open_directory(config, out, runs, read_settings)
    _play(runs, out / "random.json", _at_random)
    _play([run for run in runs if run.scenario in PLAYERS], out / "scripted.json", _by_rules)
    return do_missing(out, runs, finish_run, lambda: write_table(collect_results(runs, out), out), jobs=jobs)


def finish_run(settings: jsonargparse.Namespace) -> None:
    """Train an agent, or go on where it was left."""
    out = Path(settings.out)
    with trusting():
        if (out / "config.yaml").is_file():
            resume(out)
        else:
            train(settings)


def collect_results(runs: list[jsonargparse.Namespace], out: Path) -> pd.DataFrame:
    """One row per finished agent, with what random play and rules return in its scenario; NaN where no rules are."""
    random = read_json(out / "random.json")
    scripted = read_json(out / "scripted.json") if (out / "scripted.json").is_file() else {}
    rows = []
    for run in runs:
        path = Path(run.out)
        if is_finished(path):
            result = read_result(path)
            played = _as_played(run)
            known = {"random_return": random[played], "scripted_return": scripted.get(played, math.nan)}
            rows.append(result | known | {"run": str(path.relative_to(out))})
    return pd.DataFrame(rows)


def _as_played(run: jsonargparse.Namespace) -> str:
    """What the return of players that learn nothing depends on."""
    return run.scenario if run.frame_skip is None else f"{run.scenario}, {run.frame_skip} tics a decision"


def _play(
    runs: list[jsonargparse.Namespace], path: Path, player: Callable[[jsonargparse.Namespace], pd.DataFrame]
) -> None:
    """Keep in a file what a player that learns nothing returns as each run plays."""
    returns = read_json(path) if path.is_file() else {}
    for run in runs:
        if (played := _as_played(run)) not in returns:
            returns[played] = round(float(player(run)["return"].mean()), 6)
            write_json(path, returns)


def _at_random(run: jsonargparse.Namespace) -> pd.DataFrame:
    return evaluate_policy(None, run.scenario, RANDOM_EPISODES, targets=run.targets, skip=run.frame_skip)[0]


def _by_rules(run: jsonargparse.Namespace) -> pd.DataFrame:
    return play_scripted(run.scenario, EVALUATION_SEED, RANDOM_EPISODES, run.frame_skip)
