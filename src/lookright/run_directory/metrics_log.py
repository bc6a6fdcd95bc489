"""The run's log as one CSV file that survives a resume."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from lookright.errors import InputError
from lookright.replacing import replacing


class MetricsLog:
    """Writes `metrics.csv`: one row per logged step, one column per metric.

    Args:
        path: of the CSV file.
        step: keep the rows up to this step of a file that is there already, and go on from it.

    Raises:
        InputError: the file that is there is no such log.
    """

    def __init__(self, path: Path, step: int = 0) -> None:
        self.path = path
        self.rows: dict[int, dict[str, float]] = {}
        if step and path.is_file():
            for row in _read(path).to_dict("records"):
                if row["step"] < step:
                    self.rows[int(row["step"])] = {str(key): value for key, value in row.items() if key != "step"}

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add to the row of a step."""
        row = {name: float(value) for name, value in metrics.items() if name != "epoch"}
        self.rows.setdefault(step or 0, {}).update(row)

    def save(self) -> None:
        """Write the file, whole."""
        if self.rows:
            table = pd.DataFrame.from_dict(self.rows, orient="index").rename_axis("step").sort_index()
            with replacing(self.path) as draft:
                table.to_csv(draft, float_format="%.6g")


def _read(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path).astype(float)
    except ValueError as error:  # pandas' own are ValueErrors
        raise InputError(f"Cannot read the log {str(path)!r}: {error}. Delete it, and it begins again.") from error
    if "step" not in table or not np.isfinite(table["step"]).all():
        raise InputError(f"The log {str(path)!r} has no number in its column 'step'. Delete it, and it begins again.")
    return table
