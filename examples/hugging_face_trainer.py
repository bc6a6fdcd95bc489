"""CAMAL in the Trainer of Hugging Face: `python examples/hugging_face_trainer.py DIR`, where DIR holds labels.csv."""

import sys
from pathlib import Path
from typing import Any

import torch
from transformers import ResNetConfig, ResNetForImageClassification, Trainer, TrainingArguments

import lookright
from lookright.data import Collate, GivenSplits
from lookright.training import load_data


class GuidedTrainer(Trainer):
    """The loss differs, and the method hears of the optimizer. The wrapper finds the layer and leaves no trace."""

    def __init__(self, method: lookright.Method, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.method = method
        self.classifier = lookright.Classifier(self.model)

    def create_optimizer(self, *arguments: Any) -> torch.optim.Optimizer:
        """The usual one, which the method counts the steps of."""
        optimizer = super().create_optimizer(*arguments)
        self.method.attach(self.classifier, optimizer)
        return optimizer

    def compute_loss(self, model: torch.nn.Module, inputs: lookright.Batch, **_: Any) -> torch.Tensor:
        """One forward, the task, and the guidance."""
        return self.method(self.classifier, inputs).total


def main(folder: Path, epochs: int = 5, size: int = 64, out: str = "runs/hugging_face") -> None:
    data = load_data(folder, GivenSplits(), seed=0)
    config = ResNetConfig(
        hidden_sizes=[32, 64, 128], depths=[1, 1, 1], layer_type="basic", num_labels=len(data.classes)
    )
    trainer = GuidedTrainer(
        lookright.CAMAL(),
        ResNetForImageClassification(config),
        TrainingArguments(
            out,
            num_train_epochs=epochs,
            per_device_train_batch_size=32,
            learning_rate=1e-3,
            remove_unused_columns=False,
            save_strategy="no",
            report_to="none",
            dataloader_drop_last=True,
        ),
        data_collator=Collate(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
        train_dataset=data.dataset("train", size),
    )
    print(trainer.train().metrics)
    trainer.save_model(out)  # a plain Hugging Face model


if __name__ == "__main__":
    main(Path(sys.argv[1]))
