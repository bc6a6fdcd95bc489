"""The command line: `lookright COMMAND`, see `lookright --help`."""

from lookright.cli.main import main

__all__ = ["main"]
