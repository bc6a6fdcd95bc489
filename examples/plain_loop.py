"""CAMAL in a training loop of one's own: `python examples/plain_loop.py DIR`, where DIR holds labels.csv."""

import sys
from pathlib import Path

import timm
import torch
from torch.utils.data import DataLoader

import lookright
from lookright.data import Collate, GivenSplits
from lookright.metrics import Accuracy, EnergyInMask
from lookright.training import load_data


def main(folder: Path, epochs: int = 5, size: int = 64) -> None:
    data = load_data(folder, GivenSplits(), seed=0)
    collate = Collate(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    train = DataLoader(data.dataset("train", size), 32, shuffle=True, drop_last=True, collate_fn=collate)
    test = DataLoader(data.dataset(data.test_splits[0], size), 32, collate_fn=collate)

    model = timm.create_model("resnet10t", num_classes=len(data.classes), output_stride=8)
    classifier = lookright.Classifier(model)
    method = lookright.CAMAL(weight=1.0)
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=1e-3)
    method.attach(classifier, optimizer)

    for epoch in range(epochs):
        classifier.train()
        for batch in train:
            loss = method(classifier, batch)
            optimizer.zero_grad()
            loss.total.backward()
            optimizer.step()
        print(epoch, {name: round(term.item(), 3) for name, term in loss.terms.items()})

    classifier.eval()
    accuracy, energy = Accuracy(), EnergyInMask()
    for batch in test:
        output = classifier(batch["image"])
        map = lookright.attribution.class_map(classifier, output, output.logits.argmax(1)).detach()
        accuracy.update(output.logits.detach(), batch["label"])
        has_mask = batch["mask_weight"] > 0
        energy.update(map[has_mask], batch["mask"][has_mask])
    print(f"accuracy {accuracy.compute():.3f}, energy in mask {energy.compute():.3f}")

    torch.save(model.state_dict(), "model.pth")  # the plain model: loads without lookright


if __name__ == "__main__":
    main(Path(sys.argv[1]))
