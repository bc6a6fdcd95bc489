"""A run: a directory with everything that is needed to repeat, resume, evaluate and report one training."""

import copy
import logging
import os
import sys
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonargparse
import lightning
import torch
from lightning import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, RichProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.data import DataLoader

from lookright.classifier import Classifier
from lookright.data.dataset import Collate, ShuffledBatches
from lookright.errors import InputError
from lookright.methods.stochastic import add_to_seeds
from lookright.run_directory import (
    MetricsLog,
    environment,
    read_checkpoint,
    read_facts,
    read_json,
    save_model,
    write_json,
)
from lookright.training.checkpoints import Checkpoints
from lookright.training.model import Normalisation, build_model
from lookright.training.module import Training
from lookright.training.run_data import RunData, load_data, thin_out_masks
from lookright.training.settings import RunSettings, instantiate, parse_settings, read_settings, write_settings

PRECISION = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
PACKAGES = ("lookright", "torch", "torchvision", "timm", "lightning", "torchmetrics", "numpy", "pandas")


@dataclass
class TrainedRun:
    """A run that has its weights.

    Attributes:
        directory: of the run.
        settings: it was trained with.
        classifier: with the weights that were selected, in eval mode.
        classes: the name of each class index.
        normalisation: of the model's input.
        fingerprint: of the data set it was trained on.
    """

    directory: Path
    settings: RunSettings
    classifier: Classifier
    classes: list[str]
    normalisation: Normalisation
    fingerprint: str


def train(config: Mapping[str, Any] | jsonargparse.Namespace) -> TrainedRun:
    """Train from a dict with the keys of `RunSettings`, and write the run's directory.

    Raises:
        InputError: bad settings, bad data, `out` already holds a run, or the loss is not finite.
    """
    namespace = config if isinstance(config, jsonargparse.Namespace) else parse_settings(config)
    settings = instantiate(namespace)
    if _is_first_process() and settings.out.exists() and any(settings.out.iterdir()):
        raise InputError(
            f"{str(settings.out)!r} already holds files. Continue a run with --resume {settings.out}, or give "
            "another --out."
        )
    data = _load_training_data(settings)
    classifier, normalisation = _build(settings, data)  # complains before anything is written
    if _is_first_process():
        settings.out.mkdir(parents=True, exist_ok=True)
        write_settings(namespace, settings.out / "config.yaml")
        write_json(settings.out / "environment.json", _environment(settings, data))
    return _fit(settings, data, classifier, normalisation, checkpoint=None)


def resume(out: Path) -> TrainedRun:
    """Continue an interrupted run from its last checkpoint; one without a checkpoint starts again.

    Raises:
        InputError: no run, a finished run, or its data set has changed since.
    """
    settings = instantiate(read_settings(out / "config.yaml"))
    settings.out = out
    if (out / "model.safetensors").is_file():
        raise InputError(f"The run {str(out)!r} is finished. Evaluate it, or train a new one with another --out.")
    data = _load_training_data(settings)
    path = out / "environment.json"
    if path.is_file():
        check_fingerprint(out, read_json(path, ["data"])["data"]["fingerprint"], data)
    else:
        write_json(path, _environment(settings, data))
    checkpoint = out / "last.ckpt"
    classifier, normalisation = _build(settings, data)
    return _fit(settings, data, classifier, normalisation, checkpoint if checkpoint.is_file() else None)


