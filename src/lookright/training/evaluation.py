"""What a trained classifier does on a split: right or wrong, where it looked, and whether the map is faithful."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional
from torchmetrics import Metric

from lookright import metrics
from lookright.attribution import contrast, minmax, relu
from lookright.attribution.maps import explain_class, explain_prediction
from lookright.attribution.target import predicted_class
from lookright.batch import Batch
from lookright.classifier import Classifier, evaluating
from lookright.data.dataset import UNKNOWN_LABEL, Sample
from lookright.errors import InputError
from lookright.measures import CONTRAST, FLAT, RANDOM, Kind, measures_of
from lookright.metrics.mean import MeanOverDefined
from lookright.replacing import replacing
from lookright.run_directory import file_name, none_for_nan
from lookright.training.preprocessing import Preprocessing
from lookright.training.run_data import RunData

Faithfulness = Literal["none", "curves", "all"]
GALLERY_SEED = 0
LARGEST_KEPT_MAP = 64


@dataclass
class SplitEvaluation:
    """What was measured on one split.

    Attributes:
        table: one row per image.
        curves: `fraction`, `insertion_curve`, `deletion_curve`, means over the images.
        map: (N, h, w), ReLU and min-max normalised, of the predicted class; at most 64 cells high and wide.
        logits: (N, K).
        embedding: (N, D).
        values: of each measure, over the images for which it is defined; NaN where there is none.
    """

    table: pd.DataFrame
    curves: dict[str, np.ndarray]
    map: Tensor
    logits: Tensor
    embedding: Tensor
    values: dict[str, float] = field(default_factory=dict)

    def summary(self) -> dict[str, float | None]:
        """What was measured; None where it is defined for no image."""
        with_mask = int((self.table["mask_weight"] > 0).sum())
        return none_for_nan({"images": len(self.table), "images_with_mask": with_mask, **self.values})


def evaluate_split(
    classifier: Classifier,
    data: RunData,
    split: str,
    preprocessing: Preprocessing,
    *,
    map: str = "class_map",
    faithfulness: Faithfulness = "curves",
    faithfulness_images: int = 0,
    steps: int = 16,
    budget: float = 1.0,
    evidence: bool = True,
    further: Sequence[str] = (),
) -> SplitEvaluation:
    """Measure a classifier on a split. Every map explains the predicted class, so that no label is needed.

    Alignment is measured on two maps of the same forward: the one that `map` says, and `attribution.contrast` of the
    class map, which no vector added to every row of the head changes. What a flat and a random map score stands beside.

    Args:
        classifier: put into eval mode while measuring.
        data: has the split.
        split: its name.
        preprocessing: of images into the model's input.
        map: a name in `lookright.attribution.MAPS`.
        faithfulness: `none`; `curves`: insertion and deletion; `all`: sufficiency and comprehensiveness, too.
        faithfulness_images: measure faithfulness on this many images drawn at random, the same for every run; 0: all.
        steps: points of the curves besides the first.
        budget: share of these points that are computed, where the curves bend.
        evidence: measure on masked images what needs no map: the evidence alone, the scenery alone, noise on either.
        further: measures besides, by name in `lookright.measures.MEASURES` or by import path.
    """
    rows = data.rows(split)
    chosen = np.arange(len(rows))
    if 0 < faithfulness_images < len(rows):
        chosen = np.sort(np.random.default_rng(GALLERY_SEED).permutation(len(rows))[:faithfulness_images])
    is_chosen = torch.zeros(len(rows), dtype=torch.bool)
    is_chosen[chosen] = True
    device = next(classifier.parameters()).device
    of_split = _of_split(data, rows, faithfulness, further, device)
    alignment, over_images = _of_alignment(faithfulness, further, device)
    of_curves = _functions("faithfulness", faithfulness, further)
    has_evidence = ((rows["mask_weight"] > 0) & rows["label"].isin(data.classes)).any()
    of_evidence = _of_evidence(preprocessing, faithfulness, further, evidence) if has_evidence else {}
    generator = torch.Generator().manual_seed(GALLERY_SEED)
    of_random_maps = torch.Generator().manual_seed(GALLERY_SEED)
    options: dict[str, Any] = {"steps": steps, "budget": budget, "explain": partial(explain_class, map=map)}
    columns: dict[str, list[Tensor]] = {}
    kept: dict[str, list[Tensor]] = {"map": [], "logits": [], "embedding": []}
    curves: dict[str, list[Tensor]] = {}
    means: dict[str, MeanOverDefined] = {}
    start = 0
    with evaluating(classifier):
        for batch in data.batches(split, preprocessing, device):
            output, signed = explain_prediction(classifier, batch["image"], map)
            predicted = predicted_class(output.logits)
            attention, contrasted = (
                minmax(relu(map)) for map in (signed, contrast(classifier, output, predicted).detach())
            )
            known = batch["label"] != UNKNOWN_LABEL
            for metric, needs_domain in of_split.values():
                arguments = (output.logits.detach()[known], batch["label"][known])
                if known.any():
                    metric.update(*arguments, *([batch["domain"][known]] if needs_domain else []))
            subset = is_chosen[start : start + len(attention)].to(device)
            start += len(attention)
            maps_of = {
                "": attention,
                CONTRAST: contrasted,
                FLAT: torch.ones_like(attention),
                RANDOM: torch.rand(attention.shape, generator=of_random_maps).to(attention),
            }
            values = {
                prefix + name: _alignment(name, function, maps_of[prefix], batch)
                for name, function in alignment.items()
                for prefix in ("", CONTRAST)
            }
            for prefix, metrics_of in over_images.items():
                for metric in metrics_of.values():
                    metric.update(maps_of[prefix], batch["mask"], batch["mask_weight"], batch.get("ignore"))
            for name, function in of_curves.items():
                takes = inspect.signature(function).parameters
                given = {key: value for key, value in options.items() if key in takes}
                points = function(classifier, batch["image"][subset], signed[subset], predicted[subset], **given)
                if points.ndim == 2:
                    curves.setdefault(f"{name}_curve", []).append(points.cpu())
                    points = metrics.auc(points)
                values[name] = _spread(_one_each(name, points, int(subset.sum())), subset)
            masked = known & (batch["mask_weight"] > 0)
            per_image = [name for name, measure in of_evidence.items() if not isinstance(measure, Metric)]
            values |= {name: torch.full(masked.shape, torch.nan, device=device) for name in per_image}
            if masked.any():
                shown: dict[str, Any] = {
                    key: batch[key][masked] for key in ("image", "mask", "label", "ignore") if key in batch
                }
                shown["generator"] = generator
                for name, measure in of_evidence.items():
                    takes = inspect.signature(measure.update if isinstance(measure, Metric) else measure).parameters
                    given = {key: value for key, value in shown.items() if key in takes}
                    if isinstance(measure, Metric):
                        measure.update(classifier, **given)
                    else:
                        values[name] = _spread(_one_each(name, measure(classifier, **given), int(masked.sum())), masked)
            floors = {
                prefix + name: _alignment(name, function, maps_of[prefix], batch)
                for name, function in alignment.items()
                for prefix in (FLAT, RANDOM)
            }
            for name, value in (values | floors).items():
                means.setdefault(name, MeanOverDefined().to(device)).update(value)
            columns_of_batch = {
                "prediction_index": predicted,
                "label_index": batch["label"],
                "domain_index": batch["domain"],
                "confidence": output.logits.detach().softmax(1).amax(1),
                **values,
            }
            for name, value in columns_of_batch.items():
                columns.setdefault(name, []).append(value.detach().cpu())
            kept["map"].append(_at_most(attention, LARGEST_KEPT_MAP).cpu())
            kept["logits"].append(output.logits.detach().float().cpu())
            kept["embedding"].append(output.embedding.detach().float().cpu())
    table = _table(rows, {name: torch.cat(parts).numpy() for name, parts in columns.items()}, data.classes)
    mean_curves = {name: torch.cat(parts).mean(0).numpy() for name, parts in curves.items()}
    if mean_curves:
        mean_curves["fraction"] = np.linspace(0, 1, steps + 1)
    summary = {name: metric.compute().item() for name, (metric, _) in of_split.items() if metric.update_called}
    if "worst_group_accuracy" in summary:
        summary["smallest_group"] = of_split["worst_group_accuracy"][0].smallest_group
    summary |= {name: mean.compute().item() for name, mean in means.items()}
    for prefix, metrics_of in over_images.items():
        summary |= {prefix + name: metric.compute().item() for name, metric in metrics_of.items()}
    for name, measure in of_evidence.items():
        if isinstance(measure, Metric) and measure.update_called:
            summary[name] = measure.compute().item()
    maps, logits, embedding = (torch.cat(kept[name]) for name in ("map", "logits", "embedding"))
    return SplitEvaluation(table, mean_curves, maps, logits, embedding, summary)


def _functions(kind: Kind, faithfulness: Faithfulness, further: Sequence[str]) -> dict[str, Callable[..., Tensor]]:
    return {measure.name: measure.load() for measure in measures_of(kind, faithfulness, further)}


def _of_alignment(
    faithfulness: Faithfulness, further: Sequence[str], device: torch.device
) -> tuple[dict[str, Callable[..., Tensor]], dict[str, dict[str, Metric]]]:
    """Functions of each image; and metrics over all images, one for each of the maps."""
    found: dict[str, Any] = _functions("alignment", faithfulness, further)
    metrics_of: dict[str, Any] = {name: metric for name, metric in found.items() if inspect.isclass(metric)}
    over_images = {
        prefix: {name: metric().to(device) for name, metric in metrics_of.items()}
        for prefix in ("", CONTRAST, FLAT, RANDOM)
    }
    return {name: function for name, function in found.items() if name not in metrics_of}, over_images


def _of_evidence(
    preprocessing: Preprocessing, faithfulness: Faithfulness, further: Sequence[str], asked: bool
) -> dict[str, Callable[..., Any]]:
    """Functions of each image, and metrics, which are told how the images were normalised."""
    found: dict[str, Callable[..., Any]] = {}
    for row in measures_of("evidence", faithfulness, further, asked):
        measure: Any = row.load()
        if inspect.isclass(measure):
            takes = inspect.signature(measure).parameters
            measure = measure(**{key: getattr(preprocessing, key) for key in ("mean", "std") if key in takes})
        found[row.name] = measure
    return found


def _of_split(
    data: RunData, rows: pd.DataFrame, faithfulness: Faithfulness, further: Sequence[str], device: torch.device
) -> dict[str, tuple[Any, bool]]:
    """Metrics over the images of known labels, and whether they need domains."""
    sizes = {"classes": len(data.classes), "domains": max(len(data.domains), 1)}
    kinds: list[tuple[Kind, bool]] = [("classification", False)]
    if "domain" in rows and (rows["domain"] != "").any():
        kinds.append(("groups", True))
    found = {}
    for kind, needs_domain in kinds:
        for name, metric in _functions(kind, faithfulness, further).items():
            takes = inspect.signature(metric).parameters
            made = metric(**{key: size for key, size in sizes.items() if key in takes})
            found[name] = (made.to(device), needs_domain)
    return found


def _alignment(name: str, function: Callable[..., Tensor], attention: Tensor, batch: Batch) -> Tensor:
    takes_ignore = "ignore" in batch and "ignore" in inspect.signature(function).parameters
    given = {"ignore": batch["ignore"]} if takes_ignore else {}
    value = _one_each(name, function(attention, batch["mask"], **given), len(attention))
    return torch.where(batch["mask_weight"] > 0, value, torch.nan)


def _one_each(name: str, value: Tensor, images: int) -> Tensor:
    if value.shape != (images,):
        raise InputError(f"measure {name!r} gave {tuple(value.shape)} for {images} images; expected one value for each")
    return value


def _table(rows: pd.DataFrame, columns: dict[str, np.ndarray], classes: list[str]) -> pd.DataFrame:
    about = {
        "image": rows["image"].to_numpy(),
        "label": rows["label"].to_numpy(),
        "domain": rows["domain"].to_numpy() if "domain" in rows else "",
        "prediction": [classes[index] for index in columns["prediction_index"]],
        "correct": (columns["prediction_index"] == columns["label_index"]).astype(int),
    }
    return pd.DataFrame({**about, **columns, "mask_weight": rows["mask_weight"].to_numpy()})


def split_accuracy(classifier: Classifier, data: RunData, split: str, preprocessing: Preprocessing) -> float:
    """The accuracy of a classifier on a split, and nothing else; the arguments are those of `evaluate_split`."""
    device = next(classifier.parameters()).device
    batches = data.batches(split, preprocessing, device)
    with evaluating(classifier), torch.no_grad():
        outcomes = [(classifier(batch["image"]).logits, batch["label"]) for batch in batches]
    logits, label = map(torch.cat, zip(*outcomes, strict=True))
    return metrics.accuracy(logits, label).item()


def _at_most(map: Tensor, size: int) -> Tensor:
    height, width = map.shape[1:]
    return functional.adaptive_avg_pool2d(map, (min(height, size), min(width, size)))


def _spread(values: Tensor, subset: Tensor) -> Tensor:
    spread = values.new_full(subset.shape, torch.nan)
    spread[subset] = values
    return spread


def write_evaluation(
    evaluation: SplitEvaluation, data: RunData, split: str, folder: Path, size: int, gallery: int
) -> None:
    """Write `SPLIT.csv` (one row per image) and `SPLIT.npz` (curves, and maps of the gallery's images).

    The name of the split is made one of a file by `file_name`.

    The gallery's images depend on the split alone, so that the runs of a study show the same ones.
    """
    folder.mkdir(parents=True, exist_ok=True)
    table = evaluation.table
    columns = [column for column in table if not str(column).endswith("_index")]
    with replacing(folder / f"{file_name(split)}.csv") as draft:
        table[columns].to_csv(draft, index=False, float_format="%.6g")
    candidates = np.flatnonzero(table["mask_weight"] > 0)
    if len(candidates) == 0:
        candidates = np.arange(len(table))
    chosen = np.sort(np.random.default_rng(GALLERY_SEED).permutation(candidates)[:gallery])
    samples = [data.samples[row] for row in data.rows(split).index[chosen]]
    arrays: dict[str, Any] = {**evaluation.curves}
    if samples:
        arrays |= {
            "gallery_row": chosen,
            "gallery_image": np.stack([_thumbnail(sample, size) for sample in samples]),
            "gallery_mask": np.stack([_mask_thumbnail(sample, size) for sample in samples]),
            "gallery_mask_weight": table["mask_weight"].to_numpy()[chosen],
            "gallery_map": evaluation.map[chosen].numpy().astype(np.float16),
        }
    with replacing(folder / f"{file_name(split)}.npz") as draft:
        np.savez_compressed(draft, **arrays)


def _thumbnail(sample: Sample, size: int) -> np.ndarray:
    return np.array(Image.fromarray(sample.image.permute(1, 2, 0).numpy()).resize((size, size)))


def _mask_thumbnail(sample: Sample, size: int) -> np.ndarray:
    if sample.mask is None:
        return np.zeros((size, size), np.uint8)
    values = sample.mask[0].numpy()
    if values.dtype != np.uint8:
        values = (values * 255).round().astype(np.uint8)
    return np.array(Image.fromarray(values).resize((size, size)))
