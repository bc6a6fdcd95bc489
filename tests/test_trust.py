import sys

import pytest
import yaml

from lookright import InputError
from lookright.cli import main
from lookright.training.run import load_run, train
from lookright.trust import trusting

OWN = """
from pathlib import Path
from lookright.methods import ERM
Path("ran").touch()
class Own(ERM): ...
def own_map(classifier, output, target): ...
def build(num_classes, width): ...
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module that leaves a file behind when it is imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "of_a_stranger.py").write_text(OWN)
    yield "of_a_stranger"
    sys.modules.pop("of_a_stranger", None)


@pytest.mark.parametrize(
    "change",
    [
        {"method": {"class_path": "of_a_stranger.Own"}},
        {"method": "of_a_stranger.Own"},
        {"method": {"class_path": "CAMAL", "init_args": {"map": "of_a_stranger.own_map"}}},
        {"model": "of_a_stranger.build"},
        {"map": "of_a_stranger.own_map"},
        {"measures": ["of_a_stranger.own_map"]},
        {"task": "of_a_stranger.own_map"},
        {"protocol": {"class_path": "of_a_stranger.Own"}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_directory_of_a_run_imports_nothing_of_strangers(module, squares, settings, tmp_path, capsys, change):
    train(settings(squares, tmp_path / "run", epochs=1))
    path = tmp_path / "run/config.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | change))
    for command in (["evaluate", "run"], ["report", "run"], ["explain", "run", str(squares / "images/0.png")]):
        main(command)
        assert not (tmp_path / "ran").exists()
    with pytest.raises(InputError, match="names 'of_a_stranger.*--trust"):
        load_run(tmp_path / "run")
    (tmp_path / "run/model.safetensors").unlink()
    assert main(["train", "--resume", "run"]) == 2
    assert "--trust" in capsys.readouterr().err
    assert not (tmp_path / "ran").exists()


def test_what_the_user_names_or_trusts_is_imported(module, squares, settings, tmp_path, capsys):
    train(settings(squares, tmp_path / "run", epochs=1, method="of_a_stranger.Own"))
    with pytest.raises(InputError, match="would run code outside of lookright"):
        load_run(tmp_path / "run")
    with trusting():
        assert type(load_run(tmp_path / "run").settings.method).__name__ == "Own"
    assert main(["evaluate", "run", "--trust"]) == 0


def test_models_of_torchvision_and_timm_need_no_trust(squares, settings, tmp_path):
    name = "torchvision.models.mobilenet_v3_small"
    train(settings(squares, tmp_path / "run", epochs=1, model=name, model_arguments={}))
    assert load_run(tmp_path / "run").settings.model == name
