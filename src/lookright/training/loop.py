"""The training loop. Fabric carries devices, processes and precision; the steps are taken here."""

import copy
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from lightning.fabric.loggers import Logger
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader

from lookright.batch import Batch
from lookright.classifier import Classifier, evaluating
from lookright.errors import InputError
from lookright.interruption import Interrupted, noticing_signals
from lookright.methods import Method
from lookright.run_directory import MetricsLog, write_checkpoint
from lookright.time_left import with_time_left
from lookright.training.settings import RunSettings
from lookright.training.step import Held, TrainingStep, build_optimizer, build_schedule

CHECKPOINT = ("step", "model", "method", "optimizer", "schedule", "precision", "progress", "generators")
"""What a checkpoint holds."""

LOG_EVERY = 10
"""Steps between two rows of the log; an epoch has at least one."""


@dataclass
class Progress:
    """How far a training is, and the best of it so far.

    Attributes:
        step: steps of the optimiser that are done.
        last_accuracy: of the last validation.
        best_accuracy: of the best validation; of equal ones, that with the lower loss.
        best_loss: of that validation.
        best_step: when it was.
        best_weights: of the model, then.
        waited: validations since the accuracy last rose.
    """

    step: int = 0
    last_accuracy: float = -1.0
    best_accuracy: float = -1.0
    best_loss: float = math.inf
    best_step: int = 0
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    waited: int = 0

    def note(self, accuracy: float, loss: float, classifier: Classifier) -> None:
        """A validation."""
        self.waited = 0 if accuracy > self.best_accuracy else self.waited + 1
        self.last_accuracy = accuracy
        if (accuracy, -loss) > (self.best_accuracy, -self.best_loss):
            self.best_accuracy, self.best_loss, self.best_step = accuracy, loss, self.step
            self.best_weights = copy.deepcopy(classifier.model.state_dict())


def step_of(state: Mapping[str, Any], source: Path) -> int:
    """The steps that a checkpoint is made after.

    Raises:
        InputError: it says something else there.
    """
    if type(state["step"]) is not int or state["step"] < 0:
        raise InputError(f"The checkpoint {str(source)!r} has the step {state['step']!r}; expected a whole number.")
    return state["step"]


