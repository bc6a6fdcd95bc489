"""What a trained run says of a folder of images, and where it looked, as one CSV file."""

import csv
import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from scipy import ndimage
from torch import Tensor
from torch.nn import functional
from torchvision.transforms import v2

from lookright.attribution import explain_prediction, minmax, predicted_class, relu
from lookright.classifier import evaluating
from lookright.data.formats import Annotated
from lookright.data.samples import COLUMNS, Sample, Samples, folder_encoding
from lookright.data.table import read_table
from lookright.errors import InputError
from lookright.metrics import energy_in_mask
from lookright.overlay import overlay
from lookright.replacing import replacing
from lookright.training.run import TrainedRun

WRITTEN = ("image", "class", "confidence", "box", "energy_in_mask", "problem")


@dataclass(frozen=True)
class Counts:
    """How many files of a folder got a prediction, and how many could not be read.

    Attributes:
        images: with a prediction.
        unreadable: without one.
    """

    images: int
    unreadable: int


def predict_folder(
    run: TrainedRun,
    folder: Path,
    out: Path,
    map: str | None = None,
    overlays: Path | None = None,
    batch_size: int = 32,
) -> Counts:
    """Write one row for each image of a folder, in batches, so that memory does not grow with their number.

    Columns: `image` (path within the folder), `class` and its `confidence` (the softmax), `box` (`x0 y0 x1 y1` in
    pixels of the image, corners included, as in labels.csv: see `where`), `energy_in_mask` (the share of attention in
    the mask, where labels.csv knows one), and `problem`, which says of a file why it could not be read; such a file has
    no other value.

    Args:
        run: a trained run.
        folder: with labels.csv, whose images are taken; without it, every image in the folder and below.
        out: the CSV file, written whole or not at all.
        map: a map's name or import path; None: the one of the run's settings.
        overlays: a folder for pictures of each image under its map; None: no pictures.
        batch_size: images that the model sees at a time.

    Raises:
        InputError: the folder has no image, `labels.csv` is broken, or the map does not fit the model.
    """
    samples, counts = _samples(folder), {"images": 0, "unreadable": 0}
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as draft, draft.open("w", newline="", encoding="utf-8") as file, evaluating(run.classifier):
        writer = csv.DictWriter(file, WRITTEN, restval="")
        writer.writeheader()
        for numbers in (
            range(len(samples))[start : start + batch_size] for start in range(0, len(samples), batch_size)
        ):
            for row in _predicted(run, samples, numbers, map or run.settings.evaluation.map, overlays):
                writer.writerow(row)
                counts["unreadable" if "problem" in row else "images"] += 1
    return Counts(**counts)


def predicted_images(
    run: TrainedRun, folder: Path, map: str | None = None, batch_size: int = 32
) -> Iterator[Annotated]:
    """The images of a folder, each with the run's map under the class that it predicts, for `lookright.data.export`.

    A map is what speaks for the class, over its maximum; images that cannot be read are left out.

    Args:
        run: a trained run.
        folder: as for `predict_folder`.
        map: a map's name or import path; None: the one of the run's settings.
        batch_size: images that the model sees at a time.

    Raises:
        InputError: as `predict_folder`.
    """
    samples, map = _samples(folder), map or run.settings.evaluation.map
    with evaluating(run.classifier):
        for start in range(0, len(samples), batch_size):
            names, read = [], []
            for number in range(len(samples))[start : start + batch_size]:
                with suppress(InputError):
                    read.append(_read(run, samples[number]))
                    names.append(samples.columns["image"][number])
            for name, one, (row, signed) in zip(names, read, _explained(run, read, map) if read else (), strict=True):
                yield Annotated(folder / name, {row["class"]: _grown(signed, *one.size)}, label=row["class"])


def predict_image(
    run: TrainedRun, image: UInt8[Tensor, "3 H W"], map: str | None = None
) -> tuple[dict[str, str], Float[Tensor, "h w"]]:
    """What a run says of one image: `class`, `confidence` and `box` as in `predict_folder`, and the signed map.

    Args:
        run: a trained run.
        image: as `lookright.data.images.read_image` gives it.
        map: a map's name or import path; None: the one of the run's settings.

    Raises:
        InputError: the map does not fit the model.
    """
    read = _Read(run.preprocessing([image])[0], None, (image.shape[-2], image.shape[-1]))
    with evaluating(run.classifier):
        ((found, signed),) = _explained(run, [read], map or run.settings.evaluation.map)
    return found, signed


def where(map: Float[Tensor, "h w"], height: int, width: int, share: float = 0.5) -> tuple[int, int, int, int] | None:
    """The box (x0, y0, x1, y1), corners included, around the place that speaks most for the class.

    That is the connected region of cells around the map's maximum that have at least `share` of it; None where nothing
    is positive. It is as fine as the map's grid: between cells nothing is known.

    Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016, section 3.2, with share 0.2.

    Args:
        map: one map, signed.
        height: of the image in pixels.
        width: of the image in pixels.
        share: of the maximum, in (0, 1].

    >>> where(torch.tensor([[0.0, 0.0, 9.0], [0.0, 0.0, 8.0], [6.0, 0.0, 0.0]]), 3, 3)
    (2, 0, 2, 1)
    """
    values = map.float().numpy()
    if not values.max() > 0:
        return None
    regions, _ = ndimage.label(values >= share * values.max(), np.ones((3, 3)))
    rows, columns = np.nonzero(regions == regions.flat[values.argmax()])
    y, x = height / values.shape[0], width / values.shape[1]
    return (
        math.floor(columns.min() * x),
        math.floor(rows.min() * y),
        math.ceil((columns.max() + 1) * x) - 1,
        math.ceil((rows.max() + 1) * y) - 1,
    )


