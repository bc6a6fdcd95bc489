import copy

import pytest
import torch
from torch.nn import functional

from lookright import ADL, CAMAL, InputError


@pytest.mark.parametrize("hides", [True, False])
def test_equals_a_loop_over_cells(classifier, batch, hides):
    loss = ADL(keep=0 if hides else 1, threshold=0.6)(classifier, batch).terms["task"]
    features = classifier.model.features(batch["image"]).detach()  # in train mode: the statistics of the same batch
    edited = features.clone()
    for b in range(5):
        attention = features[b].mean(0)
        for i in range(4):
            for j in range(4):
                edited[b, :, i, j] *= (
                    float(attention[i, j] < 0.6 * attention.max()) if hides else attention[i, j].sigmoid()
                )
    logits = classifier.model.fc(edited.mean((2, 3)))
    assert loss.item() == pytest.approx(functional.cross_entropy(logits, batch["label"]).item())
    assert loss.item() != pytest.approx(
        functional.cross_entropy(classifier(batch["image"]).logits, batch["label"]).item()
    )


@pytest.mark.parametrize("keep", [0, 1])
def test_gradient_equals_finite_differences(classifier, batch, keep):
    method, parameter = ADL(keep=keep), classifier.model.features[0].weight
    original = copy.deepcopy(classifier)
    method(classifier, batch).total.backward()
    step = 1e-5
    for position in [(0, 0, 0, 0), (3, 2, 1, 1), (5, 1, 2, 0)]:
        values = []
        for sign in (1, -1):
            moved = copy.deepcopy(original)
            with torch.no_grad():
                moved.model.features[0].weight[position] += sign * step
            values.append(method(moved, batch).total.item())
        slope = (values[0] - values[1]) / (2 * step)
        assert parameter.grad[position].item() == pytest.approx(slope, rel=2e-2, abs=2e-4)


def test_nothing_is_hidden_outside_training(classifier, batch):
    classifier.eval()
    loss = ADL(keep=0).eval()(classifier, batch).total
    assert torch.equal(loss, functional.cross_entropy(classifier(batch["image"]).logits, batch["label"]))


def test_it_hides_as_often_as_asked_and_leaves_the_global_generator_alone(classifier, batch):
    classifier.eval()
    state, method, hidden = torch.get_rng_state(), ADL(keep=0.25, seed=1), ADL(keep=0)(classifier, batch).total
    losses = [method(classifier, batch).total for _ in range(100)]
    assert sum(torch.equal(loss, hidden) for loss in losses) / 100 == pytest.approx(0.75, abs=0.12)
    assert torch.equal(state, torch.get_rng_state())


def test_a_sum_guides_the_map_of_the_edited_features(classifier, batch):
    classifier.eval()
    terms = (ADL(keep=1) + CAMAL())(classifier, batch).terms
    features = classifier(batch["image"]).features
    features = features * features.mean(1, keepdim=True).sigmoid()
    map = torch.einsum("bk,bkhw->bhw", classifier.head.weight[batch["label"]], features)
    mask = batch["mask"].unfold(1, 2, 2).unfold(2, 2, 2).mean((3, 4))
    expected = CAMAL().compare(map, mask, 1 - mask)
    weight = batch["mask_weight"]
    assert terms["camal"].item() == pytest.approx(((weight * expected).sum() / 4).item())
    assert terms["task"].item() == pytest.approx(ADL(keep=1)(classifier, batch).total.item())


def test_a_threshold_out_of_range_is_refused():
    with pytest.raises(InputError, match="threshold=90"):
        ADL(threshold=90)
