"""Serves the page to a browser on this machine."""

import secrets
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from werkzeug.serving import BaseWSGIServer

from lookright.data.formats import FORMATS
from lookright.data.image_folders import as_sentence, index_image_folders
from lookright.errors import InputError
from lookright.local_server import listening
from lookright.studio.annotations import require_name
from lookright.studio.app import Studio
from lookright.studio.arrivals import join_arrivals
from lookright.studio.folder import StudioFolder
from lookright.training.run import load_run

LOOPBACK = "127.0.0.1"


def server_of(
    folder: Path,
    port: int = 0,
    annotator: str = "annotator",
    runs: Sequence[Path] = (),
    segmenter: str | None = None,
    config: Path | None = None,
) -> tuple[BaseWSGIServer, Studio, str]:
    """A server that waits for `serve_forever`, its application, and the address of its page.

    Args:
        folder: of images, with labels.csv or with folders that tell the labels.
        port: 0 takes a free one.
        annotator: the name that masks are drawn under until the page gives another.
        runs: directories of trained runs, whose maps are shown.
        segmenter: the import path of a user's own, see `lookright.studio.proposals`.
        config: settings of the trainings that the page starts; None: those of the first run.

    Raises:
        InputError: the folder or a run cannot be read.
        OSError: the port is taken.
    """
    token = secrets.token_urlsafe(24)
    require_name(annotator)
    index_if_needed(folder)
    shown = StudioFolder(folder)
    named = {str(run): load_run(run) for run in runs}
    notice = join_arrivals(shown)
    if notice:
        print(notice)
    server = listening(
        LOOPBACK, port, lambda port: Studio(shown, token, port, annotator, named, segmenter, config, notice)
    )
    app = cast(Studio, server.app)
    return server, app, f"http://{LOOPBACK}:{server.port}/{token}/"


def index_if_needed(folder: Path) -> None:
    """Write `labels.csv` into a folder of images that has none, by the names of its folders.

    Raises:
        InputError: it holds annotations of another format, or no images where they are expected.
    """
    if (folder / "labels.csv").exists():
        return
    for format in FORMATS.values() if folder.is_dir() else ():
        if format.recognises(folder):
            raise InputError(
                f"{str(folder)!r} has no labels.csv and looks like {format.name}: {format.about}. "
                f"'lookright data convert {folder} OUT' writes OUT, a folder to open here with its masks."
            )
    print(as_sentence(index_image_folders(folder), folder))


def serve(
    folder: Path,
    port: int = 0,
    annotator: str = "annotator",
    runs: Sequence[Path] = (),
    segmenter: str | None = None,
    config: Path | None = None,
    open_browser: bool = True,
) -> None:
    """Serve the page until the process is interrupted; arguments as in `server_of`."""
    server, app, address = server_of(folder, port, annotator, runs, segmenter, config)
    print(f"{address}\nOpen this address in a browser on this machine; Ctrl-C ends it. Every stroke is saved at once.")
    if open_browser:
        webbrowser.open(address)
    app.start()
    try:
        server.serve_forever()
    finally:
        server.server_close()
        app.stop()
