"""Settings that are a dataclass, from the command line, a YAML file or a dict, and back."""

import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

import jsonargparse

from lookright.data.mask_controls import MaskControl
from lookright.data.protocols import Protocol
from lookright.errors import InputError
from lookright.methods import Method
from lookright.replacing import replacing
from lookright.run_directory.yaml_file import read_yaml

Settings = TypeVar("Settings")

FAMILIES: dict[str, type] = {"method": Method, "protocol": Protocol, "mask_control": MaskControl}
"""Settings that name a class, with the base of the classes that they may name."""


class SettingsFile(Generic[Settings]):
    """Reads and writes the settings of one kind.

    Args:
        kind: the dataclass; its attributes are the options, documented in its docstring.
        classes: by setting, the name of the class that it names by default.
    """

    def __init__(self, kind: type[Settings], classes: Mapping[str, str]) -> None:
        self.kind = kind
        self.classes = dict(classes)
        self.names = list(kind.__dataclass_fields__)  # type: ignore[attr-defined]

    def add_to(self, parser: jsonargparse.ArgumentParser) -> None:
        """Add the settings to a parser, and `--config FILE`."""
        parser.add_argument(
            "--config", action=jsonargparse.ActionConfigFile, help="YAML file with any of these settings."
        )
        parser.add_class_arguments(self.kind)
        parser.set_defaults({name: {"class_path": path} for name, path in self.classes.items()})

    def parse(self, config: Mapping[str, Any]) -> jsonargparse.Namespace:
        """Check a nested dict of settings, fill in the defaults.

        Raises:
            InputError: an unknown or missing setting, or a value of the wrong type.
        """
        try:
            return self._parser().parse_object(dict(config))
        except (jsonargparse.ArgumentError, ValueError, KeyError) as error:
            raise InputError(readable(error)) from error

    def instantiate(self, namespace: jsonargparse.Namespace) -> Settings:
        """The settings as an object, with the classes that they name built.

        Raises:
            InputError: settings that do not fit together.
        """
        known = {key: value for key, value in namespace.items() if key.split(".")[0] in self.names}
        built = self._parser().instantiate(jsonargparse.Namespace(**known))
        return self.kind(**{name: built[name] for name in self.names})

    def write(self, namespace: jsonargparse.Namespace, path: Path) -> None:
        """Write a YAML file from which `read` gives the same settings."""
        with replacing(path) as draft:
            draft.write_text(self._parser().dump(namespace, skip_unset=False), encoding="utf-8")

    def read(self, path: Path) -> jsonargparse.Namespace:
        """Read what `write` wrote.

        Raises:
            InputError: there is no such file, or it holds other settings.
        """
        if not path.is_file():
            raise InputError(f"No {path.name} in {str(path.parent)!r}. Expected the directory of a run.")
        content = read_yaml(path)
        if not isinstance(content, dict):
            raise InputError(f"{str(path)!r} holds a {type(content).__name__}; expected the settings of a run.")
        return self.parse(content)

    def _parser(self) -> jsonargparse.ArgumentParser:
        parser = jsonargparse.ArgumentParser(exit_on_error=False)
        self.add_to(parser)
        return parser


def readable(error: Exception) -> str:
    """What a parser's error says, in the words of the user."""
    text = " ".join(str(error).split())
    unknown = re.match(rf'.*Parser key "({"|".join(FAMILIES)})":.* dot import path string: (\S+)', text)
    if unknown:
        names = ", ".join(_class_names(unknown[1]))
        return f"No {unknown[1].replace('_', ' ')} {unknown[2]!r}. Expected {names}, or an import path."
    return text


def _class_names(key: str) -> list[str]:
    pending = [FAMILIES[key]]
    names: list[str] = []
    while pending:
        subclasses: list[type] = pending.pop().__subclasses__()
        pending += subclasses
        names += [c.__name__ for c in subclasses if not inspect.isabstract(c) and not c.__name__.startswith("_")]
    return sorted(set(names) - {"MapGuidance", "Stochastic"})
