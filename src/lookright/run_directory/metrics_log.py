"""The run's log as one CSV file that survives a resume."""

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from lookright.replacing import replacing


class MetricsLog(Logger):
    """Writes `metrics.csv`: one row per logged step, one column per metric.

    Args:
        path: of the CSV file.
        step: keep the rows up to this step of a file that is there already, and go on from it.
    """

    def __init__(self, path: Path, step: int = 0) -> None:
        super().__init__()
        self.path = path
        self.rows: dict[int, dict[str, float]] = {}
        if step and path.is_file():
            for row in pd.read_csv(path).to_dict("records"):
                if row["step"] < step:
                    self.rows[int(row["step"])] = {str(key): value for key, value in row.items() if key != "step"}

    @property
    def name(self) -> str:
        """Of the logger."""
        return "metrics"

    @property
    def version(self) -> int:
        """A run has one log."""
        return 0

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """The settings are in config.yaml."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add to the row of a step."""
        row = {name: float(value) for name, value in metrics.items() if name != "epoch"}
        self.rows.setdefault(step or 0, {}).update(row)

    @rank_zero_only
    def save(self) -> None:
        """Write the file, whole."""
        if self.rows:
            table = pd.DataFrame.from_dict(self.rows, orient="index").rename_axis("step").sort_index()
            with replacing(self.path) as draft:
                table.to_csv(draft, float_format="%.6g")

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write the file."""
        self.save()
