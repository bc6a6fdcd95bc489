"""The index of methods has what there is."""

import re
import runpy
from pathlib import Path

import pytest

import lookright
from lookright.methods import Method
from lookright.run_directory.settings_file import class_names

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs/methods"
ROWS = dict(re.findall(r"^\| \[(\w+)\]\((\w+\.md)\) \|", (PAGES / "index.md").read_text(), re.MULTILINE))
NAMES = sorted({*class_names(Method)} & {*lookright.__all__})


@pytest.mark.parametrize("name", NAMES)
def test_every_method_has_a_row_and_a_page_of_its_name(name):
    assert (PAGES / ROWS[name]).read_text().startswith(f"# {name}\n")


def test_every_page_has_a_row():
    assert {path.name for path in PAGES.glob("*.md")} - {"index.md"} == set(ROWS.values())


def test_what_the_command_fills_in_is_up_to_date():
    text = (PAGES / "index.md").read_text()
    assert runpy.run_path(str(ROOT / "benchmarks/step_cost.py"))["fill_in"](text) == text
