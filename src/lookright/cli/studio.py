"""The command that opens a page to look and to annotate."""

from pathlib import Path


def studio(folder: Path, port: int = 0, annotator: str = "annotator", open: bool = True) -> None:
    """Open a page on this machine to look at a folder of images, and to draw masks where there are none.

    Args:
        folder: with labels.csv.
        port: of the page; 0 takes a free one.
        annotator: the name that masks are drawn under until the page gives another.
        open: the page in a browser at once.
    """
    from lookright.studio import serve

    serve(folder, port, annotator, open)
