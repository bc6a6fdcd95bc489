"""FiftyOne: one JSON file, as `Dataset.from_json` of `fiftyone` reads it, which is not needed to write it.

Labels are a `Classification`, masks a `Segmentation` (1 evidence, 2 ignored), maps of a run a `Heatmap`; splits are
tags. Pixels lie in the file: each array as a NumPy file, compressed by zlib, in base64.
"""

import base64
import io
import json
import zlib
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from lookright.data.formats.annotated import Annotated
from lookright.data.formats.exported import Exported, Writer, exported

FIELD = "fiftyone.core.fields.EmbeddedDocumentField(fiftyone.core.labels.{})"


def _write(
    label: str,
    pixels: str,
    kind: str,
    content: Callable[[Exported], dict[str, Any] | None],
    images: Iterable[Annotated],
    root: Path,
) -> dict[str, str]:
    samples = []
    for one in exported(images, root):
        sample: dict[str, Any] = {"filepath": one.name, "tags": [one.split] if one.split else []}
        sample[label] = {"_cls": "Classification", "label": one.label}
        if (found := content(one)) is not None:
            sample[pixels] = {"_cls": kind, **found}
        samples.append(sample)
    dataset = {
        "name": root.resolve().name,
        "media_type": "image",
        "sample_fields": {label: FIELD.format("Classification"), pixels: FIELD.format(kind)},
        "mask_targets": {pixels: {"1": "evidence", "2": "ignore"}} if kind == "Segmentation" else {},
        "samples": samples,
    }
    return {".json": json.dumps(dataset)}


def _mask(one: Exported) -> dict[str, Any] | None:
    if one.evidence is None:
        return None
    codes = one.evidence.astype(np.uint8)
    return {"mask": _packed(codes if one.ignore is None else np.where(one.ignore, np.uint8(2), codes))}


def _map(one: Exported) -> dict[str, Any] | None:
    return None if one.shares is None else {"map": _packed((255 * one.shares).round().astype(np.uint8))}


def _packed(values: UInt8[np.ndarray, "H W"]) -> dict[str, Any]:
    file = io.BytesIO()
    np.save(file, values, allow_pickle=False)
    return {"$binary": {"base64": base64.b64encode(zlib.compress(file.getvalue())).decode(), "subType": "00"}}


WRITER = Writer(
    "fiftyone",
    "labels and masks, for `fiftyone.Dataset.from_json`",
    partial(_write, "label", "evidence", "Segmentation", _mask),
)
PREDICTIONS = Writer(
    "fiftyone_predictions",
    "the classes and maps of a run as fields `prediction` and `map`, for `fiftyone.Dataset.from_json`",
    partial(_write, "prediction", "map", "Heatmap", _map),
)
