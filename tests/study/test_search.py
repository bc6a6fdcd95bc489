"""Random search, from the key in a study's file to the runs."""

import json

import pandas as pd
import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from lookright import InputError
from lookright.cli import main
from lookright.study import read_study
from lookright.study.search import Search, read_search

NAMES = st.text("abcdefgh .+", min_size=1, max_size=6)
ENDS = st.tuples(st.floats(1e-6, 1e4), st.floats(1e-6, 1e4)).map(sorted).filter(lambda ends: ends[0] < ends[1])
VALUES = st.one_of(
    st.builds(lambda kind, ends: {kind: list(ends)}, st.sampled_from(["uniform", "log_uniform"]), ENDS),
    st.lists(st.integers() | st.booleans() | st.text(max_size=3), min_size=1, max_size=4),
)
SPACES = st.dictionaries(NAMES, VALUES, min_size=1, max_size=3)


@given(SPACES, st.lists(NAMES, min_size=1, max_size=4, unique=True), st.integers(2, 6))
def test_every_method_has_as_many_draws_all_of_them_in_the_space(common, methods, draws):
    found = read_search({"draws": draws, "common": common}).candidates(methods)
    assert [*found] == methods
    for drawn in found.values():
        own, *others = drawn.values()
        assert own == {}
        assert len(others) == draws - 1
        for settings in others:
            assert [*settings] == [*common]
            for setting, values in common.items():
                if isinstance(values, list):
                    assert settings[setting] in values
                else:
                    ((low, high),) = values.values()
                    assert low <= settings[setting] <= high


@given(SPACES, SPACES, NAMES, NAMES, st.integers(2, 5))
def test_a_method_a_draw_or_a_setting_more_changes_no_other_draw(common, further, method, other, draws):
    assume(method != other)
    before = Search(draws, common).candidates([method])[method]
    after = Search(draws + 1, {**further, **common}).candidates([other, method])[method]
    for name, settings in before.items():
        assert settings.items() <= after[name].items()


def test_methods_draws_and_settings_draw_for_themselves():
    space = {"lr": {"uniform": [0, 1]}, "weight_decay": {"uniform": [0, 1]}}
    found = Search(3, space).candidates(["ERM", "CAMAL"])
    values = [value for drawn in found.values() for settings in drawn.values() for value in settings.values()]
    assert len({*values}) == len(values) == 8


def test_a_logarithmic_range_has_as_many_draws_in_each_decade():
    drawn = Search(1000, {"lr": {"log_uniform": [0.001, 0.1]}}).candidates(["ERM"])["ERM"]
    low = sum(settings["lr"] < 0.01 for settings in drawn.values() if settings)
    assert 430 < low < 570


def test_a_methods_own_space_replaces_and_extends_the_common_one():
    search = Search(2, {"lr": [1], "size": [16]}, {"CAMAL": {"lr": [2], "method.init_args.weight": [3]}})
    found = search.candidates(["ERM", "CAMAL"])
    assert found["ERM"]["draw 1"] == {"lr": 1, "size": 16}
    assert found["CAMAL"]["draw 1"] == {"lr": 2, "size": 16, "method.init_args.weight": 3}


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ({"draws": 1, "common": {"lr": [1]}}, "draws: 1; expected a whole number from 2"),
        ({"draws": True, "common": {"lr": [1]}}, "draws: True; expected a whole number"),
        ({"common": {"lr": [1]}}, "expected the number of 'draws' and spaces"),
        ({"draws": 3, "spaces": {}}, "expected the number of 'draws' and spaces"),
        ({"draws": 3, "common": [1]}, r"common: \[1\]; expected settings"),
        ({"draws": 3, "methods": ["ERM"]}, r"methods: \['ERM'\]; expected a space by the name"),
        ({"draws": 3, "common": {"lr": []}}, r"common: lr: \[\]; expected {log_uniform"),
        ({"draws": 3, "common": {"lr": 0.1}}, r"common: lr: 0\.1; expected {log_uniform"),
        ({"draws": 3, "common": {"lr": {"normal": [0, 1]}}}, "normal.*expected {log_uniform"),
        ({"draws": 3, "methods": {"ERM": {"lr": {"uniform": [1, 0]}}}}, r"ERM: lr: uniform: \[1, 0\]; .*smaller first"),
        ({"draws": 3, "common": {"lr": {"uniform": [0, float("inf")]}}}, "expected two numbers"),
        ({"draws": 3, "common": {"lr": {"log_uniform": [0, 1]}}}, "expected numbers above 0"),
    ],
)
def test_a_search_that_cannot_be_is_refused(search, message):
    with pytest.raises(InputError, match=message):
        read_search(search)


