"""Where the figures of a training go besides `metrics.csv`."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from lightning.fabric.loggers import Logger, TensorBoardLogger

from lookright.errors import InputError, require_one_of

EXPERIMENT = "lookright"


def build_loggers(names: Sequence[str], out: Path) -> list[Logger]:
    """The loggers of a run.

    Args:
        names: `tensorboard` writes into the run's directory; `wandb` goes to Weights & Biases, whose package and
            account are the user's (`WANDB_MODE=offline` keeps it here); `mlflow` goes where `MLFLOW_TRACKING_URI` says,
            and into `mlflow.db` in the run's directory where it says nothing.
        out: directory of the run.

    Raises:
        InputError: a name that is not known, or a package that is not installed.
    """
    return [_built(name, out) for name in names]


def _built(name: str, out: Path) -> Logger:
    require_one_of("loggers", name, LOGGERS)
    try:
        return LOGGERS[name](out)
    except ModuleNotFoundError as error:
        raise InputError(f"loggers = {name!r} needs its package; install it with pip install {name}.") from error


def _tensorboard(out: Path) -> Logger:
    return TensorBoardLogger(out, "", "tensorboard")


def _wandb(out: Path) -> Logger:
    from lightning.pytorch.loggers import WandbLogger

    return WandbLogger(name=out.name, save_dir=out, project=EXPERIMENT)


def _mlflow(out: Path) -> Logger:
    from lightning.pytorch.loggers import MLFlowLogger

    own = f"sqlite:///{out.resolve() / 'mlflow.db'}"
    return MLFlowLogger(EXPERIMENT, run_name=out.name, tracking_uri=os.environ.get("MLFLOW_TRACKING_URI", own))


LOGGERS: dict[str, Callable[[Path], Logger]] = {"tensorboard": _tensorboard, "wandb": _wandb, "mlflow": _mlflow}
