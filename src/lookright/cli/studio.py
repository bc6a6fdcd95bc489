"""The command that opens a page to look and to annotate."""

from pathlib import Path


def studio(
    folder: Path,
    run: Path | None = None,
    other_run: Path | None = None,
    port: int = 0,
    annotator: str = "annotator",
    segmenter: str | None = None,
    config: Path | None = None,
    open: bool = True,
) -> None:
    """Open a page on this machine to look at a folder of images, and to draw masks where there are none.

    Args:
        folder: with labels.csv, or with one folder of images per class.
        run: directory of a trained run, to see where it looks.
        other_run: directory of a second one, to see where the two differ.
        port: of the page; 0 takes a free one.
        annotator: the name that masks are drawn under until the page gives another.
        segmenter: the import path of a function segment(image, x, y) that gives the object at a pixel, to click on.
        config: settings of the trainings that the page starts, a file as for lookright train; by default those of the
            run.
        open: the page in a browser at once.
    """
    from lookright.studio import serve

    runs = [path for path in (run, other_run) if path is not None]
    serve(folder, port, annotator, runs, segmenter, config, open)
