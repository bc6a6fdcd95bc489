import json

import pandas as pd
import pytest
import yaml

from lookright.errors import InputError
from lookright.rl.agent_study import read_agent_study, run_agent_study

CONFIG = {
    "scenarios": ["basic"],
    "methods": {"PPO": {"method": "ERM"}, "CAMAL": {}},
    "seeds": [0],
    "settings": {"num_envs": 1, "num_steps": 8, "total_timesteps": 8, "checkpoint_episodes": 0, "episodes": 1},
}


def write(path, **changes):
    path.write_text(yaml.safe_dump({**CONFIG, **changes}, sort_keys=False))
    return path


def test_runs_go_seed_by_seed(tmp_path):
    runs = list(
        read_agent_study(write(tmp_path / "a.yaml", scenarios=["basic", "take_cover"], seeds=[0, 1])).runs(tmp_path)
    )
    assert [(run.seed, run.scenario, run.name) for run in runs] == [
        (seed, scenario, name) for seed in (0, 1) for scenario in ("basic", "take_cover") for name in ("PPO", "CAMAL")
    ]
    assert len({run.out for run in runs}) == 8


def test_a_run_is_listed_once_and_shares_its_directory_with_no_other(tmp_path):
    twice = read_agent_study(write(tmp_path / "a.yaml", scenarios=["basic", "take_cover", "basic"]))
    assert [run.scenario for run in twice.runs(tmp_path)] == ["basic", "basic", "take_cover", "take_cover"]
    alike = read_agent_study(write(tmp_path / "b.yaml", scenarios=["a/maze.cfg", "b/maze.cfg"]))
    with pytest.raises(InputError, match="would share the directory '.*/runs/maze/PPO/seed-0'"):
        alike.runs(tmp_path)
    with pytest.raises(InputError, match="asks for no run"):
        read_agent_study(write(tmp_path / "c.yaml", scenarios=[])).runs(tmp_path)


def test_study_does_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr("lookright.rl.agent_study.RANDOM_EPISODES", 1)
    out = tmp_path / "study"
    table = run_agent_study(write(tmp_path / "a.yaml", methods={"PPO": {"method": "ERM"}}), out)
    assert json.loads((out / "scripted.json").read_text()) == {"basic": table["scripted_return"][0]}
    assert table["scripted_return"][0] > table["random_return"][0]
    assert table[["scenario", "name", "method", "seed"]].values.tolist() == [["basic", "PPO", "ERM", 0]]
    model, result = out / table["run"][0] / "model.safetensors", out / table["run"][0] / "result.json"
    written, expected = model.stat().st_mtime_ns, result.read_text()
    result.unlink()
    table = run_agent_study(write(tmp_path / "b.yaml"), out)
    assert table[["name", "method"]].values.tolist() == [["PPO", "ERM"], ["CAMAL", "CAMAL"]]
    assert model.stat().st_mtime_ns == written
    assert result.read_text() == expected
    pd.testing.assert_frame_equal(pd.read_csv(out / "results.csv"), table, check_dtype=False, rtol=1e-4)
    with pytest.raises(InputError, match=r"was done with gamma = 0\.99, and the study now says 0\.5"):
        run_agent_study(write(tmp_path / "c.yaml", settings={**CONFIG["settings"], "gamma": 0.5}), out)


def test_players_that_learn_nothing_play_as_the_agents_do(tmp_path, monkeypatch):
    monkeypatch.setattr("lookright.rl.agent_study.RANDOM_EPISODES", 1)
    played = {"method": "ERM", "targets": ["Cacodemon"]}
    methods = {"often": played | {"frame_skip": 4}, "seldom": played | {"frame_skip": 20}}
    table = run_agent_study(write(tmp_path / "a.yaml", methods=methods), tmp_path / "study")
    assert {*json.loads((tmp_path / "study" / "random.json").read_text())} == {
        "basic, 4 tics a decision",
        "basic, 20 tics a decision",
    }
    assert table["random_return"].nunique() == 2


def test_bad_studies_are_refused(tmp_path):
    with pytest.raises(InputError, match="No file"):
        read_agent_study(tmp_path / "none.yaml")
    with pytest.raises(InputError, match="Unknown key 'environments' .*; expected scenarios, methods, seeds"):
        read_agent_study(write(tmp_path / "a.yaml", environments=["basic"]))
    (tmp_path / "b.yaml").write_text("a: [")
    with pytest.raises(InputError, match="Cannot read"):
        read_agent_study(tmp_path / "b.yaml")
    with pytest.raises(InputError, match="No method 'GOOD'"):
        list(read_agent_study(write(tmp_path / "c.yaml", methods={"GOOD": {}})).runs(tmp_path))
