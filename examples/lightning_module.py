"""CAMAL in a LightningModule: `python examples/lightning_module.py DIR`, where DIR holds labels.csv."""

import sys
from pathlib import Path

import lightning
import timm
import torch
from torch.utils.data import DataLoader

import lookright
from lookright.data import Collate, GivenSplits
from lookright.training import load_data


class Guided(lightning.LightningModule):
    """Classifier and method are submodules, so that DDP, precision and devices reach both."""

    def __init__(self, model: torch.nn.Module, method: lookright.Method) -> None:
        super().__init__()
        self.classifier = lookright.Classifier(model)
        self.method = method

    def training_step(self, batch: lookright.Batch) -> torch.Tensor:
        """One forward, the task, and the guidance."""
        loss = self.method(self.classifier, batch)
        self.log_dict({f"train/{name}": term.detach() for name, term in loss.terms.items()}, prog_bar=True)
        return loss.total

    def validation_step(self, batch: lookright.Batch) -> None:
        """Accuracy."""
        predicted = self.classifier(batch["image"]).logits.argmax(1)
        self.log("val/accuracy", (predicted == batch["label"]).float().mean(), prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """One optimiser for the classifier and whatever the method owns."""
        optimizer = torch.optim.AdamW(self.classifier.parameters(), lr=1e-3)
        self.method.attach(self.classifier, optimizer)
        return optimizer


def main(folder: Path, epochs: int = 5, size: int = 64) -> None:
    data = load_data(folder, GivenSplits(), seed=0)
    collate = Collate(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    train = DataLoader(data.dataset("train", size), 32, shuffle=True, drop_last=True, collate_fn=collate)
    val = DataLoader(data.dataset("val", size), 32, collate_fn=collate)
    model = timm.create_model("resnet10t", num_classes=len(data.classes), output_stride=8)
    trainer = lightning.Trainer(max_epochs=epochs, logger=False, enable_checkpointing=False)
    trainer.fit(Guided(model, lookright.CAMAL()), train, val)
    print({name: round(value.item(), 3) for name, value in trainer.callback_metrics.items()})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
