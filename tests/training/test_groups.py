"""Methods that need groups, in runs."""

import pandas as pd
import pytest
import safetensors.torch
import torch

from lookright import InputError
from lookright.training.loop import TrainingLoop
from lookright.training.run import resume, train


class Killed(BaseException):
    """As sudden as a signal."""


def weights(run):
    return safetensors.torch.load_file(run.directory / "model.safetensors")


def kill_in_step(monkeypatch, step):
    learn = TrainingLoop._learn

    def learn_or_die(self, batch, moves):
        if self.progress.step == step:
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
    for name, weight in weights(whole).items():
        assert torch.equal(weight, weights(again)[name]), name
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
