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
from lookright.study.search import read_search, with_setting
from lookright.training.settings import instantiate, parse_settings, today_names

Overrides = Mapping[str, Any]


@dataclass(frozen=True)
class PlannedRun:
    """One cell of the grid.

    Attributes:
        protocol: its name in the study.
        settings: of the run, complete.
        directory: of the run, relative to the study's.
        candidate_of: the method among whose candidates the run is; empty in a study that does not choose.
        drawn: what sets the candidate apart, in words.
        cross_validation: by domain, the run in which this domain is held out besides the one that this run holds out.
    """

    protocol: str
    settings: jsonargparse.Namespace
    directory: Path
    candidate_of: str = ""
    drawn: str = ""
    cross_validation: Mapping[str, "PlannedRun"] = field(default_factory=dict)


@dataclass(frozen=True)
class Study:
    """Methods × protocols × models × seeds.

    Every entry of `methods`, `protocols`, `models` and `candidates` names settings of a run (`lookright train --help`)
    that replace those in `settings`; later ones win: settings, protocol, model, method, candidate. Dots name a setting
    inside of another: `method.init_args.weight`.

    Attributes:
        methods: by the name that reports show. The setting `method` is this name unless the entry says otherwise.
        seeds: of the runs.
        settings: of every run.
        protocols: by name; the setting `protocol` is this name unless the entry says otherwise.
        models: by name; the setting `model` is this name unless the entry says otherwise. May be left out.
        candidates: by method and name, what model selection chooses from; each is a run of its own, called
            `METHOD, NAME`. A method without any is its own only candidate.
        search: in place of `candidates`, draws as many for every method, see `lookright.study.search.Search`.
        cross_validation: for every run that leaves one domain out, hold out each of the others, too, in a run of its
            own; what two protocols need is done once.
    """

    methods: dict[str, Overrides]
    seeds: list[int]
    settings: Overrides = field(default_factory=dict)
    protocols: dict[str, Overrides] = field(default_factory=lambda: {"GivenSplits": {}})
    models: dict[str, Overrides] = field(default_factory=dict)
    candidates: dict[str, dict[str, Overrides]] = field(default_factory=dict)
    search: Overrides = field(default_factory=dict)
    cross_validation: bool = False

    def runs(self, out: Path) -> Iterator[PlannedRun]:
        """All runs, seed by seed, so that an unfinished study has whole comparisons.

        Raises:
            InputError: settings that no run accepts, candidates of no method, or nothing to cross-validate.
        """
        candidates = self._candidates()
        if self.cross_validation and not candidates:
            raise InputError("cross_validation chooses among candidates; add the key 'candidates' or 'search'.")
        of_methods = [
            (method, candidate, of_candidate)
            for method in self.methods
            for candidate, of_candidate in (candidates.get(method) or {"": {}}).items()
        ]
        require_few_runs(len(self.seeds), len(self.protocols), len(self.models) or 1, len(of_methods))
        for seed, (protocol, of_protocol), (model, of_model) in product(
            self.seeds, self.protocols.items(), self.models.items() or [("", {})]
        ):
            for method, candidate, of_candidate in of_methods:
                place = [*filter(None, (model, method, candidate)), f"seed-{seed}"]
                directory = run_path(out, protocol, *place)
                name = f"{method}, {candidate}" if candidate else method
                config: dict[str, Any] = {"protocol": protocol, "method": method, "name": name}
                config |= {"model": model} if model else {}
                for layer in (self.settings, of_protocol, of_model, self.methods[method], of_candidate):
                    config = with_settings_inside(config, today_names(layer))
                config |= {"seed": seed, "out": str(out / directory)}
                settings = parse_settings(config)
                if self.search and seed == self.seeds[0]:
                    require_buildable(settings, of_candidate)
                others = dict(self._held_out_besides(config, settings, out, place)) if self.cross_validation else {}
                of = method if candidates else ""
                yield PlannedRun(protocol, settings, directory, of, in_words(of_candidate), others)

    def _candidates(self) -> Mapping[str, Mapping[str, Overrides]]:
        """By method and name, their settings: those that are listed, or drawn."""
        if self.candidates and self.search:
            raise InputError(
                f"candidates: of {', '.join(self.candidates)}; expected none beside the key 'search', which draws "
                "those of every method. Remove one of the two keys."
            )
        for method in self.candidates:
            if method not in self.methods:
                raise InputError(f"Candidates of {method!r}, which is no method; expected {', '.join(self.methods)}.")
        return read_search(self.search).candidates(self.methods) if self.search else self.candidates

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
    return read_grid(path, Study, ("methods", "protocols", "models"))


def run_path(out: Path, *names: str) -> Path:
    """Of a run, relative to the study's; one that an earlier version began keeps its name."""
    earlier = Path("runs", *map(readable_part, names))
    return earlier if (out / earlier / "config.yaml").is_file() else Path("runs", *map(file_name, names))


def with_settings_inside(config: dict[str, Any], overrides: Overrides) -> dict[str, Any]:
    """Settings in which others take the place of some, those inside of another named with dots.

    Raises:
        InputError: there is no such place.
    """
    for setting, value in overrides.items():
        try:
            config = with_setting(config, setting.split("."), value)
        except InputError as error:
            raise InputError(f"The setting {setting!r}: {error}") from error
    return config


def require_buildable(settings: jsonargparse.Namespace, drawn: Overrides) -> None:
    """Refuse a draw that its run would refuse.

    Raises:
        InputError: a value out of its range.
    """
    try:
        instantiate(settings)
    except InputError as error:
        words = in_words(drawn) or "the study's own settings"
        raise InputError(f"{settings.name!r} would not run ({words}): {error}") from error


def in_words(overrides: Overrides) -> str:
    """Settings in a line, without what every path to a class's argument has.

    >>> in_words({"lr": 0.01, "method.init_args.methods.1.init_args.weight": 3})
    'lr = 0.01, methods.1.weight = 3'
    """
    return ", ".join(
        f"{setting.replace('init_args.', '').removeprefix('method.')} = {value}" for setting, value in overrides.items()
    )
