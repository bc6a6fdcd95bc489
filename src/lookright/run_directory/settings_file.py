"""Settings that are a dataclass, from the command line, a YAML file or a dict, and back."""

import copy
import dataclasses
import inspect
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

import jsonargparse

from lookright.data.mask_controls import MaskControl
from lookright.data.protocols import Protocol
from lookright.errors import InputError, nearest
from lookright.methods import Method
from lookright.ranges import Checked, check_ranges
from lookright.replacing import replacing
from lookright.trust import require_trusted
from lookright.yaml_file import read_yaml

Settings = TypeVar("Settings")

FAMILIES: dict[str, type] = {"method": Method, "protocol": Protocol, "mask_control": MaskControl}
"""Settings that name a class, with the base of the classes that they may name."""


class Group(Checked):
    """A dataclass of settings inside of others; a file or a command line names its settings directly."""


class SettingsFile(Generic[Settings]):
    """Reads and writes the settings of one kind.

    Args:
        kind: the dataclass; its attributes and those of its groups are the options, documented in the docstrings.
        classes: by setting, the name of the class that it names by default.
        renamed: settings that earlier versions called otherwise, by the name that they had.
    """

    def __init__(self, kind: type[Settings], classes: Mapping[str, str], renamed: Mapping[str, str] = {}) -> None:
        self.kind = kind
        self.classes = dict(classes)
        self.renamed = dict(renamed)
        fields = dataclasses.fields(kind)  # type: ignore[arg-type]
        made: dict[str, Any] = {f.name: f.default_factory for f in fields}
        self.groups: dict[str, type] = {
            name: part for name, part in made.items() if isinstance(part, type) and issubclass(part, Group)
        }
        self.names = [f.name for part in (kind, *self.groups.values()) for f in dataclasses.fields(part)]

    def add_to(self, parser: jsonargparse.ArgumentParser) -> None:
        """Add the settings to a parser, and `--config FILE`."""
        parser.add_argument(
            "--config", action=jsonargparse.ActionConfigFile, help="YAML file with any of these settings."
        )
        parser.add_class_arguments(self.kind, skip=set(self.groups))
        for part in self.groups.values():
            parser.add_class_arguments(part)
        parser.set_defaults({name: {"class_path": path} for name, path in self.classes.items()})

    def parse(self, config: Mapping[str, Any]) -> jsonargparse.Namespace:
        """Check a nested dict of settings, fill in the defaults.

        Raises:
            InputError: an unknown or missing setting, or a value of the wrong type or out of its range.
        """
        config = self.today_names(copy.deepcopy(config))  # the parser changes lists inside of it
        try:
            namespace = self._parser().parse_object(config)
        except (jsonargparse.ArgumentError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(readable(error)) from error
        for part in (self.kind, *self.groups.values()):
            check_ranges(part, vars(namespace))
        return namespace

    def instantiate(self, namespace: jsonargparse.Namespace) -> Settings:
        """The settings as an object, with the classes that they name built.

        Raises:
            InputError: settings out of their range, or that do not fit together.
        """
        known = {key: value for key, value in namespace.items() if key.split(".")[0] in self.names}
        try:
            built = self._parser().instantiate(jsonargparse.Namespace(**known))
        except InputError:
            raise
        except (jsonargparse.ArgumentError, ValueError, TypeError) as error:
            raise InputError(readable(error)) from error

        def of(part: type) -> Any:
            groups = self.groups if part is self.kind else {}
            names = [f.name for f in dataclasses.fields(part) if f.name not in groups]
            return part(**{name: built[name] for name in names}, **{name: of(kind) for name, kind in groups.items()})

        return of(self.kind)

    def write(self, namespace: jsonargparse.Namespace, path: Path) -> None:
        """Write a YAML file from which `read` gives the same settings."""
        with replacing(path) as draft:
            draft.write_text(self._parser().dump(namespace, skip_unset=False), encoding="utf-8")

    def read(self, path: Path) -> jsonargparse.Namespace:
        """Read what `write` wrote, of this version or an earlier one.

        Raises:
            InputError: there is no such file, it holds other settings, or it names code that is not trusted, see
                `lookright.trust`.
        """
        if not path.is_file():
            raise InputError(f"No {path.name} in {str(path.parent)!r}. Expected the directory of a run.")
        content = read_yaml(path)
        if not isinstance(content, dict):
            raise InputError(f"{str(path)!r} holds a {type(content).__name__}; expected the settings of a run.")
        require_trusted(content, path)
        return self.parse(content)

    def today_names(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The settings under the names that they have today, each by itself: those of a group are taken out of it.

        Raises:
            InputError: one setting under two names.
        """
        result: dict[str, Any] = {}
        for key, value in self._ungrouped(config):
            name = self.renamed.get(key, key)
            if name in result:
                raise InputError(f"{key!r} and another name both set {name!r}. Keep one.")
            result[name] = value
        return result

    def _ungrouped(self, config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        for key, value in config.items():
            if key in self.groups and isinstance(value, Mapping):
                yield from value.items()
            else:
                yield str(key), value

    def _parser(self) -> jsonargparse.ArgumentParser:
        parser = jsonargparse.ArgumentParser(exit_on_error=False)
        self.add_to(parser)
        return parser


def readable(error: Exception) -> str:
    """What a parser's error says, in the words of the user."""
    text = " ".join(str(error).split())
    unknown = re.match(rf'.*Parser key "({"|".join(FAMILIES)})":.* dot import path string: (\S+)', text)
    if unknown:
        names = class_names(FAMILIES[unknown[1]])
        near = nearest(unknown[2], names)
        return (
            f"No {unknown[1].replace('_', ' ')} {unknown[2]!r}.{near} Expected {', '.join(names)}, or an import path."
        )
    if re.match('.*Parser key "task":', text):
        text += (
            " Expected lookright.tasks.cross_entropy, lookright.tasks.CrossEntropy, lookright.tasks.Focal or the "
            "import path of your own."
        )
    if re.search("Expected a <class '(str|collections.abc.Sequence)'>", text):
        text += " Names that YAML takes for numbers or words of its own need quotes, lists brackets: \"['3', 'no']\"."
    return text


def class_names(base: type) -> list[str]:
    """The classes under a base, without those that say of themselves `is_base = True`."""
    pending = [base]
    names: set[str] = set()
    while pending:
        subclasses: list[type] = pending.pop().__subclasses__()
        pending += subclasses
        names |= {kind.__name__ for kind in subclasses if not _is_base(kind)}
    return sorted(names)


def _is_base(kind: type) -> bool:
    return inspect.isabstract(kind) or kind.__name__.startswith("_") or vars(kind).get("is_base", False)
