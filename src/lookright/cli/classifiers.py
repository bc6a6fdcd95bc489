"""Commands that train a classifier and use what was trained."""

import warnings
from pathlib import Path
from typing import Literal

from lookright.cli.arguments import train_or_resume
from lookright.cli.figures import as_json, print_splits


def train(arguments: list[str]) -> None:
    """Train a classifier with a method, and evaluate it on the test splits."""
    from lookright.training.results import evaluate_run
    from lookright.training.run import resume
    from lookright.training.run import train as train_run
    from lookright.training.settings import settings_file

    run = train_or_resume("train", arguments, settings_file, train_run, resume)
    if run.settings.evaluation.evaluate:
        print_splits(evaluate_run(run)["splits"])
    print(f"Write the report with: lookright report {run.directory}")


def evaluate(
    run: Path,
    data: Path | None = None,
    split: str | None = None,
    out: Path | None = None,
    map: str | None = None,
    json: bool = False,
) -> None:
    """Measure a trained run: accuracy, attention, faithfulness.

    Args:
        run: directory of the run.
        data: folder with labels.csv; by default the one it was trained on.
        split: a split, or several with commas between; by default all but train and val.
        out: where to write; by default the run's directory, and needed for other data.
        map: what is measured, such as grad_cam, layer_cam or integrated_gradients; by default what the run's settings
            say.
        json: print one JSON object, the figures of each split by its name.
    """
    from lookright.training.results import evaluate_run
    from lookright.training.run import load_run

    splits = evaluate_run(load_run(run), data, split.split(",") if split else None, out, map=map)["splits"]
    if json:
        print(as_json(splits))
    else:
        print_splits(splits)


def explain(run: Path, images: list[Path], out: Path = Path("explanations"), map: str | None = None) -> None:
    """Write each image with the map of the predicted class laid over it.

    Args:
        run: directory of the run.
        images: image files.
        out: directory for the pictures.
        map: what is shown, such as grad_cam, layer_cam or integrated_gradients; by default what the run's settings say.
    """
    from lookright.training.explanation import explain_images
    from lookright.training.run import load_run

    for path in explain_images(load_run(run), images, out, map):
        print(path)


def predict(
    run: Path,
    folder: Path,
    out: Path = Path("predictions.csv"),
    overlays: Path | None = None,
    map: str | None = None,
    batch_size: int = 32,
) -> None:
    """Write class, confidence and where the model looked for each image of a folder, as CSV.

    Args:
        run: directory of the run.
        folder: with images; where it has a labels.csv, the images that it names, and how much attention lay in their
            masks.
        out: the CSV file to write.
        overlays: a directory for pictures of the images under their maps.
        map: such as grad_cam or layer_cam; by default what the run's settings say.
        batch_size: images at a time.
    """
    from lookright.predict import predict_folder
    from lookright.training.run import load_run

    counts = predict_folder(load_run(run), folder, out, map, overlays, batch_size)
    print(f"{counts.images} images in {out}")
    if counts.unreadable:
        warnings.warn(f"{counts.unreadable} files could not be read; the column problem says why.", stacklevel=2)


def serve(run: Path, port: int = 8000, host: str = "127.0.0.1", map: str | None = None) -> None:
    """Serve a page on this machine that tells what a run says of a picture, and where it looked; JSON at /explain.

    Args:
        run: directory of the run.
        port: 0 takes a free one.
        host: the address to listen at; any but 127.0.0.1 lets other machines ask, without a password.
        map: such as grad_cam or layer_cam; by default what the run's settings say.
    """
    from lookright.serve.server import server_of
    from lookright.training.run import load_run

    server, address = server_of(load_run(run), map, host, port)
    print(
        f"{address}\nOpen this address in a browser; Ctrl-C ends it. For programs: POST a picture to {address}explain"
    )
    try:
        server.serve_forever()
    finally:
        server.server_close()


def export(
    run: Path,
    out: Path | None = None,
    format: Literal["onnx", "safetensors"] = "onnx",
    images: Path | None = None,
    map: str | None = None,
) -> None:
    """Write a trained run for use without lookright: ONNX with the class map in its graph, or weights with a card.

    Args:
        run: directory of the run.
        out: the file to write (onnx) or the folder (safetensors); by default model.onnx or model in the run's
            directory.
        format: onnx, or safetensors for the plain model as a folder of the Hugging Face hub's layout.
        images: a folder of images on which the ONNX file is compared with the run; by default the run's own data.
        map: the ONNX graph's second output; by default class_map where it has a closed form, and none elsewhere.
    """
    from lookright.training.run import load_run

    if format == "safetensors":
        from lookright.export.hub import export_folder

        print(export_folder(load_run(run), out or run / "model"))
        return
    from lookright.export.onnx import export_onnx

    print(export_onnx(load_run(run), out or run / "model.onnx", images, map))


def masks(run: Path, data: Path | None = None, out: Path = Path("masks")) -> None:
    """Write the masks that ALIGN learned as a data set for any other method.

    Args:
        run: directory of a run of ALIGN.
        data: folder with labels.csv; by default the one it was trained on.
        out: the folder to make.
    """
    from lookright.training.masks import write_masks
    from lookright.training.run import load_run

    trained = load_run(run)
    print(f"{len(write_masks(trained, data or trained.settings.data, out))} masks in {out}")
