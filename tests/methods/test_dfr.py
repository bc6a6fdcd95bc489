import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from lookright import CAMAL, DFR, Classifier, InputError
from lookright.methods import dfr


def images(size, classes, seed):
    """The label lies in channel 0, and a shortcut in channel 1 that fails in every second group."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(classes, (size,), generator=generator)
    rare = (torch.rand(size, generator=generator) < 0.25).long()
    image = 0.1 * torch.randn(size, 3, 8, 8, generator=generator, dtype=torch.float64)
    image[:, 0] += label[:, None, None]
    image[:, 1] += 3 * torch.where(rare == 1, classes - 1 - label, label)[:, None, None]
    return {"image": image, "label": label, "group": 2 * label + rare}


def batches(classes):
    splits = {"train": images(60, classes, 1), "val": images(90, classes, 2)}
    return lambda split: ({key: value[i : i + 30] for key, value in splits[split].items()} for i in range(0, 90, 30))


def of(classes):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, classes)
    ).double()
    classifier = Classifier(model)
    classifier(images(2, 2, 0)["image"])
    return classifier


def worst_group(classifier, batches, split="val"):
    right, group = [], []
    for batch in batches(split):
        right += (classifier(batch["image"]).logits.argmax(1) == batch["label"]).tolist()
        group += batch["group"].tolist()
    right, group = np.array(right), np.array(group)
    return min(right[group == name].mean() for name in set(group))


@pytest.mark.parametrize("classes", [2, 3])
def test_the_last_layer_is_the_mean_of_fits_to_balanced_groups(classes, monkeypatch):
    """Recomputed with scikit-learn on the very subsets that were drawn."""
    subsets = []
    balanced = dfr._balanced

    def noted(group, generator):
        subsets.append(balanced(group, generator))
        return subsets[-1]

    monkeypatch.setattr(dfr, "_balanced", noted)
    classifier, split = of(classes), batches(classes)
    embeddings = {name: [classifier(batch["image"]).embedding for batch in split(name)] for name in ("train", "val")}
    embeddings = {name: torch.cat(parts).detach().numpy() for name, parts in embeddings.items()}
    label, group = (torch.cat([batch[key] for batch in split("val")]).numpy() for key in ("label", "group"))
    backbone = classifier.model[0].weight.clone()
    record = DFR(fits=4, penalties=(1.0, 0.1)).finish(classifier, split)

    assert torch.equal(classifier.model[0].weight, backbone)
    assert len(subsets) == 5  # one for the choice of C
    smallest = min((group == name).sum() for name in set(group))
    standard = (embeddings["val"] - embeddings["train"].mean(0)) / embeddings["train"].std(0)
    logits = np.zeros((len(label), classes))
    for rows in subsets[1:]:
        assert [(group[rows] == name).sum() for name in sorted(set(group))] == [smallest] * len(set(group))
        for name in range(classes):
            fit = LogisticRegression(
                C=record["penalty"], l1_ratio=1, solver="liblinear", random_state=0, max_iter=1000
            ).fit(standard[rows], label[rows] == name)
            logits[:, name] += fit.decision_function(standard) / 4 / (2 if classes == 2 else 1)
    got = torch.cat([classifier(batch["image"]).logits for batch in split("val")]).detach().numpy()
    assert got == pytest.approx(logits, rel=1e-3, abs=1e-3)
    assert record["images_a_group"] == smallest
    assert set(record["worst_group_accuracy"]) == {"1.0", "0.1"}


def test_the_worst_group_gains():
    classifier, split = of(2), batches(2)
    before = worst_group(classifier, split)
    DFR().finish(classifier, split)
    assert worst_group(classifier, split) > max(before, 0.6)


def test_the_penalty_is_the_best_on_the_half_that_was_not_fitted():
    record = DFR(fits=1, penalties=(1.0, 1e-6)).finish(of(2), batches(2))
    assert record["penalty"] == 1.0  # with the other, all weights are 0
    assert record["worst_group_accuracy"]["1.0"] > record["worst_group_accuracy"]["1e-06"]


def test_halves_divide_every_group():
    group = torch.tensor([0] * 5 + [1] * 4 + [2])
    fitted, held_out = dfr._halves(group, torch.Generator().manual_seed(0))
    assert sorted([*fitted.tolist(), *held_out.tolist()]) == list(range(10))
    assert group[fitted].bincount().tolist() == [3, 2, 1]


def test_training_is_plain_and_can_be_another_method_s(classifier, batch):
    assert set(DFR()(classifier, batch).terms) == {"task"}
    assert set((CAMAL() + DFR())(classifier, batch).terms) == {"task", "camal"}
    assert DFR().needs == {"group", "label", "val"}


def test_a_model_without_a_last_layer_is_refused_in_the_first_step(batch):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4, bias=False))
    with pytest.raises(InputError, match="no single final linear layer with a bias"):
        DFR()(Classifier(model.double()), batch)
