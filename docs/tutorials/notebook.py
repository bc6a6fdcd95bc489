"""Writes find_the_shortcut.ipynb from the page of the same name: `python docs/tutorials/notebook.py`."""

import json
import re
from pathlib import Path

PAGE = Path(__file__).with_name("find-the-shortcut.md")
NOTEBOOK = Path(__file__).with_name("find_the_shortcut.ipynb")


def notebook(page: str) -> str:
    """Text and code of the page in turns, without outputs."""
    cells = []
    for number, part in enumerate(re.split(r"^```(?:python)?\n", page, flags=re.M)):
        code = number % 2 == 1
        cells.append(
            {
                "id": f"cell-{number}",
                "cell_type": "code" if code else "markdown",
                "metadata": {},
                "source": part.strip("\n").splitlines(keepends=True),
            }
            | ({"execution_count": None, "outputs": []} if code else {})
        )
    python = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return json.dumps({"cells": cells, "metadata": python, "nbformat": 4, "nbformat_minor": 5}, indent=1) + "\n"


if __name__ == "__main__":
    NOTEBOOK.write_text(notebook(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
