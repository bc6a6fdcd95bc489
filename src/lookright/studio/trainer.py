"""Trains in the background on the masks that there are, by the ordinary `lookright train`."""

import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lookright.errors import InputError
from lookright.studio.folder import OWN, StudioFolder
from lookright.training.run import TrainedRun, load_run
from lookright.training.settings import instantiate, read_settings

METHOD = "CAMAL"
"""Where the run whose settings are taken has a method that needs no masks."""

MOST_FORMER = 5
"""Runs of earlier pages that are shown, which are all held in memory."""

_TAIL = 2000


class Trainer:
    """One training at a time, in a process of its own; its run is in `.studio/runs` of the folder.

    Args:
        folder: to train on.
        settings: of a run that are taken, but for what the masks are for; None: those of `config`.
        config: a file of settings for `lookright train`; None, without a run: its defaults.
        done: called with the trained run.
    """

    def __init__(
        self, folder: StudioFolder, settings: TrainedRun | None, config: Path | None, done: Callable[[TrainedRun], None]
    ) -> None:
        self._folder = folder
        self._runs = folder.root / OWN / "runs"
        self._settings = settings
        self._config = config
        self._done = done
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._out: Path | None = None
        self._state: dict[str, Any] = {"state": "not asked", "text": ""}

    def read(self) -> dict[str, Any]:
        """`state` (not asked, running, done or failed), `text` (what it said last) and `progress` in [0, 1]."""
        return self._state | {"progress": self._progress()}

    def former(self, known: Sequence[TrainedRun]) -> list[TrainedRun]:
        """The last runs that an earlier page trained, oldest first; a warning tells which of them cannot be read.

        Args:
            known: that are not loaded once more.
        """
        places = {run.directory.resolve() for run in known}
        found: list[TrainedRun] = []
        for number in sorted(self._numbers(), reverse=True):
            path = self._runs / f"{number:04}"
            if len(found) == MOST_FORMER:
                break
            try:
                weights = self._folder.inside(path / "model.safetensors")
                if weights.exists() and path.resolve() not in places:
                    found.append(load_run(path))
            except (InputError, OSError) as error:
                warnings.warn(f"The run {str(path)!r} is not shown: {error}", stacklevel=2)
        return found[::-1]

    def start(self) -> None:
        """Train, unless that is going on.

        Raises:
            InputError: no image has a mask.
        """
        with self._lock:
            if self._state["state"] == "running":
                return
            if not (self._folder.table["mask_weight"] > 0).any():
                raise InputError("No image has a mask yet. Draw some first.")
            self._folder.inside(self._runs).mkdir(parents=True, exist_ok=True)
            self._out = self._runs / f"{1 + max(self._numbers(), default=0):04}"
            command = self.command(self._out)
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
            )
            self._state = {"state": "running", "text": " ".join(["lookright", *command[3:]])}
            threading.Thread(target=self._wait, args=(self._process, self._out), daemon=True).start()

    def stop(self) -> None:
        """Ask a training to end; it can be resumed."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait()

    def command(self, out: Path) -> list[str]:
        """What trains."""
        options: list[str] = []
        config, method = self._config, METHOD if self._config is None else None
        if config is None and self._settings is not None:
            config = self._settings.directory / "config.yaml"
            method = None if "mask" in self._settings.settings.method.needs else METHOD
        options += ["--config", str(config)] if config is not None else []
        options += ["--method", method] if method is not None else []
        if config is None and "split" not in self._folder.table:
            options += ["--protocol", "WithinDomain"]
        options += ["--data", str(self._folder.root), "--out", str(out), "--evaluate", "false"]
        return [sys.executable, "-m", "lookright.cli", "train", *options]

    def _numbers(self) -> list[int]:
        return [int(path.name) for path in self._runs.glob("[0-9]*") if path.name.isdecimal()]

    def _wait(self, process: "subprocess.Popen[str]", out: Path) -> None:
        said = process.communicate()[1][-_TAIL:]
        try:
            if process.returncode:
                raise InputError(said or f"The training ended with code {process.returncode}.")
            self._done(load_run(out))
            self._state = {"state": "done", "text": str(out)}
        except (InputError, OSError) as error:
            self._state = {"state": "failed", "text": str(error)}

    def _progress(self) -> float:
        """The share of the steps that `metrics.csv` has, which is written after each epoch."""
        if self._state["state"] != "running" or self._out is None:
            return float(self._state["state"] == "done")
        try:
            settings = instantiate(read_settings(self._out / "config.yaml"))
            last = (self._out / "metrics.csv").read_text().splitlines()[-1]
            table = settings.protocol.assign(self._folder.table.copy(), settings.seed)
            images = max(int((table["split"] == "train").sum()), 1)
            per_epoch = max(images // min(settings.optimisation.batch_size, images), 1)
            steps = settings.schedule.epochs * per_epoch / settings.optimisation.accumulate
            return min((int(last.partition(",")[0]) + 1) / steps, 1.0)
        except (InputError, OSError, ValueError, IndexError):
            return 0.0
