"""Benchmarks and studies fit the library as it is: what they build when they are loaded can be built."""

import json
import re
import runpy
from dataclasses import replace
from pathlib import Path

import pytest

from lookright.study.config import read_study
from lookright.training.settings import instantiate

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
STUDIES = sorted(path for path in BENCHMARKS.glob("studies/*.yaml") if not path.stem.startswith("rl"))


@pytest.mark.parametrize("script", sorted(BENCHMARKS.glob("*.py")), ids=lambda path: path.stem)
def test_every_script_loads(script, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))  # as for a script that is started
    try:
        runpy.run_path(str(script), run_name="loaded")
    except ModuleNotFoundError as error:
        if error.name.partition(".")[0] in {"lookright", *(path.stem for path in BENCHMARKS.glob("*.py"))}:
            raise
        pytest.skip(f"compares with {error.name}, which is not installed")


@pytest.mark.parametrize("script", ["which_method", "methods_by_data", "agents_tables"])
def test_pages_have_the_figures_of_the_committed_tables(script, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import study_tables

    for page, tables in runpy.run_path(str(BENCHMARKS / f"{script}.py"))["PAGES"].items():
        text = page.read_text(encoding="utf-8")
        assert study_tables.filled(page, f"{script}.py", tables) == text, f"run python benchmarks/{script}.py"
        kept = re.sub(r"<!-- [\w ]+: written by .+? -->.*?<!-- end -->", "", text, flags=re.DOTALL)
        if page.parent.name == "docs":  # costs in the README: tests/methods/test_index.py
            # Words in the tables of rl.md have digits, so that there only what begins a cell is a figure.
            figure = r"^\|.*\| [−+]?\d" if page.name == "rl.md" else r"^\|.*\d"
            assert not re.findall(figure, kept, re.MULTILINE), "a table whose figures no command writes"


def test_a_page_whose_marks_are_not_whole_stays_as_it_is(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import study_tables

    page = tmp_path / "page.md"
    begin = "<!-- {}: written by benchmarks/a.py -->\n"
    for text in (
        f"{begin.format('one')}text",
        f"{begin.format('one')}text\n{begin.format('two')}<!-- end -->\n",
        "text",
    ):
        page.write_text(text)
        with pytest.raises(ValueError, match="has no"):
            study_tables.fill_in("a.py", {page: {"one": lambda: "table"}})
        assert page.read_text() == text


def test_every_method_of_the_studies_has_a_line(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    found = runpy.run_path(str(BENCHMARKS / "methods_by_data.py"))
    assert found["of_the_studies"]() == set(found["NEEDS"])


@pytest.mark.parametrize("config", STUDIES, ids=lambda path: path.stem)
def test_every_method_of_a_study_can_be_built(config, tmp_path):
    study = replace(read_study(config), seeds=[0])
    built = [(run.candidate_of, instantiate(run.settings)) for run in study.runs(tmp_path)]
    assert {method or settings.name for method, settings in built} >= set(study.methods)


@pytest.mark.parametrize("config", sorted(BENCHMARKS.glob("studies/rl*.yaml")), ids=lambda path: path.stem)
def test_agents_of_a_study_can_be_built(config, tmp_path):
    rl = pytest.importorskip("lookright.rl.agent_study")
    from lookright.rl.agent_settings import instantiate

    study = replace(rl.read_agent_study(config), seeds=[0])
    assert {instantiate(settings).name for settings in study.runs(tmp_path)} == set(study.methods)


def test_how_fast_the_bestiary_renders_is_written(tmp_path, monkeypatch):
    pytest.importorskip("vizdoom")
    asked = {"images_per_pair": 1, "images_at_home": 1, "size": 32, "workers": 1, "out": tmp_path / "speed.json"}
    monkeypatch.setattr("sys.argv", ["bestiary_speed.py", *(f"--{name}={value}" for name, value in asked.items())])
    runpy.run_path(str(BENCHMARKS / "bestiary_speed.py"), run_name="__main__")
    assert json.loads((tmp_path / "speed.json").read_text())["images"] > 0
