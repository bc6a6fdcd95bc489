import math

import pytest
import torch
from torch.nn import functional

from lookright import CAMAL, ExplanationConsistency, InputError
from lookright.attribution import grad_cam, starts_from
from lookright.methods import explanation_consistency
from lookright.tasks import multi_label


def explained(classifier, image, label):
    features = classifier(image[None]).features[0].detach()
    map = sum(classifier.head.weight[label, k].detach() * features[k] for k in range(6))
    return (map - map.min()) / (map.max() - map.min()), classifier(image[None]).logits[0].softmax(0).detach()


def test_equals_a_loop_over_images(classifier, batch):
    classifier.eval()
    method = ExplanationConsistency(warmup=0, background=0.4, epsilon=0.3)
    factors, total = [], 0.0
    for image, label in zip(batch["image"], batch["label"]):
        map, p = explained(classifier, image, label)
        shown = functional.interpolate(map[None, None], (8, 8), mode="bilinear")[0, 0]
        given = image[None].clone().requires_grad_()
        functional.cross_entropy(classifier(given).logits, label[None]).backward()
        changed = torch.where(shown < 0.4, image + 0.3 * given.grad[0].sign(), image)
        other, q = explained(classifier, changed, label)
        a, b = map.flatten().tolist(), other.flatten().tolist()
        cosine = sum(x * y for x, y in zip(a, b)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))
        factors.append(1 - cosine * sum(min(x, y) for x, y in zip(p.tolist(), q.tolist())))
        total += factors[-1] * functional.cross_entropy(classifier(image[None]).logits[0], label).item() / 5
    assert method(classifier, batch).terms["task"].item() == pytest.approx(total)
    weight = method.weigh(classifier, classifier(batch["image"]), batch)
    assert weight.tolist() == pytest.approx(factors)
    assert weight.std() > 0


def test_gradient_equals_finite_differences(batch, check_gradient, monkeypatch):
    """Of the loss, with the factors as constants."""
    method = ExplanationConsistency(warmup=0)
    factor = torch.tensor([0.1, 0.5, 0.3, 0.9, 0.2], dtype=torch.float64)
    monkeypatch.setattr(method, "weigh", lambda *_: factor)
    check_gradient(lambda classifier: method(classifier, batch).total, rel=1e-4)


def test_factors_are_constants_of_the_gradient_and_leave_no_trace(classifier, batch):
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    weight = ExplanationConsistency(warmup=0).weigh(classifier, classifier.eval()(batch["image"]), batch)
    assert not weight.requires_grad
    assert ((weight >= 0) & (weight <= 1)).all()
    assert all(torch.equal(value, before[name]) for name, value in classifier.state_dict().items())
    assert all(parameter.grad is None for parameter in classifier.parameters())


def test_what_nothing_moves_weighs_nothing(classifier, batch, monkeypatch):
    monkeypatch.setattr(explanation_consistency, "attack", lambda _, image, *rest, **more: image)
    loss = ExplanationConsistency(warmup=0)(classifier.eval(), batch)
    assert loss.total.item() == pytest.approx(0, abs=1e-6)


def test_every_image_weighs_one_while_it_warms_up(classifier, batch):
    method = ExplanationConsistency(warmup=2)
    optimizer = torch.optim.SGD(classifier.parameters(), 0.0)
    method.attach(classifier, optimizer)
    classifier.eval()
    losses = []
    for _ in range(3):
        losses.append(method(classifier, batch).total.item())
        optimizer.step()
    assert losses[0] == losses[1] == functional.cross_entropy(classifier(batch["image"]).logits, batch["label"]).item()
    assert losses[2] < losses[0]


@starts_from("model")
def by_many_forwards(classifier, output, target):
    """A map that no gradient is said to flow through."""
    return grad_cam(classifier, output, target).detach()


@pytest.mark.parametrize("map", ["grad_cam", "input_gradient", by_many_forwards])
def test_in_a_sum_and_with_other_maps(classifier, batch, map):
    loss = (ExplanationConsistency(warmup=0, map=map) + CAMAL())(classifier, batch)
    assert set(loss.terms) == {"task", "camal"}
    assert loss.total.isfinite()


def test_several_labels_and_a_background_out_of_range_are_refused(classifier, batch):
    with pytest.raises(InputError, match="labels have shape"):
        ExplanationConsistency()(classifier, batch | {"label": torch.ones(5, 4)}, task=multi_label)
    with pytest.raises(InputError, match="background=2"):
        ExplanationConsistency(background=2)
