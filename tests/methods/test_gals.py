import pytest
import torch
from torch.nn import functional

from lookright import GALS, InputError


def loop(classifier, batch, row):
    """The mean over channels and known pixels of |g − g ⊙ M|, of an image in its batch."""
    image = batch["image"].clone().requires_grad_()
    loss = functional.cross_entropy(classifier.model(image)[row : row + 1], batch["label"][row : row + 1])
    (gradient,) = torch.autograd.grad(loss, image)
    total, count = 0.0, 0
    for y in range(8):
        for x in range(8):
            if batch["ignore"][row, y, x] == 0:
                for g in gradient[row, :, y, x].tolist():
                    total += abs(g - g * batch["mask"][row, y, x].item())
                    count += 1
    return total / count


def test_equals_a_loop_over_pixels(classifier, batch):
    classifier.eval()
    batch["mask"] = batch["mask"] * 0.8 + 0.1  # as soft as attention
    batch["ignore"] = torch.zeros(5, 8, 8, dtype=torch.float64)
    batch["ignore"][:, :, 3] = 1
    got = GALS(weight=2.0)(classifier, batch).terms["gals"].item()
    rows = [row for row in range(5) if batch["mask_weight"][row] > 0]
    wanted = sum(batch["mask_weight"][row].item() * loop(classifier, batch, row) for row in rows)
    assert got == pytest.approx(2 * wanted / len(rows), rel=1e-6)


def test_gradient_equals_finite_differences(classifier, batch, check_gradient):
    classifier.eval()
    method = GALS(weight=100.0)
    check_gradient(lambda classifier: method(classifier, batch).terms["gals"], step=1e-6, rel=1e-3, abs=1e-6)


def test_a_full_mask_costs_nothing_and_what_is_ignored_may_be_anything(classifier, batch):
    assert GALS()(classifier, batch | {"mask": torch.ones_like(batch["mask"])}).terms["gals"].item() == 0
    batch["ignore"] = (torch.arange(8) % 3 == 0).double().expand(5, 8, 8)
    expected = GALS()(classifier, batch).terms["gals"].item()
    batch["mask"] = torch.where(batch["ignore"] > 0, torch.nan, batch["mask"])
    assert GALS()(classifier, batch).terms["gals"].item() == pytest.approx(expected)


def test_negative_weights_and_several_labels_are_refused(classifier, batch):
    with pytest.raises(InputError, match="weight=-1"):
        GALS(weight=-1.0)
    with pytest.raises(InputError, match="labels have shape"):
        GALS()(classifier, batch | {"label": torch.ones(5, 4)}, task=lambda logits, label: logits.sum(1))
