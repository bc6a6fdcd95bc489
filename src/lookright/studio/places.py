"""Where each annotator was, to go on from there."""

import threading

from lookright.errors import InputError
from lookright.run_directory import read_json, write_json
from lookright.studio.annotations import require_name
from lookright.studio.folder import OWN, StudioFolder

MOST = 1000


class Places:
    """The last image of each annotator, in `.studio/places.json` of the folder.

    Args:
        folder: that is shown.
    """

    def __init__(self, folder: StudioFolder) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._path = folder.root / OWN / "places.json"

    def read(self) -> dict[str, str]:
        """Image by annotator; a file that is broken tells nothing."""
        try:
            found = read_json(self._folder.inside(self._path))
        except (InputError, OSError):
            return {}
        return {name: image for name, image in found.items() if isinstance(image, str)}

    def write(self, annotator: str, image: str) -> None:
        """Note where an annotator is.

        Raises:
            InputError: the table has no such image, or there are too many annotators.
            OSError: the file cannot be written.
        """
        require_name(annotator)
        self._folder.path(image)
        with self._lock:
            places = self.read() | {annotator: image}
            if len(places) > MOST:
                raise InputError(f"There are more than {MOST} annotators.")
            self._folder.inside(self._path).parent.mkdir(exist_ok=True)
            write_json(self._path, places)
