"""What a shell offers when the tabulator key is pressed."""

import inspect
from collections.abc import Iterator, Mapping
from typing import Literal

from lookright.cli.arguments import Command

SCRIPT = """\
_lookright() {{
    local offered=""
    case "${{COMP_WORDS[*]:1:COMP_CWORD-1}} " in
{cases}
    esac
    COMPREPLY=($(compgen -W "$offered" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o default -F _lookright lookright
"""
ZSH = "autoload -U +X bashcompinit && bashcompinit\n"

Commands = Mapping[str, Command | Mapping[str, Command]]


def completion_script(commands: Commands, shell: Literal["bash", "zsh"]) -> str:
    """Commands and options, written out, so that the key does not wait for Python; elsewhere, file names are offered.

    Args:
        commands: by name; a group is a mapping of commands, that of the empty name standing for the group's own.
        shell: which reads it.
    """
    first = " ".join(commands)
    cases = [f'    " ") offered="{first}" ;;', *(case for name in commands for case in _cases(name, commands[name]))]
    return (ZSH if shell == "zsh" else "") + SCRIPT.format(cases="\n".join(cases))


def _cases(name: str, found: Command | Mapping[str, Command]) -> Iterator[str]:
    if not isinstance(found, Mapping):
        yield f'    "{name} "*) offered="{_options(found)}" ;;'
        return
    for inner, command in found.items():
        if inner:
            yield from _cases(f"{name} {inner}", command)
    own = f" {_options(found[''])}" if "" in found else ""
    yield f'    "{name} "*) offered="{" ".join(filter(None, found))}{own}" ;;'


def _options(command: Command) -> str:
    parameters = inspect.signature(command).parameters
    if list(parameters) == ["arguments"]:
        names = ["config", "resume", *_settings(command)]
    else:
        names = [name for name, parameter in parameters.items() if parameter.default is not parameter.empty]
    return " ".join("--" + name.replace("_", "-") for name in [*names, "help"])


def _settings(command: Command) -> list[str]:
    """Of a training."""
    if command.__module__.endswith("agents"):
        from lookright.rl.agent_settings import settings_file as of_agents

        return list(of_agents.names)
    from lookright.training.settings import settings_file as of_classifiers

    return list(of_classifiers.names)
