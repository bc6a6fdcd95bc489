"""A run: a directory with everything that is needed to repeat, resume, evaluate and report one training."""

import copy
import json
import time
import warnings
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jsonargparse
import torch
from lightning.fabric import seed_everything
from torch.utils.data import DataLoader

from lookright.classifier import Classifier
from lookright.data.balance import draw_weights, require_groups
from lookright.data.dataset import ShuffledBatches
from lookright.errors import InputError
from lookright.interruption import Interrupted
from lookright.methods.group_dro import count_groups
from lookright.methods.stochastic import add_to_seeds
from lookright.run_directory import (
    environment,
    only_writer,
    read_checkpoint,
    read_facts,
    read_json,
    read_weights,
    require_empty,
    save_model,
    write_json,
)
from lookright.training.cost import Cost, affordable_epochs, training_cost
from lookright.training.devices import end_further_processes, rank, require_device, start_fabric
from lookright.training.loggers import build_loggers
from lookright.training.loop import CHECKPOINT, Progress, TrainingLoop, step_of
from lookright.training.model import build_model, require_known_model, try_out
from lookright.training.preprocessing import Preprocessing
from lookright.training.rehearsal import first_batch, rehearse
from lookright.training.run_data import RunData, load_data, permute_labels, thin_out_masks
from lookright.training.settings import RunSettings, instantiate, parse_settings, read_settings, write_settings

PACKAGES = ("lookright", "torch", "torchvision", "timm", "lightning", "torchmetrics", "numpy", "pandas")

FACTS = {"classes": list, "mean": list, "std": list, "fingerprint": str}
"""What the weights of a run say of themselves, see `_facts`."""


@dataclass
class TrainedRun:
    """A run that has its weights.

    Attributes:
        directory: of the run.
        settings: it was trained with.
        classifier: with the weights that were selected, in eval mode.
        classes: the name of each class index.
        preprocessing: of images into the model's input.
        fingerprint: of the data set it was trained on.
    """

    directory: Path
    settings: RunSettings
    classifier: Classifier
    classes: list[str]
    preprocessing: Preprocessing
    fingerprint: str


def train(config: Mapping[str, Any] | jsonargparse.Namespace) -> TrainedRun:
    """Train from a dict with the keys of `RunSettings`, and write the run's directory.

    Raises:
        InputError: bad settings, bad data, `out` already holds a run or is written by another process, or the loss is
            not finite.
        Interrupted: a signal asked for the end; `resume` goes on.
    """
    namespace = config if isinstance(config, jsonargparse.Namespace) else parse_settings(config)
    settings = instantiate(namespace)
    if rank() == 0:
        require_empty(settings.out)
    data = _load_training_data(settings)
    classifier, preprocessing, cost = _build(settings, data)  # complains before anything is written
    if rank() > 0:
        return _fit(settings, data, classifier, preprocessing, cost, checkpoint=None)
    settings.out.mkdir(parents=True, exist_ok=True)
    with only_writer(settings.out):
        require_empty(settings.out)
        write_settings(namespace, settings.out / "config.yaml")
        write_json(settings.out / "environment.json", _environment(settings, data))
        _train_before(settings, data, classifier)
        return _fit(settings, data, classifier, preprocessing, cost, checkpoint=None)


def resume(out: Path) -> TrainedRun:
    """Continue an interrupted run from its last checkpoint; one without a checkpoint starts again.

    Raises:
        InputError: no run, a finished run, one that another process is writing, or its data set has changed since.
        Interrupted: a signal asked for the end; `resume` goes on.
    """
    settings = instantiate(read_settings(out / "config.yaml"))
    require_known_model(settings.model, settings.model_arguments, out / "config.yaml")
    settings.out = out
    with only_writer(out) if rank() == 0 else nullcontext():
        if (out / "model.safetensors").is_file():
            raise InputError(f"The run {str(out)!r} is finished. Evaluate it, or train a new one with another --out.")
        data = _load_training_data(settings)
        path = out / "environment.json"
        if path.is_file():
            check_fingerprint(out, read_json(path, {"data": dict})["data"].get("fingerprint"), data)
        else:
            write_json(path, _environment(settings, data))
        checkpoint = out / "last.ckpt"
        classifier, preprocessing, cost = _build(settings, data)
        _train_before(settings, data, classifier)
        return _fit(settings, data, classifier, preprocessing, cost, checkpoint if checkpoint.exists() else None)


