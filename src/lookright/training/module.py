"""The LightningModule: one method, one optimiser, one schedule."""

import math
import warnings
from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor, nn
from torch.nn import functional

from lookright.batch import Batch, mask_weight
from lookright.classifier import Classifier, is_checkpointed
from lookright.errors import InputError
from lookright.methods import Loss, Method, reaches_backbone
from lookright.methods.method import split_by_decay
from lookright.training.settings import RunSettings


class Training(LightningModule):
    """Trains a classifier with a method.

    Args:
        classifier: the user's model, wrapped.
        method: its guidance, whose parameters are built already.
        settings: of the optimiser and its schedule.
        steps: optimiser steps of the whole training.
    """

    def __init__(self, classifier: Classifier, method: Method, settings: RunSettings, steps: int) -> None:
        super().__init__()
        self.classifier = classifier
        self.method = method
        self.settings = settings
        self.steps = steps
        self._unreached = 10
        self._alternates = "unused_parameters" in method.needs

    def on_train_batch_start(self, batch: Batch, batch_index: int) -> None:
        """Hold BatchNorm still where the settings ask for it (validation switches the model's mode back)."""
        if self.settings.freeze_batchnorm:
            for module in self.classifier.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()

    def on_after_batch_transfer(self, batch: Batch, dataloader_index: int) -> Batch:
        """Lay the images out as the model is."""
        if self.settings.channels_last:
            batch["image"] = batch["image"].to(memory_format=torch.channels_last)
        return batch

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """The method's loss.

        Raises:
            InputError: the loss is not finite.
        """
        loss = self.method(self.classifier, batch)
        total = loss.total
        if not total.isfinite():
            terms = ", ".join(f"{name} {term.item():g}" for name, term in loss.terms.items())
            raise InputError(
                f"The loss became {total.item():g} in step {self.global_step} ({terms}). The last good checkpoint is "
                "kept. Lower --lr, set --clip, or use --precision fp32 or bf16."
            )
        if self._unreached:
            self._check_reach(loss, batch)
        if self._is_logged(batch_index):
            values = loss.terms | loss.logs | {"loss": total}
            # Not self.log, which repeats the last value of a term that this step does not have.
            for logger in self.loggers:
                logger.log_metrics({f"train/{name}": value.item() for name, value in values.items()}, self.global_step)
        return total

    def _check_reach(self, loss: Loss, batch: Batch) -> None:
        """Look at the first batches until the guidance has reached the backbone; say so if it has not by then."""
        guides = "mask" not in self.method.needs or bool((mask_weight(batch) > 0).any())
        if not guides or is_checkpointed(self.classifier):
            return
        problem = reaches_backbone(self.classifier, loss)
        self._unreached = self._unreached - 1 if problem else 0
        if problem and (not self._unreached or "not finite" in problem):
            self._unreached = 0
            warnings.warn(f"{type(self.method).__name__}, step {self.global_step}: {problem}", stacklevel=2)

    def _is_logged(self, batch_index: int) -> bool:
        if (batch_index + 1) % self.trainer.accumulate_grad_batches:
            return False
        # Of a method that takes turns the next step, too: turns of one step would else show the same side for ever.
        period = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        return (self.global_step + 1) % period == 0 or (self._alternates and self.global_step % period == 0)

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Accuracy and cross-entropy on the validation split."""
        logits = self.classifier(batch["image"]).logits
        size = len(logits)
        correct = (logits.argmax(1) == batch["label"]).float().mean()
        loss = functional.cross_entropy(logits.float(), batch["label"])
        self.log("val/accuracy", correct, batch_size=size, sync_dist=True, prog_bar=True)
        self.log("val/loss", loss, batch_size=size, sync_dist=True)

    def configure_optimizers(self) -> Any:
        """AdamW or SGD over everything that learns, the learning rate warmed up and then falling as a cosine."""
        groups = list(split_by_decay({"params": list(self.classifier.parameters())}))
        settings = self.settings
        optimizer: torch.optim.Optimizer
        if settings.optimizer == "AdamW":
            optimizer = torch.optim.AdamW(groups, settings.lr, weight_decay=settings.weight_decay)
        else:
            optimizer = torch.optim.SGD(
                groups, settings.lr, settings.momentum, weight_decay=settings.weight_decay, nesterov=True
            )
        self.method.attach(self.classifier, optimizer)
        warmup = round(settings.warmup * self.steps)

        def factor(step: int) -> float:
            if step < warmup:
                return (step + 1) / (warmup + 1)
            return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(self.steps - warmup, 1)))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
