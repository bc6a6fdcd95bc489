"""Methods that need groups, in runs."""

import pandas as pd
import pytest
import safetensors.torch
import torch

from lookright import InputError
from lookright.run_directory import read_facts, read_json
from lookright.training.loop import TrainingLoop
from lookright.training.results import evaluate_run
from lookright.training.run import resume, train


class Killed(BaseException):
    """As sudden as a signal."""


def weights(run):
    return safetensors.torch.load_file(run.directory / "model.safetensors")


def assert_equal(one, other):
    for name, weight in weights(one).items():
        assert torch.equal(weight, weights(other)[name]), name


def kill_in_step(monkeypatch, step, directory=None):
    learn = TrainingLoop._learn

    def learn_or_die(self, batch, moves):
        if self.progress.step == step and directory in (None, self.settings.out.name):
            raise Killed
        learn(self, batch, moves)

    monkeypatch.setattr(TrainingLoop, "_learn", learn_or_die)


def change(folder, **columns):
    """Other cells in labels.csv; None takes a column away."""
    table = pd.read_csv(folder / "labels.csv").assign(**{name: cell for name, cell in columns.items() if cell})
    table.drop(columns=[name for name, cell in columns.items() if cell is None]).to_csv(
        folder / "labels.csv", index=False
    )


def test_group_dro_learns_the_groups_of_the_table_and_resumes_bit_for_bit(squares, settings, tmp_path, monkeypatch):
    config = {"method": "GroupDRO", "balance": "group", "checkpoint_every": 2}
    whole = train(settings(squares, tmp_path / "whole", **config))
    method = whole.settings.method
    assert sum(method.sizes) == 54
    assert len(method.sizes) == 6  # three colours in two domains
    assert not torch.equal(method.group_weight, torch.full((6,), 1 / 6))
    with monkeypatch.context() as patch:
        kill_in_step(patch, 7)
        with pytest.raises(Killed):
            train(settings(squares, tmp_path / "killed", **config))
    again = resume(tmp_path / "killed")
    assert_equal(again, whole)
    assert torch.equal(again.settings.method.group_weight, method.group_weight)


def test_the_column_group_tells_before_label_and_domain(own_squares, settings, tmp_path):
    change(own_squares, group=["easy"] * 25 + ["hard"] * 5)
    run = train(settings(own_squares, tmp_path / "run", method="GroupDRO", epochs=1))
    assert run.settings.method.sizes == [18, 0]


def test_groups_that_are_not_there_are_refused_before_anything_is_written(own_squares, settings, tmp_path):
    change(own_squares, domain=None)
    for more in ({"method": "GroupDRO"}, {"balance": "group"}):
        with pytest.raises(InputError, match="18 of 18 have none. Fill in the column group"):
            train(settings(own_squares, tmp_path / "run", **more))
    swap = {"class_path": "BackgroundSwap", "init_args": {"domain": "other"}}
    with pytest.raises(InputError, match="BackgroundSwap needs domains"):
        train(settings(own_squares, tmp_path / "run", method=swap))
    assert not (tmp_path / "run").exists()


JTT = {"class_path": "JTT", "init_args": {"first_epochs": 2, "upweight": 3}}


def test_jtt_trains_twice_and_resumes_bit_for_bit(squares, settings, tmp_path, monkeypatch):
    config = {"method": JTT, "checkpoint_every": 2}
    whole = train(settings(squares, tmp_path / "whole", **config))
    found = read_json(whole.directory / "first/finish.json")
    assert found["mistakes"] == found["repeats"].count(3)
    assert set(found["repeats"]) == {1, 3}
    shown = sum(found["repeats"])
    assert read_facts(whole.directory / "model.safetensors")["step"] <= 3 * (shown // 12)
    assert len(pd.read_csv(whole.directory / "metrics.csv")["val/accuracy"].dropna()) == 3
    for step, first in ((5, True), (3, False)):
        out = tmp_path / f"killed{step}"
        with monkeypatch.context() as patch:
            kill_in_step(patch, step, "first" if first else out.name)
            with pytest.raises(Killed):
                train(settings(squares, out, **config))
        assert (out / "first/finish.json").exists() != first
        assert_equal(resume(out), whole)


def test_the_second_training_of_jtt_begins_where_the_first_began(squares, settings, tmp_path):
    """Where nothing is shown more often, it is plain training."""
    twice = {"class_path": "JTT", "init_args": {"first_epochs": 1, "upweight": 1}}
    run = train(settings(squares, tmp_path / "twice", method=twice))
    assert_equal(run, train(settings(squares, tmp_path / "plain")))


MENTOR = {"class_path": "MENTOR", "init_args": {"first_epochs": 1, "hidden": 8}}


def test_mentor_begins_with_the_backbone_of_its_first_training_and_resumes(squares, settings, tmp_path, monkeypatch):
    config = {"epochs": 1, "checkpoint_every": 2}
    whole = train(settings(squares, tmp_path / "whole", method=MENTOR, **config))
    first = whole.directory / "first/model.safetensors"
    assert_equal(whole, train(settings(squares, tmp_path / "given", weights=str(first), **config)))
    with monkeypatch.context() as patch:
        kill_in_step(patch, 3, "first")
        with pytest.raises(Killed):
            train(settings(squares, tmp_path / "killed", method=MENTOR, **config))
    assert_equal(resume(tmp_path / "killed"), whole)


def test_dfr_replaces_the_last_layer_of_plain_training(squares, settings, tmp_path, monkeypatch):
    plain = train(settings(squares, tmp_path / "plain"))
    run = train(settings(squares, tmp_path / "run", method="DFR"))
    changed = {name for name, weight in weights(run).items() if not torch.equal(weight, weights(plain)[name])}
    assert changed == {"fc.weight", "fc.bias"}
    done = read_json(run.directory / "finish.json")
    assert done["penalty"] in (1.0, 0.7, 0.3, 0.1, 0.07, 0.03, 0.01)
    assert evaluate_run(run)["splits"]["test"]["accuracy"] > 0.5
    with monkeypatch.context() as patch:
        kill_in_step(patch, 7)
        with pytest.raises(Killed):
            train(settings(squares, tmp_path / "killed", method="DFR", checkpoint_every=2))
    assert_equal(resume(tmp_path / "killed"), run)


def test_dfr_needs_every_class_in_val(own_squares, settings, tmp_path):
    table = pd.read_csv(own_squares / "labels.csv")
    table[(table["split"] != "val") | (table["label"] != "red")].to_csv(own_squares / "labels.csv", index=False)
    with pytest.raises(InputError, match="no image of 'red'"):
        train(settings(own_squares, tmp_path / "run", method="DFR"))


def test_two_trainings_on_several_devices_are_refused(squares, settings, tmp_path):
    with pytest.raises(InputError, match="one device only"):
        train(settings(squares, tmp_path / "run", method=JTT, devices=2))
