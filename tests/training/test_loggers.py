import csv
import sqlite3

import pytest

from lookright import InputError
from lookright.training.loggers import build_loggers
from lookright.training.run import train


def test_a_name_that_is_not_known(tmp_path):
    with pytest.raises(InputError, match="expected one of tensorboard, wandb, mlflow"):
        build_loggers(["comet"], tmp_path)


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_package_that_is_not_there(tmp_path, monkeypatch, name):
    def absent(*_, **__):
        raise ModuleNotFoundError(name)

    kind = {"wandb": "WandbLogger", "mlflow": "MLFlowLogger"}[name]
    monkeypatch.setattr(f"lightning.pytorch.loggers.{kind}", absent)
    with pytest.raises(InputError, match=f"pip install {name}"):
        build_loggers([name], tmp_path)


def test_mlflow_keeps_the_figures_in_the_run(tmp_path, squares, settings, monkeypatch):
    pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    train(settings(squares, tmp_path / "run", epochs=1, loggers=["mlflow"]))
    with sqlite3.connect(tmp_path / "run/mlflow.db") as base:
        kept = dict(base.execute("select key, value from metrics where key = 'val/accuracy'").fetchall())
    with (tmp_path / "run/metrics.csv").open() as file:
        told = [row["val/accuracy"] for row in csv.DictReader(file) if row.get("val/accuracy")]
    assert kept["val/accuracy"] == pytest.approx(float(told[-1]))


def test_weights_and_biases_stay_here_offline(tmp_path, squares, settings, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    train(settings(squares, tmp_path / "run", epochs=1, loggers=["wandb"]))
    assert [*(tmp_path / "run").rglob("*.wandb")]
