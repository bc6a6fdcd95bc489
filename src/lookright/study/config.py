"""A study's YAML file, and the runs that it asks for."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import jsonargparse

from lookright.data.protocols import LeaveOneDomainOut, LeaveTwoDomainsOut, domain_names
from lookright.data.table import read_table
from lookright.errors import InputError
from lookright.run_directory.file_name import file_name, readable_part
from lookright.study.grid import read_grid, require_few_runs
from lookright.training.settings import parse_settings, today_names

Overrides = Mapping[str, Any]


@dataclass(frozen=True)
class PlannedRun:
    """One cell of the grid.

    Attributes:
        protocol: its name in the study.
        settings: of the run, complete.
        directory: of the run, relative to the study's.
        candidate_of: the method among whose candidates the run is; empty in a study that does not choose.
        cross_validation: by domain, the run in which this domain is held out besides the one that this run holds out.
    """

    protocol: str
    settings: jsonargparse.Namespace
    directory: Path
    candidate_of: str = ""
    cross_validation: Mapping[str, "PlannedRun"] = field(default_factory=dict)


@dataclass(frozen=True)
class Study:
    """Methods × protocols × models × seeds.

    Every entry of `methods`, `protocols`, `models` and `candidates` names settings of a run (`lookright train --help`)
    that replace those in `settings`; later ones win: settings, protocol, model, method, candidate.

    Attributes:
        methods: by the name that reports show. The setting `method` is this name unless the entry says otherwise.
        seeds: of the runs.
        settings: of every run.
        protocols: by name; the setting `protocol` is this name unless the entry says otherwise.
        models: by name; the setting `model` is this name unless the entry says otherwise. May be left out.
        candidates: by method and name, what model selection chooses from; each is a run of its own, called
            `METHOD, NAME`. A method without any is its own only candidate.
        cross_validation: for every run that leaves one domain out, hold out each of the others, too, in a run of its
            own; what two protocols need is done once.
    """

    methods: dict[str, Overrides]
    seeds: list[int]
    settings: Overrides = field(default_factory=dict)
    protocols: dict[str, Overrides] = field(default_factory=lambda: {"GivenSplits": {}})
    models: dict[str, Overrides] = field(default_factory=dict)
    candidates: dict[str, dict[str, Overrides]] = field(default_factory=dict)
    cross_validation: bool = False

    def runs(self, out: Path) -> Iterator[PlannedRun]:
        """All runs, seed by seed, so that an unfinished study has whole comparisons.

        Raises:
            InputError: settings that no run accepts, candidates of no method, or nothing to cross-validate.
        """
        if self.cross_validation and not self.candidates:
            raise InputError("cross_validation chooses among candidates, and the study has no key 'candidates'.")
        methods = sum(len(self.candidates.get(method, {"": {}})) for method in self.methods)
        require_few_runs(len(self.seeds), len(self.protocols), len(self.models) or 1, methods)
        for seed, (protocol, of_protocol), (model, of_model) in product(
            self.seeds, self.protocols.items(), self.models.items() or [("", {})]
        ):
            for method, candidate, of_candidate in self._candidates():
                place = [*filter(None, (model, method, candidate)), f"seed-{seed}"]
                directory = run_path(out, protocol, *place)
                name = f"{method}, {candidate}" if candidate else method
                config: dict[str, Any] = {"protocol": protocol, "method": method, "name": name}
                config |= {"model": model} if model else {}
                for layer in (self.settings, of_protocol, of_model, of_candidate):
                    config |= today_names(layer)
                config |= {"seed": seed, "out": str(out / directory)}
                settings = parse_settings(config)
                others = dict(self._held_out_besides(config, settings, out, place)) if self.cross_validation else {}
                yield PlannedRun(protocol, settings, directory, method if self.candidates else "", others)

    def _candidates(self) -> Iterator[tuple[str, str, Overrides]]:
        """Method, name of the candidate (empty where a method is its only one), and settings."""
        for method in self.candidates:
            if method not in self.methods:
                raise InputError(f"Candidates of {method!r}, which is no method; expected {', '.join(self.methods)}.")
        for method, of_method in self.methods.items():
            for candidate, overrides in self.candidates.get(method, {"": {}}).items():
                yield method, candidate, {**of_method, **(overrides or {})}

    def _held_out_besides(
        self, config: Mapping[str, Any], settings: jsonargparse.Namespace, out: Path, place: list[str]
    ) -> Iterator[tuple[str, PlannedRun]]:
        """The runs that cross-validate a run, by the domain that is held out besides the run's own."""
        name, arguments = settings.protocol.class_path.rpartition(".")[2], settings.protocol.init_args.as_dict()
        if name != LeaveOneDomainOut.__name__:
            raise InputError(f"cross_validation is about {LeaveOneDomainOut.__name__}, and there is a protocol {name}.")
        tested = arguments.pop("held_out")
        del arguments["oracle"]
        for domain in domain_names(read_table(Path(settings.data))):
            if domain == tested:
                continue
            pair = sorted([tested, domain])
            directory = run_path(out, "cross-validation", " and ".join(pair), *place)
            changed = {
                "protocol": {"class_path": LeaveTwoDomainsOut.__name__, "init_args": {**arguments, "held_out": pair}},
                "faithfulness": "none",  # the accuracy is all that counts
                "out": str(out / directory),
            }
            yield domain, PlannedRun(" and ".join(pair), parse_settings({**config, **changed}), directory)


def read_study(path: Path) -> Study:
    """Read a study's YAML file.

    Raises:
        InputError: no such file, no YAML, or keys that are missing or unknown.
    """
    return read_grid(path, Study, ("methods", "protocols", "models", "candidates"))


def run_path(out: Path, *names: str) -> Path:
    """Of a run, relative to the study's; one that an earlier version began keeps its name."""
    earlier = Path("runs", *map(readable_part, names))
    return earlier if (out / earlier / "config.yaml").is_file() else Path("runs", *map(file_name, names))
