"""Where the figures of a training go besides `metrics.csv`."""

from collections.abc import Sequence
from pathlib import Path

from lightning.fabric.loggers import Logger, TensorBoardLogger

from lookright.errors import InputError, require_one_of

LOGGERS = ("tensorboard", "wandb")


def build_loggers(names: Sequence[str], out: Path) -> list[Logger]:
    """The loggers of a run.

    Args:
        names: `tensorboard` writes into the run's directory; `wandb` goes to Weights & Biases, whose package and
            account are the user's.
        out: directory of the run.

    Raises:
        InputError: a name that is not known, or a package that is not installed.
    """
    loggers: list[Logger] = []
    for name in names:
        require_one_of("loggers", name, LOGGERS)
        if name == "tensorboard":
            loggers.append(TensorBoardLogger(out, "", "tensorboard"))
            continue
        try:
            from lightning.pytorch.loggers import WandbLogger

            loggers.append(WandbLogger(name=out.name, save_dir=out, project="lookright"))
        except ModuleNotFoundError as error:
            raise InputError("loggers = 'wandb' needs its package; install it with pip install wandb.") from error
    return loggers
