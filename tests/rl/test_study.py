import pandas as pd
import pytest
import yaml

from lookright.errors import InputError
from lookright.rl.study import read_study, study

CONFIG = {
    "scenarios": ["basic", "take_cover"],
    "methods": {"PPO": {"method": "ERM"}, "CAMAL": {}},
    "seeds": [0],
    "settings": {"num_envs": 1, "num_steps": 8, "total_timesteps": 8, "checkpoint_episodes": 0, "episodes": 1},
}


def write(path, **changes):
    path.write_text(yaml.safe_dump({**CONFIG, **changes}, sort_keys=False))
    return path


def test_study_does_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr("lookright.rl.study.RANDOM_EPISODES", 1)
    out = tmp_path / "study"
    table = study(write(tmp_path / "a.yaml", seeds=[0], scenarios=["basic"]), out)
    assert table[["scenario", "name", "method", "seed"]].values.tolist() == [
        ["basic", "PPO", "ERM", 0],
        ["basic", "CAMAL", "CAMAL", 0],
    ]
    written = {run: (out / run / "model.safetensors").stat().st_mtime_ns for run in table["run"]}
    (out / table["run"][1] / "result.json").unlink()
    table = study(write(tmp_path / "b.yaml"), out)
    assert len(table) == 4
    assert set(table["scenario"]) == {"basic", "take_cover"}
    for run, time in written.items():
        assert (out / run / "model.safetensors").stat().st_mtime_ns == time
    pd.testing.assert_frame_equal(pd.read_csv(out / "results.csv"), table, check_dtype=False, rtol=1e-4)
    with pytest.raises(InputError, match=r"has gamma = 0\.99, and the study now says 0\.5"):
        study(write(tmp_path / "c.yaml", settings={**CONFIG["settings"], "gamma": 0.5}), out)


def test_bad_studies_are_refused(tmp_path):
    with pytest.raises(InputError, match="No file"):
        read_study(tmp_path / "none.yaml")
    with pytest.raises(InputError, match="expected a mapping with scenarios, methods, seeds"):
        read_study(write(tmp_path / "a.yaml", environments=["basic"]))
    (tmp_path / "b.yaml").write_text("a: [")
    with pytest.raises(InputError, match="Cannot read"):
        read_study(tmp_path / "b.yaml")
    with pytest.raises(InputError, match="No method 'GOOD'"):
        list(read_study(write(tmp_path / "c.yaml", methods={"GOOD": {}})).runs(tmp_path))
