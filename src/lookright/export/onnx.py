"""A run as one ONNX file whose graph returns the logits and the class map."""

import importlib
import json
import logging
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lookright.attribution import Map, find_map, predicted_class
from lookright.classifier import Classifier, evaluating
from lookright.errors import InputError
from lookright.predict import first_images
from lookright.replacing import replacing
from lookright.training.run import TrainedRun

CLOSED_FORM = ("class_map", "cam", "contrast", "contrast_softmax")
TOLERANCE = 1e-4
COMPARED = 32


@dataclass(frozen=True)
class Export:
    """An ONNX file, and how it compares with the run that it was made of.

    Attributes:
        path: of the file.
        opset: of its operators.
        map: the second output, and None where there is none.
        compared: on what it was compared.
        difference: the largest of logits and map on these images.
        megabytes: of the file.
        milliseconds: for one image in a batch of one, by ONNX Runtime on one thread of the CPU.
        milliseconds_torch: the same by PyTorch.
    """

    path: Path
    opset: int
    map: str | None
    compared: str
    difference: float
    megabytes: float
    milliseconds: float
    milliseconds_torch: float

    def __str__(self) -> str:
        outputs = f"logits and {self.map}" if self.map else "logits alone: the map of this model has no closed form"
        return (
            f"{self.path}: opset {self.opset}, {self.megabytes:.1f} MB, {outputs}.\n"
            f"Largest difference from the run on {self.compared}: {self.difference:.1e}.\n"
            f"An image takes {self.milliseconds:.1f} ms in ONNX Runtime and {self.milliseconds_torch:.1f} ms in "
            "PyTorch (CPU, one thread, one at a time)."
        )


class _WithMap(nn.Module):
    """Logits (B, K), and the map (B, h, w) of the predicted class."""

    def __init__(self, classifier: Classifier, map: Map | None) -> None:
        super().__init__()
        self.classifier = classifier
        self.map = map

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        output = self.classifier(image)
        if self.map is None:
            return (output.logits,)
        return output.logits, self.map(self.classifier, output, predicted_class(output.logits))


def export_onnx(run: TrainedRun, out: Path, images: Path | None = None, map: str | None = None) -> Export:
    """Write one ONNX file, compare it with the run in ONNX Runtime, and say how they differ.

    Its input `image` (B, C, H, W) is normalised as the model expects, with any B; the outputs are `logits` (B, K) and
    `map` (B, h, w), the map of the predicted class, where that has a closed form. The file's metadata hold `classes`,
    `mean`, `std`, `size` and `map` as JSON.

    Args:
        run: a trained run.
        out: the file, written only once the comparison holds.
        images: a folder whose first images are compared; None: the run's data, or noise where these are gone.
        map: one of `CLOSED_FORM`; None: `class_map` where the head is average pooling + Linear, else no map.

    Raises:
        InputError: the packages of `lookright[onnx]` are missing, the map was asked for and has no closed form, or the
            graph's outputs differ from the run's by more than 1e-4 of their largest value (at least 1).
    """
    onnx, onnxruntime = _packages()
    classifier = run.classifier.cpu()
    image, compared = _images(run, images)
    with evaluating(classifier), torch.no_grad():
        classifier(image[:1])
        map = _map(classifier, map)
        module = _WithMap(classifier, None if map is None else find_map(map)).eval()
        out.parent.mkdir(parents=True, exist_ok=True)
        with replacing(out) as draft:
            _write(module, draft, image, onnx, _facts(run, map))
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            session = onnxruntime.InferenceSession(str(draft), options, providers=["CPUExecutionProvider"])
            difference = _compare(session, module, image)
            one = image[:1].numpy()
            with _one_thread():
                seconds = _seconds(lambda: session.run(None, {"image": one})), _seconds(lambda: module(image[:1]))
            opset = onnx.load(draft).opset_import[0].version
            megabytes = draft.stat().st_size / 1e6
    return Export(out, opset, map, compared, difference, megabytes, seconds[0] * 1000, seconds[1] * 1000)


def _packages() -> tuple[Any, Any]:
    try:
        importlib.import_module("onnxscript")
        return importlib.import_module("onnx"), importlib.import_module("onnxruntime")
    except ImportError as error:
        raise InputError(f"{error}. ONNX files are written with pip install 'lookright[onnx]'.") from error


def _images(run: TrainedRun, folder: Path | None) -> tuple[Tensor, str]:
    folder = folder or run.settings.data
    image = first_images(run, folder, COMPARED) if folder.is_dir() else None
    if image is None:
        size = run.preprocessing.size
        channels = len(run.preprocessing.mean)
        noise = torch.randn(COMPARED, channels, size, size, generator=torch.Generator().manual_seed(0))
        return noise, f"{COMPARED} images of noise, for {str(folder)!r} is gone"
    return image, f"{len(image)} images of {str(folder)!r}"


def _map(classifier: Classifier, map: str | None) -> str | None:
    if map is None:
        return "class_map" if classifier.cam_is_exact else None
    if map not in CLOSED_FORM:
        raise InputError(f"map={map!r} has no closed form for a graph. Expected one of {', '.join(CLOSED_FORM)}.")
    if not classifier.cam_is_exact:
        raise InputError(
            f"The head of {type(classifier.model).__name__} is not average pooling + Linear, so that {map} needs "
            "gradients, which an ONNX graph does not have. Leave --map out to export the logits alone."
        )
    return map


def _facts(run: TrainedRun, map: str | None) -> dict[str, str]:
    return {
        "classes": json.dumps(run.classes),
        "mean": json.dumps(run.preprocessing.mean),
        "std": json.dumps(run.preprocessing.std),
        "size": json.dumps(run.preprocessing.size),
        "map": json.dumps(map),
    }


def _write(module: _WithMap, path: Path, image: Tensor, onnx: Any, facts: dict[str, str]) -> None:
    names = ["logits"] if module.map is None else ["logits", "map"]
    with _quietly():
        program = torch.onnx.export(
            module,
            (image[:2].expand(2, -1, -1, -1),),  # a batch of one would be taken for a constant
            input_names=["image"],
            output_names=names,
            dynamic_shapes={"image": {0: torch.export.Dim("batch")}},
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    graph = program.model_proto
    onnx.helper.set_model_props(graph, facts)
    onnx.save(graph, path)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Several threads wait for each other on a busy machine, and the two libraries not alike."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _quietly() -> Iterator[None]:
    """The exporter warns of its own internals."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _compare(session: Any, module: _WithMap, image: Tensor) -> float:
    difference = 0.0
    for theirs, own in zip(session.run(None, {"image": image.numpy()}), module(image), strict=True):
        off = float(np.abs(theirs - own.numpy()).max())
        largest = max(1.0, own.abs().max().item())
        if not off <= TOLERANCE * largest:
            raise InputError(
                f"ONNX Runtime's outputs differ from the run's by {off:.1e}, where values reach {largest:.1f} and at "
                f"most {TOLERANCE * largest:.0e} was expected. The file was not written."
            )
        difference = max(difference, off)
    return difference


def _seconds(call: Callable[[], Any], repeats: int = 9) -> float:
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return float(np.median(times))