def check_fingerprint(out: Path, fingerprint: object, data: RunData) -> None:
    """Refuse a run of another data set.

    Raises:
        InputError: the fingerprints differ.
    """
    if fingerprint != data.fingerprint:
        raise InputError(
            f"The run {str(out)!r} was trained on a data set with fingerprint {fingerprint}; the folder given has "
            f"{data.fingerprint}. Give the folder it was trained on, unchanged, or train anew."
        )


def load_run(directory: Path) -> TrainedRun:
    """Load a trained run.

    Raises:
        InputError: no run, or one without weights.
    """
    settings = instantiate(read_settings(directory / "config.yaml"))
    path = directory / "model.safetensors"
    if not path.is_file():
        raise InputError(
            f"The run {str(directory)!r} has no model.safetensors: it was not finished. "
            f"Continue it with lookright train --resume {directory}."
        )
    require_known_model(settings.model, settings.model_arguments, directory / "config.yaml")
    facts = read_facts(path, FACTS)
    model, _ = build_model(settings.model, len(facts["classes"]), str(path), settings.model_arguments)
    return TrainedRun(
        directory,
        settings,
        Classifier(model.eval()),
        facts["classes"],
        Preprocessing(settings.images.size, tuple(facts["mean"]), tuple(facts["std"])),
        facts["fingerprint"],
    )


def load_last_step(run: TrainedRun) -> Classifier:
    """The classifier as the last step of training left it, whichever weights the run hands out.

    Raises:
        InputError: the run's last.ckpt is gone.
    """
    path = run.directory / "last.ckpt"
    if not path.is_file():
        raise InputError(f"No {str(path)!r}, which holds the weights of the last step. Train the run anew.")
    model = copy.deepcopy(run.classifier.model)
    model.load_state_dict(read_checkpoint(path, ("model",))["model"])
    return Classifier(model)


def _load_training_data(settings: RunSettings) -> RunData:
    images = settings.images
    data = load_data(
        settings.data,
        settings.protocol,
        settings.seed,
        **settings.reading,
    )
    for message in data.skipped:
        warnings.warn(f"Left out: {message}", stacklevel=2)
    if images.random_labels:
        permute_labels(data, settings.seed)
    thin_out_masks(data.table, images.mask_share, settings.seed)
    data.mask_control = images.mask_control
    training = data.rows("train")
    if len(training) == 0:
        raise InputError(f"No readable training image in {str(settings.data)!r}.")
    if len(data.classes) < 2:
        raise InputError(
            f"Every training image of {str(settings.data)!r} has the label {data.classes[0]!r}; there is nothing to "
            "learn. Check the column label of labels.csv."
        )
    _require_needs(settings, data)
    if settings.schedule.patience and len(data.rows("val")) == 0:
        raise InputError(
            f"patience = {settings.schedule.patience} looks at the split val, and the splits of {str(settings.data)!r} "
            f"are {', '.join(map(repr, data.table['split'].unique()))}. Name one of them val, or leave out --patience."
        )
    return data


def _require_needs(settings: RunSettings, data: RunData) -> None:
    """Refuse data without what the method needs of every image."""
    needs, name, training = settings.method.needs, type(settings.method).__name__, data.rows("train")
    if "mask" in needs and not (training["mask_weight"] > 0).any():
        raise InputError(
            f"{name} needs masks, and none of the {len(training)} training images of {str(settings.data)!r} has one. "
            "Fill in the column mask or box of labels.csv, or train with --method ERM."
        )
    if "group" in needs:
        require_groups(training, name)
    if "val" in needs:
        validation = data.rows("val")
        missing = [label for label in data.classes if label not in set(validation["label"])]
        if missing:
            raise InputError(
                f"{name} learns from the split val, and val of {str(settings.data)!r} has no image of {missing[0]!r}. "
                "Give it some of every class."
            )
        if "group" in needs:
            require_groups(validation, name)
    if settings.method.first() is not None and settings.machine.devices > 1:
        raise InputError(f"{name} trains twice, which runs on one device only. Take --devices 1.")
    if "domain" in needs and not data.domains:
        raise InputError(
            f"{name} needs domains, and {str(settings.data)!r} names none. Fill in the column domain of labels.csv."
        )


