"""Checkpoints of a run: where to resume from, and the weights to hand out."""

import copy
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from lookright.replacing import replacing
from lookright.training.module import Training


class Checkpoints(Callback):
    """Keeps `last.ckpt` to resume from, and the model's weights at the best validation accuracy.

    A checkpoint is written after each validation (without any: at the end) and, between them, every `every` steps: to a
    temporary name, then renamed, so that a killed run leaves the one before. It holds the state of the random number
    generators; together with the order of the batches, which depends on the seed alone, a resumed run equals an
    unbroken one bit for bit on the CPU.

    Args:
        path: of `last.ckpt`.
        every: optimiser steps between checkpoints besides those after validation; 0: none besides.
    """

    def __init__(self, path: Path, every: int) -> None:
        self.path = path
        self.every = every
        self.last_accuracy = -1.0
        self.best_accuracy = -1.0
        self.best_loss = float("inf")
        self.best_step = 0
        self.best_weights: dict[str, Tensor] = {}
        self.generators: dict[str, Any] | None = None
        self.is_due = False

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Give the generators the state they had when the run was left."""
        if self.generators is not None:
            torch.set_rng_state(self.generators["cpu"])
            if torch.cuda.is_available():
                torch.cuda.set_rng_state_all(self.generators["cuda"])
            self.generators = None

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_index: int
    ) -> None:
        """Write a checkpoint where one is due; at the end of an epoch the validation that follows writes it."""
        validates = trainer.val_check_batch and (batch_index + 1) % trainer.val_check_batch == 0
        stepped = not trainer.fit_loop._should_accumulate()
        if stepped and not validates and (self.is_due or (self.every and trainer.global_step % self.every == 0)):
            self.write(trainer)

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Remember the weights if they are the best so far (equal accuracy: the lower loss), and write a checkpoint."""
        if trainer.sanity_checking or not isinstance(module, Training):
            return
        self.last_accuracy = accuracy = float(trainer.callback_metrics.get("val/accuracy", 0.0))
        loss = float(trainer.callback_metrics.get("val/loss", 0.0))
        if (accuracy, -loss) > (self.best_accuracy, -self.best_loss):
            self.best_accuracy, self.best_loss, self.best_step = accuracy, loss, trainer.global_step
            self.best_weights = copy.deepcopy(module.classifier.model.state_dict())
        # A checkpoint does not hold gradients that accumulate: it waits for the step that they are for.
        self.is_due = trainer.fit_loop._should_accumulate()
        if not self.is_due:
            self.write(trainer)

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Write the last step where no validation does."""
        if not trainer.enable_validation:
            self.write(trainer)

    def write(self, trainer: Trainer) -> None:
        """Write `last.ckpt`."""
        self.is_due = False
        # All processes take part, the first one alone writes.
        with replacing(self.path) if trainer.is_global_zero else nullcontext(self.path) as draft:
            trainer.save_checkpoint(draft)

    def state_dict(self) -> dict[str, Any]:
        """The last and the best so far, and the state of the random number generators."""
        kept = ("last_accuracy", "best_accuracy", "best_loss", "best_step", "best_weights")
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        return {key: getattr(self, key) for key in kept} | {"generators": {"cpu": torch.get_rng_state(), "cuda": cuda}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        for key, value in state_dict.items():
            setattr(self, key, value)
