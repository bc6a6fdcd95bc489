import pytest
import torch

from lookright import CAMAL, EnergyGuidance
from lookright.classifier import Classifier


def test_equals_a_loop_over_cells(classifier: Classifier, batch):
    got = EnergyGuidance(weight=0.7)(classifier, batch).terms["energyguidance"].item()
    features, weight = classifier(batch["image"]).features, classifier.head.weight
    total, count = 0.0, 0
    for b in range(5):
        if batch["mask_weight"][b] > 0:
            map = sum(weight[batch["label"][b], k] * features[b, k] for k in range(6)).detach().clamp_min(0)
            mask = batch["mask"][b].reshape(4, 2, 4, 2).mean((1, 3))
            cells = list(zip(map.flatten().tolist(), mask.flatten().tolist()))
            energy = sum(a for a, _ in cells)
            total += float(batch["mask_weight"][b]) * (sum(a * m for a, m in cells) / energy if energy else 0.0)
            count += 1
    assert got == pytest.approx(-0.7 * total / count, rel=1e-6)


def test_is_half_of_camals_energy_up_to_a_constant(classifier, batch):
    batch["mask_weight"][:] = 1
    energy = EnergyGuidance()(classifier, batch).terms["energyguidance"]
    camal = CAMAL(mode="energy", minmax=False)(classifier, batch).terms["camal"]
    parameter = classifier.model.features[0].weight
    mine, theirs = (torch.autograd.grad(term, parameter, retain_graph=True)[0] for term in (energy, camal))
    assert torch.allclose(2 * mine, theirs)


def test_gradient_equals_finite_differences(batch, check_gradient):
    method = EnergyGuidance()
    check_gradient(lambda classifier: method(classifier, batch).terms["energyguidance"], step=1e-5, rel=1e-2, abs=1e-6)


def test_a_map_without_positive_attribution_has_no_energy(classifier, batch):
    with torch.no_grad():
        classifier.model.fc.weight.copy_(-classifier.model.fc.weight.abs())  # features are positive
    loss = EnergyGuidance()(classifier, batch)
    assert loss.terms["energyguidance"].item() == 0
    loss.total.backward()
    assert all(parameter.grad.isfinite().all() for parameter in classifier.parameters())
