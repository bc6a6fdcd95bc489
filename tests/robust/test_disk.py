"""Disks that are full and folders that go while a command runs: a sentence, and what was good is kept."""

import shutil

import pytest
import safetensors.torch
import yaml

from lookright.cli import main
from lookright.run_directory import read_checkpoint
from lookright.training import results
from lookright.training.loop import TrainingLoop
from lookright.training.run import train


def weights(run):
    return {name: weight.tolist() for name, weight in safetensors.torch.load_file(run / "model.safetensors").items()}


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def config(own_squares, settings, tmp_path):
    """The settings of a short training, as a file."""
    path = tmp_path / "config.yaml"
    path.write_text(
        yaml.safe_dump(settings(own_squares, tmp_path / "run", batch_size=6, epochs=2, faithfulness="none"))
    )
    return path


def before_step(monkeypatch, step, happens):
    learn = TrainingLoop._learn

    def learn_then(self, batch, moves):
        if self.progress.step == step:
            happens()
        learn(self, batch, moves)

    monkeypatch.setattr(TrainingLoop, "_learn", learn_then)


def test_a_full_disk_ends_a_training_in_a_sentence_and_the_run_goes_on_from_its_last_checkpoint(
    config, tmp_path, monkeypatch, capsys, fill_disk
):
    unbroken = train(yaml.safe_load(config.read_text()) | {"out": str(tmp_path / "unbroken")})
    with monkeypatch.context() as patch:
        before_step(patch, 4, lambda: fill_disk(True))  # three steps are an epoch
        assert main(["train", "--config", str(config), "--evaluate", "false"]) == 2
    fill_disk(False)
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("lookright: The system refuses ")
    assert "File too large. What was finished is kept." in said
    assert read_checkpoint(tmp_path / "run/last.ckpt")["step"] == 3
    assert main(["train", "--resume", str(tmp_path / "run")]) == 0
    assert weights(tmp_path / "run") == weights(unbroken.directory)


def test_a_full_disk_leaves_an_earlier_evaluation_as_it_was(config, tmp_path, monkeypatch, capsys, fill_disk):
    run = tmp_path / "run"
    assert main(["train", "--config", str(config)]) == 0
    before = contents(run)
    fill_disk(True)
    assert main(["evaluate", str(run)]) == 2
    fill_disk(False)
    assert "File too large" in capsys.readouterr().err
    assert contents(run) == before


@pytest.mark.parametrize("folder", ["run", "squares"])
def test_a_folder_that_goes_ends_a_training_in_a_sentence(config, tmp_path, monkeypatch, capsys, folder):
    before_step(monkeypatch, 4, lambda: shutil.move(tmp_path / folder, tmp_path / "elsewhere"))
    assert main(["train", "--config", str(config), "--evaluate", "false"]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("lookright: ")
    assert folder in said
    monkeypatch.undo()
    shutil.move(tmp_path / "elsewhere", tmp_path / folder)
    assert main(["train", "--resume", str(tmp_path / "run")]) == 0


def test_images_that_are_written_during_an_evaluation_leave_the_earlier_one_as_it_was(
    config, own_squares, tmp_path, monkeypatch, capsys
):
    run, measure = tmp_path / "run", results.evaluate_split
    assert main(["train", "--config", str(config)]) == 0
    before = contents(run)

    def changing(*arguments, **more):
        (own_squares / "images/29.png").touch()
        return measure(*arguments, **more)

    monkeypatch.setattr(results, "evaluate_split", changing)
    assert main(["evaluate", str(run)]) == 2
    assert "files changed while they were in use" in capsys.readouterr().err
    assert contents(run) == before
