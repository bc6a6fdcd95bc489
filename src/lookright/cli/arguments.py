"""From what was typed to the arguments of a command."""

import inspect
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lookright.errors import InputError, nearest
from lookright.yaml_file import read_yaml

if TYPE_CHECKING:
    import jsonargparse

    from lookright.run_directory.settings_file import SettingsFile

Command = Callable[..., None]


def call(command: Command, name: str, arguments: list[str]) -> None:
    """Call a command with what its signature says of the arguments, or as they are where it takes nothing else.

    Raises:
        InputError: an option that the command does not have.
        argparse.ArgumentError: a value of another type, or one too few.
    """
    parameters = inspect.signature(command).parameters
    if list(parameters) == ["arguments"]:
        command(arguments)
        return
    import jsonargparse  # takes longer than all the rest, and --help and --version need none of it

    parser = jsonargparse.ArgumentParser(prog=f"lookright {name}", exit_on_error=False)
    listed = [parameter for parameter in parameters.values() if parameter.annotation == list[Path]]
    parser.add_function_arguments(command, as_positional=True, skip={parameter.name for parameter in listed})
    for parameter in listed:
        parser.add_argument(parameter.name, nargs="+", type=Path, help="one or several")
    _require_known_options(arguments, parameters)
    namespace = parser.parse_args(arguments)
    command(**{key: namespace[key] for key in parameters})


def spelled_out(arguments: list[str]) -> list[str]:
    """`--some-option` as `--some_option`, and an option without a value as true.

    >>> spelled_out(["train", "--skip-unreadable", "--lr", "-1", "--weights=my-file"])
    ['train', '--skip_unreadable', 'true', '--lr', '-1', '--weights=my-file']
    """
    spelled: list[str] = []
    for position, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if not name.startswith("--") or name == "--help":
            spelled.append(argument)
            continue
        spelled.append("--" + name[2:].replace("-", "_") + equals + value)
        if not equals and (position + 1 == len(arguments) or arguments[position + 1].startswith("--")):
            spelled.append("true")
    return spelled


def train_or_resume(
    name: str,
    arguments: list[str],
    settings: "SettingsFile",
    train: Callable[["jsonargparse.Namespace"], Any],
    resume: Callable[[Path], Any],
) -> Any:
    """Train with the settings that the arguments give, or go on with the run that `--resume` names.

    Raises:
        InputError: an option that is no setting; what `train` and `resume` raise.
        argparse.ArgumentError: a value of another type.
    """
    import jsonargparse

    parser = jsonargparse.ArgumentParser(prog=f"lookright {name}", exit_on_error=False)
    parser.add_argument("--resume", type=Path, help="directory of an interrupted run, which then goes on")
    if any(argument.split("=")[0] == "--resume" for argument in arguments):
        return resume(parser.parse_args(arguments).resume)
    settings.add_to(parser)
    arguments = [_today_name(argument, settings.renamed) for argument in arguments]
    _require_known_options(arguments, [*settings.names, "config", "resume"])
    for path in _config_files(arguments):
        content = read_yaml(path)  # before the parser, which knows no bounds
        if not isinstance(content, dict):
            raise InputError(f"{str(path)!r} holds a {type(content).__name__}; expected settings by name.")
    namespace = parser.parse_args(arguments)
    del namespace["resume"]
    return train(namespace)


def _config_files(arguments: list[str]) -> Iterator[Path]:
    for position, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name == "--config" and (equals or arguments[position + 1 :]):
            yield Path(value if equals else arguments[position + 1])


def _require_known_options(arguments: list[str], known: Iterable[str]) -> None:
    known = [*known, "help"]
    for argument in arguments:
        option = argument[2:].split("=")[0].split(".")[0].rstrip("+")
        if argument.startswith("--") and option and option not in known:
            raise InputError(f"No option '--{option}'.{nearest(option, known, '--')} See --help.")


def _today_name(argument: str, renamed: Mapping[str, str]) -> str:
    name, equals, value = argument.removeprefix("--").partition("=")
    if not argument.startswith("--") or name not in renamed:
        return argument
    warnings.warn(f"--{name} is called --{renamed[name].replace('_', '-')} now.", stacklevel=2)
    return f"--{renamed[name]}{equals}{value}"