def _build(settings: RunSettings, data: RunData) -> tuple[Classifier, Preprocessing, Cost | None]:
    require_device(settings.machine, settings.optimisation.batch_size)
    seed_everything(settings.seed, verbose=False)
    model, (mean, std) = build_model(settings.model, len(data.classes), settings.weights, settings.model_arguments)
    preprocessing = Preprocessing(settings.images.size, mean, std)
    images = min(2, settings.optimisation.batch_size)
    called = f"{settings.model!r} with {json.dumps(settings.model_arguments, default=str)}"
    try_out(model, preprocessing, len(data.classes), images, settings.optimisation.task, called)
    if settings.machine.channels_last:
        model.to(memory_format=torch.channels_last)
    classifier = Classifier(model, input_size=(len(mean), settings.images.size, settings.images.size))
    method = settings.method
    add_to_seeds(method, settings.seed)
    count_groups(method, data.group_sizes)
    method.attach(classifier)
    cost = training_cost(settings, data, preprocessing, classifier) if settings.schedule.budget else None
    if cost is not None:
        settings.schedule.epochs = affordable_epochs(settings, cost)
    steps = _steps(_batches(settings, data), settings)
    warmup = max(getattr(part, "warmup_steps", 0) for part in method.modules())
    if warmup and steps <= warmup:
        raise InputError(
            f"{type(method).__name__} only begins after {warmup} steps of warming up, and this training "
            f"has {steps}. Raise --epochs, or lower the method's warmup."
        )
    batch = first_batch(data, preprocessing, images)
    for step in sorted({0, warmup}):
        rehearse(classifier, method, batch, settings.optimisation.task, step)
    return classifier, preprocessing, cost


def _train_before(settings: RunSettings, data: RunData, classifier: Classifier) -> None:
    """Where the method asks for one, a training in a directory of its own, `first`; what it found is for the run's own.

    So are its weights, where it says so. Interrupted, it goes on where it was; done, it is not repeated. The run's own
    random state is left alone.
    """
    asked = settings.method.first()
    if asked is None:
        return
    method, epochs = asked
    out = settings.out / "first"
    weights = out / "model.safetensors"  # written last
    if not weights.is_file():
        schedule = replace(settings.schedule, epochs=epochs, budget=0.0, patience=0, select="last")
        first = replace(settings, out=out, method=method, schedule=schedule)
        out.mkdir(exist_ok=True)
        checkpoint = out / "last.ckpt"
        with torch.random.fork_rng(range(torch.cuda.device_count())):
            to_train, preprocessing, cost = _build(first, data)
            try:
                _fit(first, data, to_train, preprocessing, cost, checkpoint if checkpoint.is_file() else None)
            except Interrupted as interruption:
                raise Interrupted(
                    interruption.number,
                    f"interrupted in the first of two trainings. Go on with lookright train --resume {settings.out}, "
                    "or repeat the command of the study.",
                ) from None
    found = read_json(out / "finish.json")
    data.repeats = found.get("repeats")
    if settings.schedule.budget:
        share = len(data.rows("train")) / len(data.training_rows)
        settings.schedule.epochs = max(1, round(settings.schedule.epochs * share))
    if found.get("hands_on_weights"):
        classifier.model.load_state_dict(read_weights(weights))


def _batches(settings: RunSettings, data: RunData, start: int = 0) -> ShuffledBatches:
    return ShuffledBatches(
        len(data.training_rows),
        settings.optimisation.batch_size,
        settings.schedule.epochs,
        settings.seed,
        start=start,
        rank=rank(),
        world_size=settings.machine.devices,
        weights=draw_weights(data.training_rows, balance) if (balance := settings.images.balance) else None,
    )


