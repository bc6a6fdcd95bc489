import pytest
import torch
from torch.nn import functional

from lookright import CARE, InputError


def test_equals_a_loop_over_cells(classifier, batch):
    loss = CARE(alpha=0.3, tau=2.0, mode="sum")(classifier, batch)
    output = classifier(batch["image"])
    weight, features = classifier.head.weight.detach(), output.features.detach()
    total, count = 0.0, 0
    for b in range(5):
        if batch["mask_weight"][b] > 0:
            map = sum(weight[batch["label"][b], k] * features[b, k] for k in range(6))
            map = (map - map.min()) / (map.max() - map.min())
            mask = batch["mask"][b].reshape(4, 2, 4, 2).mean((1, 3))
            inside = sum(float(map[i, j] * mask[i, j]) for i in range(4) for j in range(4))
            outside = sum(float(map[i, j] * (1 - mask[i, j])) for i in range(4) for j in range(4))
            total += float(batch["mask_weight"][b]) * (-min(inside, 2.0) + outside)
            count += 1
    assert loss.terms["care"].item() == pytest.approx(0.3 * total / count, rel=1e-5)
    cross_entropy = functional.cross_entropy(output.logits, batch["label"]).item()
    assert loss.terms["task"].item() == pytest.approx(0.7 * cross_entropy)


def test_gradient_equals_finite_differences(batch, check_gradient):
    method = CARE()
    check_gradient(lambda classifier: method(classifier, batch).terms["care"], step=1e-4, rel=2e-2, abs=2e-4)


@pytest.mark.parametrize(("tau", "loss"), [(1.0, -1.0), (2.0, -1.5)])
def test_nothing_pushes_attention_inside_beyond_the_cap(tau, loss):
    map, mask = torch.tensor([[[4.0, 2.0, 0.0]]], requires_grad=True), torch.tensor([[[1.0, 1.0, 0.0]]])
    compared = CARE(tau=tau, mode="sum").compare(map, mask, 1 - mask)
    compared.sum().backward()
    assert compared.item() == loss
    assert (map.grad[0, 0, 1] == 0) == (tau == 1.0)


def test_flat_maps_give_finite_gradients(classifier, batch):
    batch["image"][:] = 0
    CARE()(classifier, batch).total.backward()
    assert all(parameter.grad.isfinite().all() for parameter in classifier.parameters())


def test_alpha_out_of_range_is_refused():
    with pytest.raises(InputError, match="alpha=2"):
        CARE(alpha=2.0)
