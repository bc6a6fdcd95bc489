"""The ONNX file with its class map beside the run that it was made of, and beside a plain export of the same model.

    python benchmarks/onnx_export.py DIR

DIR holds labels.csv and at least 100 images, such as `lookright data bestiary` makes. Every model is trained for one
epoch, so that its map is of a network that knows something. Writes benchmarks/results/onnx_export.json, and prints the
table of docs/use.md.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch

from lookright.attribution import explain_prediction
from lookright.classifier import evaluating
from lookright.export.onnx import export_onnx
from lookright.predict import first_images
from lookright.run_directory.environment import processor
from lookright.training.run import TrainedRun, train

MODELS = ("small_cnn", "resnet18", "efficientnet_lite0", "regnetx_002")
IMAGES = 100
SIZE = 64
RESULT = Path(__file__).parent / "results/onnx_export.json"


def main(data: Path) -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        rows = [measured(model, data, Path(folder, model)) for model in MODELS]
    facts = {
        "command": "python benchmarks/onnx_export.py DIR",
        "machine": f"{processor()}, one thread",
        "versions": {module.__name__: module.__version__ for module in (torch, onnx, onnxruntime)},
        "images": IMAGES,
        "size": SIZE,
    }
    RESULT.write_text(json.dumps(facts | {"models": rows}, indent=2) + "\n")
    print(table(rows))


def measured(model: str, data: Path, out: Path) -> dict[str, object]:
    settings = {"data": str(data), "out": str(out), "model": model, "size": SIZE, "epochs": 1, "workers": 0}
    run = train(settings | {"loggers": [], "protocol": "WithinDomain", "accelerator": "cpu"})
    image = first_images(run, data, IMAGES)
    assert image is not None
    export = export_onnx(run, out / "with_map.onnx", data)
    assert export.map == "class_map"
    plain = plain_export(run, image, out / "plain.onnx")

    logits, map = session_of(export.path).run(None, {"image": image.numpy()})
    with evaluating(run.classifier):
        output, expected = explain_prediction(run.classifier, image, "class_map")
    return {
        "model": model,
        "images": len(image),
        "opset": export.opset,
        "same_class": float((logits.argmax(1) == output.logits.argmax(1).numpy()).mean()),
        "largest_difference_of_maps": float(np.abs(map - expected.numpy()).max()),
        "largest_value_of_maps": float(expected.abs().max()),
        "megabytes": export.megabytes,
        "megabytes_plain": plain.stat().st_size / 1e6,
        "milliseconds": milliseconds(export.path, image),
        "milliseconds_plain": milliseconds(plain, image),
        "milliseconds_torch": export.milliseconds_torch,
    }


def plain_export(run: TrainedRun, image: torch.Tensor, path: Path) -> Path:
    """The model without lookright, with the same exporter."""
    program = torch.onnx.export(
        run.classifier.model.eval(),
        (image[:2],),
        input_names=["image"],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    onnx.save(program.model_proto, path)
    return path


def session_of(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def milliseconds(path: Path, image: torch.Tensor) -> float:
    """For one image at a time: the median."""
    session, times = session_of(path), []
    for one in image.split(1):
        start = time.perf_counter()
        session.run(None, {"image": one.numpy()})
        times.append(1000 * (time.perf_counter() - start))
    return float(np.median(times))


def table(rows: list[dict]) -> str:
    lines = [
        "| model | opset | same class | maps differ by | MB, plain export | MB, with map | ms, plain export "
        "| ms, with map | ms, PyTorch |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        relative = row["largest_difference_of_maps"] / max(1.0, row["largest_value_of_maps"])
        lines.append(
            f"| {row['model']} | {row['opset']} | {row['same_class']:.0%} of {row['images']} | {relative:.0e} "
            f"| {row['megabytes_plain']:.2f} | {row['megabytes']:.2f} | {row['milliseconds_plain']:.2f} "
            f"| {row['milliseconds']:.2f} | {row['milliseconds_torch']:.2f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
