"""What a run says of each image of the folder, and where it looks: computed in the background, kept on disk."""

import hashlib
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from lookright.attribution import explain_prediction, minmax, relu
from lookright.classifier import evaluating
from lookright.data.samples import Sample
from lookright.errors import InputError
from lookright.metrics import energy_in_mask
from lookright.replacing import replacing
from lookright.run_directory import read_arrays
from lookright.studio.folder import OWN, StudioFolder
from lookright.training.masks import masker_of
from lookright.training.run import TrainedRun

BATCH = 16
KEPT_EVERY = 1000
LARGEST_MAP = 32


@dataclass(frozen=True)
class Score:
    """What a run says of one image.

    Attributes:
        stamp: of the image's file.
        probability: (K,), of each class.
        map: (h, w) in [0, 1], of the predicted class; at most 32 cells high and wide.
        embedding: (D,).
    """

    stamp: str
    probability: Float[np.ndarray, " K"]
    map: Float[np.ndarray, "h w"]
    embedding: Float[np.ndarray, " D"]


class RunScores:
    """The scores of a run.

    Args:
        name: that the page gives the run.
        run: trained, of any data whose classes the labels are.
        folder: whose images are scored.
    """

    def __init__(self, name: str, run: TrainedRun, folder: StudioFolder) -> None:
        self.name = name
        self.run = run
        self.folder = folder
        self.by_image: dict[str, Score] = {}
        self.alignment: dict[str, float] = {}
        self.unreadable: set[str] = set()
        self._model = threading.RLock()
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._score_all, daemon=True)

    @property
    def about(self) -> dict[str, Any]:
        """`name`, and `has_masker`: whether it has learned to mark evidence."""
        return {"name": self.name, "has_masker": self._masker is not None}

    def start(self) -> None:
        """Score every image in the background, in the order of the table."""
        self._thread.start()

    def stop(self) -> None:
        """End the background's work, and wait for that."""
        self._ends.set()
        if self._thread.is_alive():
            self._thread.join()

    def of(self, image: str) -> Score:
        """The score of an image, computed now unless it is there.

        Raises:
            InputError: the image cannot be read, or lies outside of the folder.
        """
        found = self.by_image.get(image)
        if found is None or found.stamp != self._stamp(image):
            self._score({image: self.folder.sample(image)})
        return self.by_image[image]

    def align(self, image: str) -> float:
        """The share of the map's energy in the mask that the table names now; NaN without evidence."""
        score = self.of(image)
        self.alignment[image] = _alignment(score.map, self.folder.sample(image))
        return self.alignment[image]

    def learned_mask(self, image: str) -> Float[Tensor, "h w"]:
        """What the masker of a run of ALIGN marks.

        Raises:
            InputError: the run has none.
        """
        masker = self._masker or masker_of(self.run)
        with self._model, torch.no_grad():
            return masker(self.run.preprocessing([self.folder.sample(image).image.as_subclass(Tensor)]))[0]

    @cached_property
    def _masker(self) -> nn.Module | None:
        with self._model, suppress(InputError):
            return masker_of(self.run)
        return None

    def _score_all(self) -> None:
        self._load()
        images = self.folder.table["image"].tolist()
        scored = 0
        for start in range(0, len(images), BATCH):
            part: dict[str, Sample] = {}
            for image in images[start : start + BATCH]:
                if self._ends.is_set():
                    return
                try:
                    sample = self.folder.sample(image)
                    known = self.by_image.get(image)
                    if known is not None and known.stamp == self._stamp(image):
                        self.alignment[image] = _alignment(known.map, sample)
                    else:
                        part[image] = sample
                except (InputError, OSError):
                    self.unreadable.add(image)
            if part:
                self._score(part)
            before, scored = scored, scored + len(part)
            if scored // KEPT_EVERY > before // KEPT_EVERY:
                self._save()
        if scored:
            self._save()

    def _score(self, samples: Mapping[str, Sample]) -> None:
        stamps = {image: self._stamp(image) for image in samples}
        with self._model, evaluating(self.run.classifier):
            batch = self.run.preprocessing([sample.image.as_subclass(Tensor) for sample in samples.values()])
            output, maps = explain_prediction(self.run.classifier, batch, self.run.settings.evaluation.map)
        maps = minmax(relu(maps.float()))
        if max(maps.shape[-2:]) > LARGEST_MAP:
            maps = functional.adaptive_avg_pool2d(maps[:, None], LARGEST_MAP)[:, 0]
        columns = (output.logits.detach().float().softmax(1), maps, output.embedding.detach().float())
        for image, *values in zip(samples, *(column.half().numpy() for column in columns), strict=True):
            self.by_image[image] = Score(stamps[image], *values)
            self.alignment[image] = _alignment(values[1], samples[image])

    def _stamp(self, image: str) -> str:
        status = self.folder.path(image).stat()
        return f"{status.st_size} {status.st_mtime_ns}"

    def _kept(self) -> str:
        path, map = self.run.directory.resolve() / "model.safetensors", self.run.settings.evaluation.map
        state = f"{path} {path.stat().st_size} {path.stat().st_mtime_ns} {map}"
        return hashlib.sha256(state.encode()).hexdigest()[:16]

    def _load(self) -> None:
        """Take what an earlier page computed, of images that are as they were."""
        try:
            path = self.folder.inside(self.folder.root / OWN / "scores" / f"{self._kept()}.npz")
            found = read_arrays(path)
            rows = zip(*(found[name] for name in ("image", "stamp", "probability", "map", "embedding")), strict=True)
            self.by_image |= {str(image): Score(str(stamp), *values) for image, stamp, *values in rows}
        except (InputError, OSError, KeyError, ValueError):
            pass  # computed anew

    def _save(self) -> None:
        scores = dict(self.by_image)
        try:
            path = self.folder.inside(self.folder.root / OWN / "scores" / f"{self._kept()}.npz")
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as draft:
                np.savez(
                    draft,
                    image=np.array(list(scores)),
                    stamp=np.array([score.stamp for score in scores.values()]),
                    probability=np.stack([score.probability for score in scores.values()]),
                    map=np.stack([score.map for score in scores.values()]),
                    embedding=np.stack([score.embedding for score in scores.values()]),
                )
        except (OSError, InputError):
            pass  # of a folder that cannot be written, scores are computed each time


