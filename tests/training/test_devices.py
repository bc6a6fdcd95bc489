import os
import subprocess
import sys

import pandas as pd
import pytest
import safetensors.torch
import yaml

from lookright import InputError
from lookright.run_directory import read_json
from lookright.training import devices
from lookright.training.run import train
from lookright.training.settings import MachineSettings, read_settings

PLAIN = """
from torch import nn

def plain_network(num_classes):
    layers = [nn.Conv2d(3, 8, 3, 4, 1), nn.Softplus(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes)]
    return nn.Sequential(*layers)
"""
METHODS = {"class_path": "Sum", "init_args": {"methods": [{"class_path": name} for name in ("CAMAL", "SAGE", "RRR")]}}


def test_two_processes_train_as_one(own_squares, settings, tmp_path, monkeypatch):
    """With guidance by masks that they have unequally many of: the same weights, and one process afterwards."""
    (tmp_path / "plain_network_module.py").write_text(PLAIN)
    monkeypatch.syspath_prepend(str(tmp_path))
    table = pd.read_csv(own_squares / "labels.csv", keep_default_na=False)
    table.loc[table.index % 3 > 0, "mask"] = ""
    table.to_csv(own_squares / "labels.csv", index=False)
    arguments = {
        "model": "plain_network_module.plain_network",
        "model_arguments": {},
        "method": METHODS,
        "optimizer": "SGD",
        "epochs": 2,
        "batch_size": 4,
        "lr": 0.05,
        "loggers": [],
        "faithfulness": "none",
        "gallery": 0,
    }
    alone = train(settings(own_squares, tmp_path / "alone", **arguments))
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(settings(own_squares, tmp_path / "both", devices=2, **arguments)))
    subprocess.run(
        [sys.executable, "-m", "lookright.cli", "train", "--config", config],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
        check=True,
        timeout=300,
    )
    one, both = (safetensors.torch.load_file(tmp_path / name / "model.safetensors") for name in ("alone", "both"))
    assert one.keys() == both.keys()
    for name, weight in both.items():
        assert weight.numpy() == pytest.approx(one[name].numpy(), rel=1e-4, abs=1e-6)
    logs = [pd.read_csv(tmp_path / name / "metrics.csv") for name in ("alone", "both")]
    assert logs[1].to_numpy() == pytest.approx(logs[0].to_numpy(), rel=1e-3, abs=1e-5)
    assert alone.settings.method.members[0].step == 8
    assert set(read_json(tmp_path / "both" / "result.json", ("splits",))["splits"]) == {"test"}
    assert read_settings(tmp_path / "both" / "config.yaml").devices == 2


def test_a_batch_that_devices_cannot_share_alike_is_refused(squares, settings, tmp_path):
    with pytest.raises(InputError, match="batch_size = 5 and devices = 2"):
        train(settings(squares, tmp_path / "run", devices=2, batch_size=5))
    assert not (tmp_path / "run").exists()


def test_a_second_training_on_several_devices_is_refused(monkeypatch):
    monkeypatch.setattr(devices, "_has_trained_on_several", True)
    with pytest.raises(InputError, match="a command of its own"):
        devices.require_device(MachineSettings(accelerator="cpu", devices=2), 12)
    devices.require_device(MachineSettings(accelerator="cpu"), 12)
