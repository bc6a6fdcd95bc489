import math

import pytest
import torch

from lookright import LearningToLook


def divergence(map, mask):
    """KL(M / ΣM ‖ softmax(minmax(relu(A)))), cell by cell."""
    cells = [max(value, 0.0) for value in map.flatten().tolist()]
    low, high = min(cells), max(cells)
    cells = [(a - low) / (high - low) if high > low else 0.0 for a in cells]
    normaliser = sum(math.exp(a) for a in cells)
    mask = mask.flatten().tolist()
    return sum(m / sum(mask) * (math.log(m / sum(mask)) - a + math.log(normaliser)) for a, m in zip(cells, mask) if m)


def test_equals_a_loop_over_cells(classifier, batch):
    got = LearningToLook(weight=3.0)(classifier, batch).terms["learningtolook"].item()
    features, weight = classifier(batch["image"]).features.detach(), classifier.head.weight.detach()
    total, count = 0.0, 0
    for b in range(5):
        if batch["mask_weight"][b] > 0:
            map = sum(weight[batch["label"][b], k] * features[b, k] for k in range(6))
            mask = batch["mask"][b].reshape(4, 2, 4, 2).mean((1, 3))
            total += float(batch["mask_weight"][b]) * divergence(map, mask)
            count += 1
    assert got == pytest.approx(3 * total / count, rel=1e-6)


def test_gradient_equals_finite_differences(batch, check_gradient):
    method = LearningToLook(weight=1.0)
    check_gradient(lambda classifier: method(classifier, batch).terms["learningtolook"], step=1e-5, rel=1e-2, abs=1e-6)


def test_an_empty_mask_adds_nothing_and_unknown_cells_do_not_count(classifier, batch):
    batch["mask_weight"][:] = 1
    batch["ignore"] = torch.zeros(5, 8, 8, dtype=torch.float64)
    batch["ignore"][:, :4] = 1
    before = LearningToLook()(classifier, batch).terms["learningtolook"].item()
    batch["mask"][:, :4] = 1 - batch["mask"][:, :4]
    assert LearningToLook()(classifier, batch).terms["learningtolook"].item() == pytest.approx(before)
    batch["mask"][:] = 0
    loss = LearningToLook()(classifier, batch)
    assert loss.terms["learningtolook"].item() == 0
    loss.total.backward()
    assert all(parameter.grad.isfinite().all() for parameter in classifier.parameters())
