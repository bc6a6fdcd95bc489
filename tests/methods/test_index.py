"""The index of methods has what there is."""

import inspect
import re
import runpy
from pathlib import Path

import pytest
import yaml

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


@pytest.mark.parametrize("name", NAMES)
def test_a_page_lists_the_arguments_that_there_are_with_their_defaults(name):
    arguments = inspect.signature(getattr(lookright, name)).parameters
    listed = {}
    _, _, section = (PAGES / ROWS[name]).read_text().partition("## Arguments\n")
    for names, defaults in re.findall(r"^\| (`.+?) \| (.+?) \|", section.partition("\n## ")[0], re.MULTILINE):
        names = re.findall(r"`(\w+)`", names)
        defaults = defaults.split(", ") if len(defaults.split(", ")) == len(names) else [defaults] * len(names)
        listed |= dict(zip(names, defaults, strict=True))
    assert set(listed) == set(arguments)
    for argument, default in listed.items():
        if not re.fullmatch(r"[\d.]+|`\w+`|true|false|none", default):
            continue  # told in other words
        expected = arguments[argument].default
        if isinstance(expected, str):
            assert default == f"`{expected}`"
        elif isinstance(expected, (int, float)) and not isinstance(expected, bool):
            assert float(default) == expected
        else:
            assert default.strip("`").lower() == str(expected).lower()


def test_every_page_has_a_row():
    assert {path.name for path in PAGES.glob("*.md")} - {"index.md"} == set(ROWS.values())


def test_what_the_command_fills_in_is_up_to_date():
    text = (PAGES / "index.md").read_text()
    assert runpy.run_path(str(ROOT / "benchmarks/step_cost.py"))["fill_in"](text) == text


def test_the_readme_says_the_same_of_those_that_it_lists():
    def rows(text):
        found = (line.replace("(docs/methods/", "(").strip("|").split("|") for line in text.splitlines())
        return {cells[0]: cells for cells in found if re.fullmatch(r" \[\w+\]\(\w+\.md\) ", cells[0])}

    index, listed = rows((PAGES / "index.md").read_text()), rows((ROOT / "README.md").read_text())
    assert listed
    assert all([*cells] == [*index[name][:6], index[name][7]] for name, cells in listed.items())


def test_pages_name_the_search_spaces_of_the_tuned_contest():
    study = yaml.safe_load((ROOT / "benchmarks/studies/tuned_contest.yaml").read_text())

    def in_words(values):
        ((kind, (low, high)),) = values.items()
        return f"{kind.replace('_', '-')} from {low:g} to {high:g}"

    spaces = {"ERM": {}}
    for method, space in study["search"]["methods"].items():
        parts = study["methods"][method].get("method", {"init_args": {}})["init_args"].get("methods", [])
        for setting, values in space.items():
            number = re.search(r"methods\.(\d+)\.", setting)
            name = parts[int(number[1])]["class_path"] if number else method
            told = spaces.setdefault(name, {}).setdefault(setting.rpartition(".")[2], in_words(values))
            assert told == in_words(values), "one space for a method alone and in a sum"
    for name, space in spaces.items():
        (line,) = re.findall(
            r"^Search space \(\[equal tuning\]\(\.\./tuning\.md\)\): (.*?)\.$",
            (PAGES / ROWS[name]).read_text(),
            re.MULTILINE | re.DOTALL,
        )
        expected = ", ".join(f"`{setting}` {words}" for setting, words in space.items())
        assert " ".join(line.split()) == (expected or "only what is common to all methods")
    common = [f"`{setting}` {in_words(values)}" for setting, values in study["search"]["common"].items()]
    assert " and ".join(common) in " ".join((ROOT / "docs/tuning.md").read_text().split())
