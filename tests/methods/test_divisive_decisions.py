import pytest
import torch
from torch import nn

from lookright import CAMAL, CYBORG, SGT, Classifier, DivisiveDecisions, InputError
from lookright.tasks import binary


def scaled(cells):
    low, high = min(cells), max(cells)
    return [(cell - low) / (high - low) if high > low else cell for cell in cells]


@pytest.mark.parametrize("divide", ["difference", "opposed"])
def test_equals_a_loop_over_cells(classifier, batch, divide):
    got = DivisiveDecisions(alpha=0.3, divide=divide)(classifier, batch).terms["divisivedecisions"].item()
    output, weight = classifier(batch["image"]), classifier.head.weight.detach()
    total, count = 0.0, 0
    for b in range(5):
        if batch["mask_weight"][b] > 0:
            maps = [
                sum(weight[k, c] * output.features[b, c] for c in range(6)).detach().flatten().tolist()
                for k in range(4)
            ]
            own = maps[batch["label"][b]]
            false = [sum(maps[k][i] for k in range(4) if k != batch["label"][b]) / 3 for i in range(16)]
            human = scaled(batch["mask"][b].reshape(4, 2, 4, 2).mean((1, 3)).flatten().tolist())
            against = scaled(
                [1 - cell for cell in batch["mask"][b].reshape(4, 2, 4, 2).mean((1, 3)).flatten().tolist()]
            )
            if divide == "difference":
                map = scaled([t - f for t, f in zip(own, false)])
                distance = sum((a - s) ** 2 for a, s in zip(map, human)) / 16
            else:
                distance = sum((a - s) ** 2 for a, s in zip(scaled(own), human)) / 32
                distance += sum((a - s) ** 2 for a, s in zip(scaled(false), against)) / 32
            total += float(batch["mask_weight"][b]) * distance
            count += 1
    assert got == pytest.approx(0.7 * total / count, rel=1e-5)


@pytest.mark.parametrize("divide", ["difference", "opposed"])
def test_gradient_equals_finite_differences(batch, check_gradient, divide):
    method = DivisiveDecisions(divide=divide)
    check_gradient(
        lambda classifier: method(classifier, batch).terms["divisivedecisions"], step=1e-4, rel=2e-2, abs=2e-4
    )


def test_the_difference_is_cyborg_on_the_contrast_map(classifier, batch):
    one, other = DivisiveDecisions(), CYBORG(map="contrast")
    assert one(classifier, batch).total.item() == pytest.approx(other(classifier, batch).total.item())
    gradient = DivisiveDecisions(map="input_gradient")
    assert gradient.needs == CYBORG(map="input_gradient").needs
    assert gradient(classifier, batch).terms["divisivedecisions"].isfinite()


def test_one_logit_has_two_classes(batch):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 1))
    batch["label"] = batch["label"] % 2
    classifier = Classifier(model.double())
    terms = [
        method(classifier, batch, task=binary).terms[name].item()
        for method, name in (
            (DivisiveDecisions(), "divisivedecisions"),
            (DivisiveDecisions(divide="opposed"), "divisivedecisions"),
            (CYBORG(), "cyborg"),
        )
    ]
    assert terms == pytest.approx([terms[0]] * 3)  # the false map is minus the true one


def test_in_a_sum_with_an_adaptive_share(classifier, batch):
    loss = (DivisiveDecisions(alpha="adaptive") + CAMAL() + SGT())(classifier, batch)
    assert set(loss.terms) == {"task", "divisivedecisions", "camal", "sgt"}
    loss.total.backward()
    assert all(parameter.grad.isfinite().all() for parameter in classifier.parameters())


def test_several_labels_an_image_are_refused(classifier, batch):
    with pytest.raises(InputError, match="one class against the others"):
        DivisiveDecisions()(classifier, batch | {"label": torch.ones(5, 4)}, task=lambda logits, label: logits.sum(1))