def _steps(batches: ShuffledBatches, settings: RunSettings) -> int:
    """Optimiser steps of the whole training."""
    return -(-len(batches) // settings.optimisation.accumulate)


def _fit(
    settings: RunSettings,
    data: RunData,
    classifier: Classifier,
    preprocessing: Preprocessing,
    cost: Cost | None,
    checkpoint: Path | None,
) -> TrainedRun:
    state = read_checkpoint(checkpoint, CHECKPOINT) if checkpoint else None
    start = step_of(state, checkpoint) * settings.optimisation.accumulate if state and checkpoint else 0
    batches = _batches(settings, data, start)
    fabric = start_fabric(settings)
    loop = TrainingLoop(
        fabric,
        settings,
        classifier,
        settings.method,
        _steps(batches, settings),
        batches.batches_per_epoch,
        build_loggers(settings.machine.loggers, settings.out) if fabric.is_global_zero else [],
    )
    if state and checkpoint:
        loop.restore(state, checkpoint)
    started = time.perf_counter()
    loop.run(
        _training_loader(settings, data, preprocessing, batches), _validation_loader(settings, data, preprocessing)
    )
    seconds = time.perf_counter() - started
    end_further_processes(fabric)
    data.samples.require_unchanged()
    classifier.eval()
    facts = _facts(settings, data, preprocessing, loop.progress)
    if facts["val_accuracy"] is not None and settings.schedule.select == "best":
        classifier.model.load_state_dict(loop.progress.best_weights)
    done = settings.method.finish(classifier, lambda split: data.batches(split, preprocessing, fabric.device))
    if done:
        write_json(settings.out / "finish.json", done)
    classifier.cpu()
    facts["train_seconds"] = round(seconds, 1)
    if cost is not None:
        shown = min(loop.progress.step * settings.optimisation.accumulate, len(batches)) / batches.batches_per_epoch
        repeats = len(data.training_rows) / len(data.rows("train"))
        facts["compute"] = round(cost.before + cost.epoch * shown * repeats, 3)
    save_model(settings.out / "model.safetensors", classifier.model, facts)
    return TrainedRun(settings.out, settings, classifier, data.classes, preprocessing, data.fingerprint)


def _training_loader(
    settings: RunSettings, data: RunData, preprocessing: Preprocessing, batches: ShuffledBatches
) -> DataLoader:
    return DataLoader(
        data.dataset("train", preprocessing.size, settings.images.augmentation, settings.seed),
        batch_sampler=batches,
        collate_fn=preprocessing.collate(),
        num_workers=settings.machine.workers,
        generator=torch.Generator(),
    )


def _validation_loader(settings: RunSettings, data: RunData, preprocessing: Preprocessing) -> DataLoader | None:
    if len(data.rows("val")) == 0:
        return None
    return data.loader("val", preprocessing, settings.optimisation.batch_size)


def _facts(settings: RunSettings, data: RunData, preprocessing: Preprocessing, progress: Progress) -> dict[str, Any]:
    """What is to be known of the weights that are handed out."""
    validates, best = len(data.rows("val")) > 0, settings.schedule.select == "best"
    accuracy = progress.best_accuracy if best else progress.last_accuracy
    return {
        "model": settings.model,
        "classes": data.classes,
        "mean": preprocessing.mean,
        "std": preprocessing.std,
        "size": preprocessing.size,
        "fingerprint": data.fingerprint,
        "epochs": settings.schedule.epochs,
        "val_accuracy": accuracy if validates else None,
        "step": progress.best_step if validates and best else progress.step,
    }


def _environment(settings: RunSettings, data: RunData) -> dict[str, Any]:
    gpu = torch.cuda.is_available() and settings.machine.accelerator in ("auto", "gpu")
    return {
        **environment(PACKAGES, gpu),
        "seed": settings.seed,
        "data": {
            "fingerprint": data.fingerprint,
            "images": data.table["split"].value_counts().to_dict(),
            "skipped": len(data.skipped),
        },
    }