def check_fingerprint(out: Path, fingerprint: str, data: RunData) -> None:
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
    facts = read_facts(path, ("classes", "mean", "std", "fingerprint"))
    model, _ = build_model(settings.model, len(facts["classes"]), str(path), settings.model_arguments)
    return TrainedRun(
        directory,
        settings,
        Classifier(model.eval()),
        facts["classes"],
        Normalisation(tuple(facts["mean"]), tuple(facts["std"])),
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
    state = read_checkpoint(path, ("state_dict",))["state_dict"]
    prefix = "classifier.model."
    model = copy.deepcopy(run.classifier.model)
    model.load_state_dict({key.removeprefix(prefix): state[key] for key in state if key.startswith(prefix)})
    return Classifier(model)


def _load_training_data(settings: RunSettings) -> RunData:
    data = load_data(
        settings.data,
        settings.protocol,
        settings.seed,
        skip_unreadable=settings.skip_unreadable,
        cache=settings.cache,
    )
    for message in data.skipped:
        warnings.warn(f"Left out: {message}", stacklevel=2)
    thin_out_masks(data.table, settings.mask_share, settings.seed)
    data.mask_control = settings.mask_control
    training = data.rows("train")
    if len(training) == 0:
        raise InputError(f"No readable training image in {str(settings.data)!r}.")
    if settings.method.needs_mask and not (training["mask_weight"] > 0).any():
        raise InputError(
            f"{type(settings.method).__name__} needs masks, and none of the {len(training)} training images of "
            f"{str(settings.data)!r} has one. Fill in the column mask or box of labels.csv, or train with --method ERM."
        )
    return data


def _build(settings: RunSettings, data: RunData) -> tuple[Classifier, Normalisation]:
    lightning.seed_everything(settings.seed, verbose=False)
    model, normalisation = build_model(settings.model, len(data.classes), settings.weights, settings.model_arguments)
    if settings.channels_last:
        model.to(memory_format=torch.channels_last)
    classifier = Classifier(model)
    method, steps = settings.method, _steps(_batches(settings, data), settings)
    if method.warmup_steps and steps <= method.warmup_steps:
        raise InputError(
            f"{type(method).__name__} only begins after {method.warmup_steps} steps of warming up, and this training "
            f"has {steps}. Raise --epochs, or lower the method's warmup."
        )
    add_to_seeds(settings.method, settings.seed)
    method.bind(classifier)
    return classifier, normalisation


def _batches(settings: RunSettings, data: RunData, start: int = 0) -> ShuffledBatches:
    return ShuffledBatches(
        len(data.rows("train")),
        settings.batch_size,
        settings.epochs,
        settings.seed,
        start=start,
        rank=int(os.environ.get("LOCAL_RANK", 0)),
        world_size=settings.devices,
    )


def _steps(batches: ShuffledBatches, settings: RunSettings) -> int:
    """Optimiser steps of the whole training."""
    return -(-len(batches) // settings.accumulate)


def _fit(
    settings: RunSettings, data: RunData, classifier: Classifier, normalisation: Normalisation, checkpoint: Path | None
) -> TrainedRun:
    _quiet_lightning()
    step = _steps_done(checkpoint)
    batches = _batches(settings, data, start=step * settings.accumulate)
    training = Training(classifier, settings.method, settings, _steps(batches, settings))
    loader: DataLoader = DataLoader(
        data.dataset("train", settings.size, settings.augmentation, settings.seed),
        batch_sampler=batches,
        collate_fn=Collate(normalisation.mean, normalisation.std),
        num_workers=settings.workers,
        generator=torch.Generator(),
    )
    validates = len(data.rows("val")) > 0
    validation = data.loader("val", settings.size, normalisation, settings.batch_size) if validates else None
    every = settings.checkpoint_every if validates else settings.checkpoint_every or batches.batches_per_epoch
    checkpoints = Checkpoints(settings.out / "last.ckpt", every)
    callbacks: list[Callback] = [checkpoints, LearningRateMonitor("step")]
    if settings.patience and validates:
        callbacks.insert(0, EarlyStopping("val/accuracy", patience=settings.patience, mode="max"))
    if sys.stderr.isatty():
        callbacks.append(RichProgressBar())
    several = "ddp_find_unused_parameters_true" if settings.method.takes_turns else "ddp"
    trainer = Trainer(
        accelerator=settings.accelerator,
        devices=settings.devices,
        strategy=several if settings.devices > 1 else "auto",
        sync_batchnorm=settings.devices > 1,
        precision=PRECISION[settings.precision],  # type: ignore[arg-type]
        max_epochs=1,
        val_check_interval=batches.batches_per_epoch if validates else 1.0,
        check_val_every_n_epoch=None if validates else 1,
        limit_val_batches=1.0 if validates else 0,
        num_sanity_val_steps=0,
        accumulate_grad_batches=settings.accumulate,
        gradient_clip_val=settings.clip or None,
        use_distributed_sampler=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=sys.stderr.isatty(),
        log_every_n_steps=max(1, min(10, batches.batches_per_epoch)),
        logger=[MetricsLog(settings.out / "metrics.csv", step), TensorBoardLogger(settings.out, "", "tensorboard")],
        callbacks=callbacks,
    )
    started = time.perf_counter()
    trainer.fit(training, loader, validation, ckpt_path=checkpoint, weights_only=True)
    seconds = time.perf_counter() - started
    classifier.cpu().eval()
    best = validates and settings.select == "best"
    if best:
        classifier.model.load_state_dict(checkpoints.best_weights)
    if trainer.is_global_zero:
        facts = {
            "model": settings.model,
            "classes": data.classes,
            "mean": normalisation.mean,
            "std": normalisation.std,
            "size": settings.size,
            "fingerprint": data.fingerprint,
            "val_accuracy": checkpoints.best_accuracy if best else checkpoints.last_accuracy if validates else None,
            "step": checkpoints.best_step if best else trainer.global_step,
            "train_seconds": round(seconds, 1),
        }
        save_model(settings.out / "model.safetensors", classifier.model, facts)
    return TrainedRun(settings.out, settings, classifier, data.classes, normalisation, data.fingerprint)


def _is_first_process() -> bool:
    return int(os.environ.get("LOCAL_RANK", 0)) == 0


def _steps_done(checkpoint: Path | None) -> int:
    return read_checkpoint(checkpoint, ("global_step",))["global_step"] if checkpoint else 0


def _environment(settings: RunSettings, data: RunData) -> dict[str, Any]:
    gpu = torch.cuda.is_available() and settings.accelerator in ("auto", "gpu")
    return {
        **environment(PACKAGES, gpu),
        "seed": settings.seed,
        "data": {
            "fingerprint": data.fingerprint,
            "images": data.table["split"].value_counts().to_dict(),
            "skipped": len(data.skipped),
        },
    }


def _quiet_lightning() -> None:
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    noise = [
        "does not have many workers",
        "number of training batches",
        "ended before the epoch ended",  # ShuffledBatches goes on at any batch
        "no `val_dataloader`",
        "isinstance\\(treespec",
    ]
    for message in noise:
        warnings.filterwarnings("ignore", f".*{message}", module="lightning")