class TrainingLoop:
    """Trains a classifier with a method, from the beginning or from `last.ckpt`.

    A checkpoint is written after each validation (without any: after each epoch), every `checkpoint_every` steps, and
    when a signal asks for the end: to a temporary name, then renamed, so that a killed run leaves the one before. It
    holds the state of the random number generators; together with the order of the batches, which depends on the seed
    alone, a resumed run equals an unbroken one bit for bit on the CPU.

    Args:
        fabric: launched.
        settings: of the run.
        classifier: the user's model, wrapped.
        method: bound to the classifier.
        steps: optimiser steps of the whole training.
        batches_per_epoch: between two validations.
        loggers: that get every figure, besides `metrics.csv`.
    """

    def __init__(
        self,
        fabric: Fabric,
        settings: RunSettings,
        classifier: Classifier,
        method: Method,
        steps: int,
        batches_per_epoch: int,
        loggers: list[Logger],
    ) -> None:
        self.fabric, self.settings, self.classifier, self.method = fabric, settings, classifier, method
        self.batches_per_epoch = batches_per_epoch
        self.progress = Progress()
        self.checkpoint = settings.out / "last.ckpt"
        self.loggers = loggers
        self.log = MetricsLog(settings.out / "metrics.csv")
        self.is_due, self.written = False, -1
        step = TrainingStep(classifier, method, settings.optimisation.freeze_batchnorm, settings.optimisation.task)
        if settings.machine.devices > 1 and fabric.device.type == "cuda":
            step = torch.nn.SyncBatchNorm.convert_sync_batchnorm(step)
        self.optimizer = build_optimizer(classifier, method, settings.optimisation)
        self.schedule = build_schedule(self.optimizer, settings.schedule.lr_warmup, steps)
        self.step, self.fabric_optimizer = fabric.setup(step, self.optimizer)

    def restore(self, state: Mapping[str, Any], source: Path) -> None:
        """Go on where a checkpoint was written.

        Raises:
            InputError: it is that of another training, or of another version; `source` is its path.
        """
        try:
            self._restore(state)
        except InputError:
            raise
        except Exception as error:  # whatever PyTorch makes of states of another shape or kind
            first = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            raise InputError(
                f"The checkpoint {str(source)!r} does not fit the settings of its run ({first}). Delete it, and the "
                "run starts again."
            ) from error

    def _restore(self, state: Mapping[str, Any]) -> None:
        self.classifier.model.load_state_dict(state["model"])
        self.method.load_state_dict(state["method"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.fabric.strategy.precision.load_state_dict(state["precision"])
        self.progress = Progress(**state["progress"])
        self.written = self.progress.step
        self.log = MetricsLog(self.log.path, self.progress.step)
        torch.set_rng_state(state["generators"]["cpu"])
        if torch.cuda.is_available() and state["generators"]["cuda"]:
            torch.cuda.set_rng_state_all(state["generators"]["cuda"])

    def run(self, batches: DataLoader, validation: DataLoader | None) -> None:
        """Take the steps that are left, each batch of `batches` being the next of the training.

        Raises:
            InputError: the loss is not finite; the last checkpoint is kept.
            Interrupted: a signal asked for the end; a checkpoint of the last step is kept.
        """
        accumulate, patience = self.settings.optimisation.accumulate, self.settings.schedule.patience
        done, total = self.progress.step * accumulate, len(batches.batch_sampler)  # type: ignore[arg-type]
        shown = with_time_left(
            _without_traceback(batches), self.settings.out.name, total - done, self.fabric.is_global_zero
        )
        with self._ending_loggers(), noticing_signals() as request:
            for number, batch in enumerate(shown, start=done + 1):
                if validation is not None and patience and self.progress.waited >= patience:
                    break
                moves = number % accumulate == 0 or number == total
                self._learn(batch, moves)
                ends_epoch = number % self.batches_per_epoch == 0
                if ends_epoch and validation is not None:
                    self._validate(validation)
                self._keep(moves, ends_epoch, self._any_of_processes(request.signal))
        if self.written != self.progress.step:
            self._write_checkpoint()

    def _learn(self, batch: Batch, moves: bool) -> None:
        """Forward and backward; where gradients are complete, the optimiser moves."""
        settings, step = self.settings.optimisation, self.progress.step
        batch = self.fabric.to_device(batch)
        if self.settings.machine.channels_last:
            batch["image"] = batch["image"].to(memory_format=torch.channels_last)
        with self.fabric.no_backward_sync(self.step, enabled=not moves):
            loss, figures = self.step(Held(batch))
            figures = self._mean_over_processes(figures)
            self._require_finite(figures)
            self.fabric.backward(loss / settings.accumulate)
        if not moves:
            return
        if self._is_logged(step):
            rate = {"train/lr": self.optimizer.param_groups[0]["lr"]}
            self._log(step, {f"train/{name}": value.item() for name, value in figures.items()} | rate)
        if settings.clip:
            self.fabric.clip_gradients(
                self.step, self.fabric_optimizer, max_norm=settings.clip, error_if_nonfinite=False
            )
        self.fabric_optimizer.step()
        self.fabric_optimizer.zero_grad()
        self.schedule.step()
        self.progress.step += 1

    @torch.no_grad()
    def _mean_over_processes(self, figures: dict[str, Tensor]) -> dict[str, Tensor]:
        """What all processes know, so that they agree on going on."""
        if self.fabric.world_size == 1:
            return figures
        values = torch.stack([value.detach().float() for value in figures.values()])
        return dict(zip(figures, self.fabric.all_reduce(values, reduce_op="mean"), strict=True))

    def _require_finite(self, figures: Mapping[str, Tensor]) -> None:
        loss = figures["loss"]
        if not loss.isfinite():
            terms = ", ".join(f"{name} {value.item():g}" for name, value in figures.items() if name != "loss")
            raise InputError(
                f"The loss became {loss.item():g} in step {self.progress.step} ({terms}). The last good checkpoint is "
                "kept. Lower --lr, set --clip, or use --precision fp32 or bf16."
            )

    def _is_logged(self, step: int) -> bool:
        period = max(1, min(LOG_EVERY, self.batches_per_epoch))
        # Of a method that takes turns the next step, too: turns of one step would else show the same side for ever.
        return (step + 1) % period == 0 or ("unused_parameters" in self.method.needs and step % period == 0)

    def _log(self, step: int, figures: Mapping[str, float]) -> None:
        if self.fabric.is_global_zero:
            self.log.log_metrics(figures, step)
            self._to_loggers(lambda logger: logger.log_metrics(dict(figures), step))

    def _to_loggers(self, say: Callable[[Logger], None]) -> None:
        for logger in [*self.loggers]:
            try:
                say(logger)
            except Exception as error:  # of a full disk, or a server that is gone; metrics.csv has the figures
                self.loggers.remove(logger)
                what = " ".join(str(error.__cause__ or error).split())
                warnings.warn(f"{type(logger).__name__} gets no more figures: {what}", stacklevel=2)

    @contextmanager
    def _ending_loggers(self) -> Iterator[None]:
        """A logger that is not told the end keeps a thread and a file."""
        try:
            yield
        finally:
            self._to_loggers(lambda logger: logger.finalize("success"))

    @torch.no_grad()
    def _validate(self, validation: DataLoader) -> None:
        """Accuracy and cross-entropy on the validation split."""
        correct, total, images = torch.zeros(()), torch.zeros(()), 0
        with evaluating(self.classifier), self.fabric.autocast():
            for batch in validation:
                image, label = (batch[key].to(self.fabric.device) for key in ("image", "label"))
                logits = self.classifier(image).logits.float()
                correct += (logits.argmax(1) == label).sum().cpu()
                total += functional.cross_entropy(logits, label).cpu() * len(label)
                images += len(label)
        # BatchNorm's statistics differ between processes on CPUs; what is concluded from them must not.
        accuracy, loss = self.fabric.broadcast(((correct / images).item(), (total / images).item()))
        self.progress.note(accuracy, loss, self.classifier)
        self._log(max(self.progress.step - 1, 0), {"val/accuracy": accuracy, "val/loss": loss})

    def _any_of_processes(self, signal: int | None) -> int | None:
        """The signal that any process was sent: the others would wait for its next step for ever."""
        if self.fabric.world_size == 1:
            return signal
        numbers = torch.tensor(signal or 0, device=self.fabric.device)
        torch.distributed.all_reduce(numbers, torch.distributed.ReduceOp.MAX)
        return int(numbers) or None

    def _keep(self, moved: bool, ends_epoch: bool, signal: int | None) -> None:
        """Write a checkpoint where one is due. It does not hold gradients that accumulate: it waits for their step."""
        every = self.settings.schedule.checkpoint_every
        self.is_due = self.is_due or ends_epoch or (moved and every > 0 and self.progress.step % every == 0)
        if moved and (self.is_due or signal is not None):
            self._write_checkpoint()
        if moved and signal is not None:
            raise Interrupted(
                signal,
                f"interrupted after step {self.progress.step}, which {str(self.checkpoint)!r} keeps. "
                f"Go on with lookright train --resume {self.settings.out}, or repeat the command of the study.",
            )

    def _write_checkpoint(self) -> None:
        self.is_due, self.written = False, self.progress.step
        if not self.fabric.is_global_zero:
            return
        self.log.save()
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        write_checkpoint(
            self.checkpoint,
            {
                "step": self.progress.step,
                "model": self.classifier.model.state_dict(),
                "method": self.method.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "schedule": self.schedule.state_dict(),
                "precision": self.fabric.strategy.precision.state_dict(),
                "progress": vars(self.progress),
                "generators": {"cpu": torch.get_rng_state(), "cuda": cuda},
            },
        )


def _without_traceback(batches: DataLoader) -> Iterator[Batch]:
    """What goes wrong in a process that prepares batches comes with its traceback; only the sentence is passed on."""
    try:
        yield from batches
    except InputError as error:
        raise InputError(str(error).rpartition("InputError: ")[2].strip()) from error
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise InputError(
            "A process that prepares batches died, which may be for want of memory. The last checkpoint is kept: go on "
            "with --resume; fewer --workers need less."
        ) from error
