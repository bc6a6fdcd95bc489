"""A study's YAML file, and the runs that it asks for."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonargparse

from lookright.study.grid import read_grid
from lookright.training.settings import parse_settings

Overrides = Mapping[str, Any]


@dataclass(frozen=True)
class PlannedRun:
    """One cell of the grid.

    Attributes:
        protocol: its name in the study.
        settings: of the run, complete.
        directory: of the run, relative to the study's.
    """

    protocol: str
    settings: jsonargparse.Namespace
    directory: Path


@dataclass(frozen=True)
class Study:
    """Methods × protocols × models × seeds.

    Every entry of `methods`, `protocols` and `models` names settings of a run (`lookright train --help`) that replace
    those in `settings`; later ones win: settings, protocol, model, method.

    Attributes:
        methods: by the name that reports show. The setting `method` is this name unless the entry says otherwise.
        seeds: of the runs.
        settings: of every run.
        protocols: by name; the setting `protocol` is this name unless the entry says otherwise.
        models: by name; the setting `model` is this name unless the entry says otherwise. May be left out.
    """

    methods: dict[str, Overrides]
    seeds: list[int]
    settings: Overrides = field(default_factory=dict)
    protocols: dict[str, Overrides] = field(default_factory=lambda: {"GivenSplits": {}})
    models: dict[str, Overrides] = field(default_factory=dict)

    def runs(self, out: Path) -> Iterator[PlannedRun]:
        """All runs, seed by seed, so that an unfinished study has whole comparisons.

        Raises:
            InputError: settings that no run accepts.
        """
        for seed in self.seeds:
            for protocol, of_protocol in self.protocols.items():
                for model, of_model in self.models.items() or [(None, {})]:
                    for method, of_method in self.methods.items():
                        parts = [protocol, *([model] if model else []), method, f"seed-{seed}"]
                        directory = Path("runs", *map(file_name, parts))
                        config: dict[str, Any] = {"protocol": protocol, "method": method, "name": method}
                        config |= {"model": model} if model else {}
                        config |= {**self.settings, **of_protocol, **of_model, **of_method}
                        config |= {"seed": seed, "out": str(out / directory)}
                        yield PlannedRun(protocol, parse_settings(config), directory)


def read_study(path: Path) -> Study:
    """Read a study's YAML file.

    Raises:
        InputError: no such file, no YAML, or keys that are missing or unknown.
    """
    return read_grid(path, Study, ("methods", "protocols", "models"))


def file_name(name: str) -> str:
    """A name that every file system takes.

    >>> file_name("SAGE, inverted masks")
    'SAGE-inverted-masks'
    """
    return re.sub(r"[^\w.+-]+", "-", name).strip("-.") or "run"