@pytest.fixture
def config(squares, settings, tmp_path):
    shared = settings(squares, "unused", budget=1, faithfulness="none")
    del shared["out"]
    content = {
        "methods": {
            "ERM": None,
            "both": {"method": {"class_path": "Sum", "init_args": {"methods": ["Graft", {"class_path": "CAMAL"}]}}},
        },
        "search": {
            "draws": 2,
            "common": {"lr": {"log_uniform": [0.001, 0.01]}},
            "methods": {
                "both": {
                    "method.init_args.methods.0.init_args.share": {"uniform": [0.25, 1]},
                    "method.init_args.methods.1.init_args.weight": [3, 5],
                }
            },
        },
        "seeds": [0, 1],
        "settings": shared,
    }
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def changed(config, **changes):
    config.write_text(yaml.safe_dump(yaml.safe_load(config.read_text()) | changes, sort_keys=False))
    return config


def test_draws_become_runs_and_reach_the_methods_of_a_sum(config, tmp_path):
    runs = list(read_study(config).runs(tmp_path))
    names = ["ERM, draw 0", "ERM, draw 1", "both, draw 0", "both, draw 1"]
    assert [run.settings.name for run in runs] == names * 2
    assert [run.candidate_of for run in runs] == ["ERM", "ERM", "both", "both"] * 2
    own, drawn = (run.settings.method.init_args.methods for run in runs[2:4])
    assert (own[0].init_args.share, own[1].init_args.weight) == (0.75, 1.0)
    assert drawn[1].init_args.weight in (3, 5)
    assert f"methods.0.share = {drawn[0].init_args.share}" in runs[3].drawn
    assert runs[1].settings.lr == runs[5].settings.lr != runs[0].settings.lr


@pytest.mark.parametrize(
    ("setting", "values", "message"),
    [
        ("method.init_args.methods.2.init_args.share", [1], "No '2' in a list of 2; expected one of 0, 1"),
        ("method.init_args.methods.0.init_args.shar", [1], "shar"),
        ("lr.init_args", [1], "holds no settings"),
        ("leraning_rate", [1], "leraning_rate"),
        ("method.init_args.methods.0.init_args.share", [1.5], r"'both, draw 1' would not run .*share = 1\.5"),
    ],
)
def test_a_space_of_what_is_no_setting_is_refused_before_anything_runs(config, tmp_path, setting, values, message):
    search = yaml.safe_load(config.read_text())["search"] | {"methods": {"both": {setting: values}}}
    with pytest.raises(InputError, match=message):
        list(read_study(changed(config, search=search)).runs(tmp_path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"candidates": {"ERM": {"fast": {"lr": 0.1}}}}, "of ERM; expected none beside the key 'search'"),
        ({"search": {"draws": 2, "methods": {"CAMAL": {"lr": [1]}}}}, "a space for 'CAMAL', which is no method"),
        ({"search": {"draws": 2, "methods": {"ERM": {"lr": [1]}}}}, "nothing to draw for 'both'"),
        ({"search": 3}, "search: 3 in .*expected a dict"),
    ],
)
def test_a_search_that_does_not_fit_its_study_is_refused(config, tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        list(read_study(changed(config, **changes)).runs(tmp_path))


def test_a_search_needs_images_to_choose_by(config, own_squares, tmp_path, capsys):
    table = pd.read_csv(own_squares / "labels.csv")
    table["split"] = table["split"].replace("val", "other")
    table.to_csv(own_squares / "labels.csv", index=False)
    changed(config, protocols={"given": {"protocol": "GivenSplits", "data": str(own_squares)}})
    assert main(["study", str(config), "--out", str(tmp_path / "out")]) == 2
    assert "the protocol 'given' has none" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_a_search_as_typed(config, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["study", str(config), "--out", str(out)]) == 0
    table = pd.read_csv(out / "results.csv", keep_default_na=False)
    assert len(table) == 8
    assert {*table["candidate_of"]} == {"ERM", "both"}
    assert (table["drawn"][table["name"] == "ERM, draw 0"] == "").all()
    assert table["drawn"][table["name"] == "ERM, draw 1"].str.fullmatch(r"lr = 0\.00\d+").all()
    compute = [json.loads(path.read_text())["compute"] for path in out.rglob("result.json")]
    assert compute == pytest.approx([1] * 8, rel=0.05)
    assert main(["results", str(out), "--out", str(tmp_path / "page.md")]) == 0
    page = (tmp_path / "page.md").read_text()
    assert "### What tuning gave" in page
    assert "| all | 8 | 8.0 |" in page
    assert main(["report", str(out)]) == 0
    html = (out / "report.html").read_text()
    assert '<section id="tuning">' in html
    assert '<section id="cost">' in html