def _samples(folder: Path) -> Samples:
    """Of a folder, none of them kept."""
    if (folder / "labels.csv").is_file():
        table = read_table(folder)
        # A mask without weight counts as none, as in training and evaluation.
        for column in ("mask", "box"):
            if column in table:
                table[column] = table[column].where(table["mask_weight"] > 0, "")
    else:
        suffixes = Image.registered_extensions()
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in suffixes and path.is_file())
        table = pd.DataFrame({"image": [str(path.relative_to(folder)) for path in paths]})
    if table.empty:
        raise InputError(f"No image in {str(folder)!r}. Expected a folder of images, or one with labels.csv.")
    return Samples(
        folder, {name: table[name].tolist() for name in COLUMNS if name in table}, folder_encoding(folder, table)
    )


def first_images(run: TrainedRun, folder: Path, number: int) -> Float[Tensor, "B C H W"] | None:
    """The first images of a folder that can be read, as the run's model takes them; None where there are none.

    Args:
        run: a trained run.
        folder: as for `predict_folder`.
        number: of images at most.

    Raises:
        InputError: the folder has no image, or `labels.csv` is broken.
    """
    samples, images = _samples(folder), []
    for index in range(len(samples)):
        with suppress(InputError):
            images.append(_read(run, samples[index]).image)
        if len(images) == number:
            break
    return torch.stack(images) if images else None


@dataclass(frozen=True)
class _Read:
    image: Tensor
    mask: Tensor | None
    size: tuple[int, int]


def _read(run: TrainedRun, sample: Sample) -> _Read:
    """An image and its mask as the model and the metrics take them: at once, so that no large image stays in memory."""
    preprocessing, mask = run.preprocessing, sample.mask
    if mask is not None:
        mask = v2.functional.to_dtype(preprocessing.resize(mask).as_subclass(Tensor), scale=True)
    return _Read(preprocessing([sample.image])[0], mask, (sample.image.shape[-2], sample.image.shape[-1]))


def _predicted(
    run: TrainedRun, samples: Samples, numbers: range, map: str, overlays: Path | None
) -> Iterator[dict[str, Any]]:
    read: dict[int, _Read] = {}
    problems: dict[int, str] = {}
    for number in numbers:
        try:
            read[number] = _read(run, samples[number])
        except InputError as error:
            problems[number] = " ".join(str(error).split())
    found = dict(zip(read, _explained(run, list(read.values()), map), strict=True)) if read else {}
    for number in numbers:
        name = samples.columns["image"][number]
        if number in problems:
            yield {"image": name, "problem": problems[number]}
            continue
        row, signed = found[number]
        if overlays is not None:
            _write_overlay(samples[number].image, signed, (overlays / name).with_suffix(".png"))
        yield {"image": name} | row


def _explained(run: TrainedRun, read: list[_Read], map: str) -> Iterator[tuple[dict[str, str], Tensor]]:
    device = next(run.classifier.parameters()).device
    output, maps = explain_prediction(run.classifier, torch.stack([one.image for one in read]).to(device), map)
    classes = predicted_class(output.logits).tolist()
    confidences = output.logits.detach().softmax(1).amax(1).tolist()
    for one, signed, index, confidence in zip(read, maps.cpu(), classes, confidences, strict=True):
        row = {
            "class": run.classes[index],
            "confidence": f"{confidence:.4f}",
            "box": " ".join(str(corner) for corner in where(signed, *one.size) or ()),
        }
        if one.mask is not None:
            share = energy_in_mask(minmax(relu(signed[None])), one.mask[:1], ignore=_ignored(one.mask)).item()
            row["energy_in_mask"] = "" if np.isnan(share) else f"{share:.4f}"
        yield row, signed


def _ignored(mask: Tensor) -> Tensor | None:
    return mask[1:] if len(mask) == 2 else None


def _write_overlay(image: Tensor, map: Tensor, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as draft:
        laid_over(image, map).save(draft)


def laid_over(image: UInt8[Tensor, "3 H W"], map: Float[Tensor, "h w"]) -> Image.Image:
    """A picture of an image under a map, whose negative values count as 0."""
    return Image.fromarray(overlay(image.permute(1, 2, 0).numpy(), _grown(map, *image.shape[-2:])))


def _grown(map: Tensor, height: int, width: int) -> Float[np.ndarray, "H W"]:
    """What speaks for the class, in [0, 1] and of an image's size."""
    return functional.interpolate(minmax(relu(map[None]))[None], (height, width), mode="bilinear")[0, 0].numpy()
