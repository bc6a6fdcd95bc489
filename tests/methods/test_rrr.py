import pytest
import torch

from lookright import CAMAL, RRR, InputError


def penalty(classifier, batch, row):
    """Σ over pixels and channels outside of (∂/∂x Σ_k log p_k)², of an image in its batch."""
    image = batch["image"].clone().requires_grad_()
    log_p = classifier.model(image)[row].log_softmax(0)
    (gradient,) = torch.autograd.grad(log_p.sum(), image)
    # In eval mode images do not touch each other.
    total = 0.0
    for channel in range(3):
        for y in range(8):
            for x in range(8):
                if batch["mask"][row, y, x] == 0:
                    total += float(gradient[row, channel, y, x]) ** 2
    return total


def test_equals_a_loop_over_pixels(classifier, batch):
    classifier.eval()
    got = RRR(weight=2.0)(classifier, batch).terms["rrr"].item()
    rows = [row for row in range(5) if batch["mask_weight"][row] > 0]
    wanted = 2 * sum(float(batch["mask_weight"][row]) * penalty(classifier, batch, row) for row in rows) / len(rows)
    assert got == pytest.approx(wanted, rel=1e-6)


def test_gradient_equals_finite_differences(classifier, batch, check_gradient):
    classifier.eval()
    method = RRR(weight=1.0)
    check_gradient(lambda classifier: method(classifier, batch).terms["rrr"], step=1e-5, rel=1e-3, abs=1e-7)


def test_a_vector_added_to_all_rows_of_the_head_changes_nothing(classifier, batch):
    before = RRR()(classifier, batch).terms["rrr"].item()
    with torch.no_grad():
        classifier.model.fc.weight += torch.randn(6, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    assert RRR()(classifier, batch).terms["rrr"].item() == pytest.approx(before, rel=1e-9)


def test_a_full_mask_costs_nothing_and_a_nuisance_alone_counts(classifier, batch):
    batch["mask"][:] = 1
    assert RRR()(classifier, batch).terms["rrr"].item() == 0
    nuisance = torch.zeros(5, 8, 8, dtype=torch.float64)
    nuisance[:, :3, :3] = 1
    batch |= {"mask": torch.zeros_like(nuisance), "ignore": 1 - nuisance}
    as_nuisance = RRR()(classifier, batch).terms["rrr"].item()
    del batch["ignore"]
    as_evidence = RRR()(classifier, batch | {"mask": 1 - nuisance}).terms["rrr"].item()
    assert as_nuisance == pytest.approx(as_evidence)
    assert as_nuisance > 0


def test_in_a_sum(classifier, batch):
    loss = (RRR() + CAMAL())(classifier, batch)
    assert set(loss.terms) == {"task", "rrr", "camal"}
    loss.total.backward()
    assert all(parameter.grad.isfinite().all() for parameter in classifier.parameters())


def test_its_term_falls_while_it_is_trained(classifier, batch, minimise):
    method = RRR(weight=1.0)
    terms = minimise(lambda: method(classifier, batch).terms["rrr"], classifier.parameters(), steps=30)
    assert terms[-1] < 0.5 * terms[0]


def test_refuses_negative_weights():
    with pytest.raises(InputError, match="weight=-1"):
        RRR(weight=-1)
