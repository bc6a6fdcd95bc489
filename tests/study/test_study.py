import json

import pandas as pd
import pytest
import yaml

from lookright import InputError
from lookright.study import read_study, run_study
from lookright.training.module import Training
from lookright.training.run import train


@pytest.fixture
def config(squares, settings, tmp_path):
    """Two methods, two seeds, one protocol."""
    shared = settings(squares, "unused", epochs=1)
    del shared["out"]
    path = tmp_path / "study.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "methods": {
                    "ERM": None,
                    "strong CAMAL": {"method": {"class_path": "CAMAL", "init_args": {"weight": 3.0}}},
                },
                "protocols": {"given": {"protocol": "GivenSplits"}},
                "seeds": [0, 1],
                "settings": shared,
            }
        )
    )
    return path


def test_one_row_per_run_and_split(config, tmp_path):
    out = tmp_path / "out"
    table = run_study(config, out)
    assert list(table.columns[:8]) == [
        "protocol", "name", "method", "model", "seed", "split", "images", "images_with_mask",
    ]  # fmt: skip
    assert table["name"].tolist() == ["ERM", "strong CAMAL"] * 2
    assert table["method"].tolist() == ["ERM", "CAMAL"] * 2
    assert table["seed"].tolist() == [0, 0, 1, 1]
    assert set(table["split"]) == {"test"}
    assert {"accuracy", "worst_group_accuracy", "energy_in_mask", "attention_gap", "pointing_game", "iou"} <= set(table)
    assert {"insertion", "deletion"} <= set(table)
    written = pd.read_csv(out / "results.csv")
    assert list(written) == list(table)
    for row in written.itertuples():
        result = json.loads((out / row.run / "result.json").read_text())
        assert result["splits"]["test"]["accuracy"] == pytest.approx(row.accuracy, abs=1e-5)


def test_a_second_time_does_only_what_is_missing(config, tmp_path):
    out = tmp_path / "out"
    run_study(config, out)
    files = {path: path.stat().st_mtime_ns for path in out.rglob("model.safetensors")}
    (out / "runs/given/ERM/seed-1/result.json").unlink()
    first = pd.read_csv(out / "results.csv")
    run_study(config, out)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("model.safetensors")} == files
    pd.testing.assert_frame_equal(pd.read_csv(out / "results.csv"), first)


def test_an_interrupted_study_goes_on_and_ends_alike(config, tmp_path, monkeypatch):
    whole = run_study(config, tmp_path / "whole")
    training_step, steps = Training.training_step, []

    def interrupt(self, batch, index):
        steps.append(1)
        if len(steps) == 6:
            raise KeyboardInterrupt
        return training_step(self, batch, index)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "training_step", interrupt)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            run_study(config, tmp_path / "broken")
    assert len(pd.read_csv(tmp_path / "broken/results.csv")) == 1
    pd.testing.assert_frame_equal(run_study(config, tmp_path / "broken"), whole)


def test_two_jobs_do_the_same(config, tmp_path):
    alone, together = run_study(config, tmp_path / "one"), run_study(config, tmp_path / "two", jobs=2)
    pd.testing.assert_frame_equal(alone, together, atol=0.05, rtol=0.05)


def test_a_run_that_fails_does_not_stop_the_others(config, tmp_path, monkeypatch):
    content = yaml.safe_load(config.read_text())
    content["methods"] = {"broken": {"method": "ERM", "weights": "nowhere.pth"}, "ERM": {}}
    config.write_text(yaml.safe_dump(content, sort_keys=False))
    with pytest.raises(InputError, match=r"2 of 4 runs failed, the first: .*No weights 'nowhere\.pth'"):
        run_study(config, tmp_path / "out")
    assert pd.read_csv(tmp_path / "out/results.csv")["name"].tolist() == ["ERM", "ERM"]


def test_changed_settings_do_not_mix_with_finished_runs(config, tmp_path):
    run_study(config, tmp_path / "out")
    content = yaml.safe_load(config.read_text())
    content["settings"]["lr"] = 0.5
    config.write_text(yaml.safe_dump(content))
    with pytest.raises(InputError, match=r"was done with lr = 0\.01, and the study now says 0\.5"):
        run_study(config, tmp_path / "out")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "as YAML"),
        ("[]", "is no such study; expected a mapping with methods, seeds"),
        ("{methods: {}}", "is no such study; expected a mapping with methods, seeds"),
        ("{methods: {}, seeds: [], sed: 1}", "'sed'"),
    ],
)
def test_files_that_are_no_study(tmp_path, content, message):
    (tmp_path / "study.yaml").write_text(content)
    with pytest.raises(InputError, match=message):
        read_study(tmp_path / "study.yaml")


def test_models_are_a_dimension_of_the_grid(config, tmp_path):
    content = yaml.safe_load(config.read_text())
    content |= {"models": {"narrow": {"model": "small_cnn", "model_arguments": {"width": 4}}, "small_cnn": None}}
    config.write_text(yaml.safe_dump(content))
    runs = list(read_study(config).runs(tmp_path))
    assert len(runs) == 8
    assert len({run.directory for run in runs}) == 8
    assert {run.settings.model_arguments["width"] for run in runs} == {4, 8}


def test_ray_does_the_same(config, tmp_path):
    pytest.importorskip("ray")
    content = yaml.safe_load(config.read_text())
    content["seeds"] = [0]
    config.write_text(yaml.safe_dump(content))
    alone, there = run_study(config, tmp_path / "one"), run_study(config, tmp_path / "ray", executor="ray", jobs=2)
    pd.testing.assert_frame_equal(alone, there, atol=0.05, rtol=0.05)


def test_a_trained_run_is_only_evaluated(config, tmp_path):
    run = next(iter(read_study(config).runs(tmp_path / "out")))
    train(run.settings)
    assert not (tmp_path / "out" / run.directory / "result.json").exists()
    assert len(run_study(config, tmp_path / "out")) == 4