def disagreement(one: Score, other: Score) -> tuple[float, float]:
    """How differently two runs judge an image, and how differently they look at it: total variations, in [0, 1].

    >>> score = lambda p, m: Score("", np.array(p), np.array([m]), np.zeros(1))
    >>> judged, looked = disagreement(score([1.0, 0.0], [1.0, 0.0]), score([0.5, 0.5], [0.0, 1.0]))
    >>> judged, round(looked, 6)
    (0.5, 1.0)
    """
    judged = np.nan
    if one.probability.shape == other.probability.shape:
        judged = float(np.abs(one.probability.astype(float) - other.probability).sum() / 2)
    shape = (max(one.map.shape[0], other.map.shape[0]), max(one.map.shape[1], other.map.shape[1]))
    first, second = (grown(score.map, *shape).astype(float) + 1e-12 for score in (one, other))
    return judged, float(np.abs(first / first.sum() - second / second.sum()).sum() / 2)


def grown(map: Float[np.ndarray, "h w"], height: int, width: int) -> Float[np.ndarray, "H W"]:
    """A map at the size of its image, bilinear."""
    values = torch.from_numpy(map.astype(np.float32))[None, None]
    return functional.interpolate(values, (height, width), mode="bilinear")[0, 0].numpy()


def marked_by(map: Float[np.ndarray, "h w"], height: int, width: int, threshold: float) -> Bool[np.ndarray, "H W"]:
    """Where a map reaches a threshold, at the size of its image."""
    return grown(map, height, width) >= threshold


def _alignment(map: Float[np.ndarray, "h w"], sample: Sample) -> float:
    if sample.mask is None:
        return float("nan")
    mask = sample.mask.as_subclass(Tensor)
    planes = mask.float() if mask.is_floating_point() else mask.float() / 255
    values = torch.from_numpy(map.astype(np.float32))[None]
    return energy_in_mask(values, planes[:1], ignore=planes[1:] if len(planes) == 2 else None).item()
