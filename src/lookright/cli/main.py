"""Finds the command, calls it, and makes a sentence and an exit code of what goes wrong."""

import argparse
import os
import sys
import threading
import traceback
import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Literal

from lookright.cli import agents, classifiers, data, studies, studio
from lookright.cli.arguments import Command, call, spelled_out
from lookright.errors import InputError, nearest, said_by_system
from lookright.interruption import Interrupted, ending_at_sigterm
from lookright.trust import trusting


def completion(shell: Literal["bash", "zsh"]) -> None:
    """Print what makes the tabulator key complete commands and options: `source <(lookright completion bash)`.

    Args:
        shell: which reads it.
    """
    from lookright.cli.completion import completion_script

    print(completion_script(COMMANDS, shell), end="")


COMMANDS: dict[str, Command | dict[str, Command]] = {
    "demo": studies.demo,
    "train": classifiers.train,
    "evaluate": classifiers.evaluate,
    "explain": classifiers.explain,
    "predict": classifiers.predict,
    "serve": classifiers.serve,
    "export": classifiers.export,
    "study": {"": studies.study, "status": studies.status, "export": studies.export},
    "report": studies.report,
    "results": studies.results,
    "data": {
        "bestiary": data.bestiary,
        "sheet": data.sheet,
        "fill": data.fill,
        "index": data.index,
        "check": data.check,
        "convert": data.convert,
        "export": data.export,
        "vlcs": data.vlcs,
        "terra_incognita": data.terra_incognita,
    },
    "masks": classifiers.masks,
    "studio": studio.studio,
    "rl": {
        "train": agents.train,
        "evaluate": agents.evaluate,
        "watch": agents.watch,
        "study": agents.study,
        "results": agents.results,
    },
    "completion": completion,
}
"""By name; a group is a dict of commands, that of the empty name standing for the group's own."""

REPORT_BUG = (
    "lookright: this is a bug of lookright, not of what you typed. What was finished is kept. Please report the lines "
    "above, and the command, at https://github.com/lookright/lookright/issues."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 0: done, 2: bad input, 70: a bug of ours, 130: interrupted, 143: asked to end (SIGTERM)."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug, trusts = "--debug" in arguments, "--trust" in arguments
    arguments = [argument for argument in arguments if argument not in ("--debug", "--trust")]
    warnings.showwarning = _show_warning  # type: ignore[assignment]
    threading.excepthook = _show_end_of_thread
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # --method my_method.MyMethod; at the end, so that it hides no package
    try:
        with ending_at_sigterm(), trusting() if trusts else nullcontext():
            _run(spelled_out(arguments))
    except KeyboardInterrupt as error:
        advice = str(error) or "interrupted. What was finished is kept; the same command goes on from there."
        print(f"lookright: {advice}", file=sys.stderr)
        return error.exit_code if isinstance(error, Interrupted) else 130
    except (InputError, argparse.ArgumentError, OSError) as error:
        if debug:
            traceback.print_exc()
        print(f"lookright: {_readable(error)}", file=sys.stderr)
        return 2
    except Exception:
        traceback.print_exc()
        print(REPORT_BUG, file=sys.stderr)
        return 70
    return 0


def _run(arguments: list[str]) -> None:
    if arguments[:1] == ["--version"]:
        from importlib.metadata import version

        print(f"lookright {version('lookright')}")
        return
    found: Command | dict[str, Command] | dict[str, Command | dict[str, Command]] = COMMANDS
    name: list[str] = []
    while isinstance(found, dict):
        word = arguments[len(name)] if len(arguments) > len(name) else "--help"
        own = found.get("")
        if callable(own) and word not in found:
            call(own, " ".join(name), arguments[len(name) :])
            return
        if word in ("-h", "--help"):
            print(_overview(" ".join(name), found))
            return
        if word not in found:
            known = " ".join(["lookright", *name])
            raise InputError(
                f"No command {word!r}.{nearest(word, found)} Expected {', '.join(found)}; see {known} --help."
            )
        found = found[word]
        name.append(word)
    call(found, " ".join(name), arguments[len(name) :])


def _overview(group: str, commands: Mapping[str, Any]) -> str:
    width = max(map(len, commands))
    lines = [
        f"  {name:<{width}}  {command.__doc__.splitlines()[0] if callable(command) else ', '.join(command)}"
        for name, command in commands.items()
    ]
    return "\n".join(
        [
            f"usage: lookright {group + ' ' if group else ''}COMMAND [--help] [--debug] [--trust] ...",
            "",
            *lines,
            "",
            "--help behind a command or a group tells more; --debug shows the traceback of an error;",
            "--trust imports code of others that the directory of a run names.",
        ]
    )


def _readable(error: Exception) -> str:
    if isinstance(error, InputError):
        return " ".join(str(error).split())
    if isinstance(error, OSError):
        return said_by_system(error)
    from lookright.run_directory.settings_file import readable

    return readable(error)


def _show_end_of_thread(ended: threading.ExceptHookArgs) -> None:
    """Of TensorBoard's that writes, for one; whoever waits for a thread has its exception, too."""
    _show_warning(f"{ended.exc_type.__name__} in the background: {ended.exc_value}")


def _show_warning(message: Warning | str, *_: Any) -> None:
    print(f"warning: {message}", file=sys.stderr)
