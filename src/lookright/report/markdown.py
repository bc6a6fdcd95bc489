"""Tables of Markdown pages."""

import re
from collections.abc import Sequence
from pathlib import Path

from lookright.errors import InputError
from lookright.measures import Measure

DASH = "–"
"""Stands where there is no figure."""


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column is text and whose others are figures.

    >>> print(table(["Method", "IoU"], [["a | b", "0.5"]]))
    | Method | IoU |
    | --- | ---: |
    | a \\| b | 0.5 |
    """
    lines = [list(map(cell, heads)), ["---"] + ["---:"] * (len(heads) - 1), *(list(map(cell, row)) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def cell(text: str) -> str:
    """Text that ends no cell and no line, and begins no tag."""
    return re.sub(r"<(?=[a-zA-Z/!?])", "&lt;", text.replace("|", "\\|").replace("\n", " "))


def require_file(out: Path) -> None:
    """Refuse a folder as the name of a page.

    Raises:
        InputError: it is one.
    """
    if out.is_dir():
        raise InputError(
            f"{str(out)!r} is a folder. Expected the name of a Markdown file to write, such as results.md."
        )


def folded(title: str, content: str) -> str:
    """Content that opens when its title is clicked."""
    return f'<details markdown="1"><summary>{title}</summary>\n\n{content}\n\n</details>'


def configuration(path: Path, text: str) -> str:
    """The file of a study, folded."""
    # Four backticks, so that three in the file do not end it.
    return folded(f"Configuration ({cell(str(path))})", f"````yaml\n{text.strip()}\n````")


def head(measure: Measure) -> str:
    """The label of a measure, with an arrow to where it is better."""
    return measure.label + {True: " ↑", False: " ↓", None: ""}[measure.higher_is_better]
