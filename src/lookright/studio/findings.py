"""What `lookright data check` finds, once it has been asked for."""

import threading
from typing import Any

from lookright.data.check import as_text, check
from lookright.errors import InputError
from lookright.studio.folder import StudioFolder

MOST = 500


class Findings:
    """The check of a folder, in the background.

    Args:
        folder: that is checked.
    """

    def __init__(self, folder: StudioFolder) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._found: dict[str, Any] = {"state": "not asked", "text": "", "faults": []}

    def read(self) -> dict[str, Any]:
        """`state` (not asked, running, done or failed), `text` and `faults`, worst first."""
        return self._found

    def start(self) -> None:
        """Check the folder as it is now, unless that is going on."""
        with self._lock:
            if self._found["state"] != "running":
                self._found = {"state": "running", "text": "", "faults": []}
                threading.Thread(target=self._check, daemon=True).start()

    def _check(self) -> None:
        try:
            checked = check(self._folder.root)
            faults = checked.faults.head(MOST)[["image", "fault", "detail"]].to_dict("records")
            self._found = {"state": "done", "text": as_text(checked, most=0), "faults": faults}
        except (InputError, OSError) as error:
            self._found = {"state": "failed", "text": " ".join(str(error).split()), "faults": []}
