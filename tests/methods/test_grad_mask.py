import pytest
import torch

from lookright import GradMask, InputError


def norm(classifier, batch, row, contrast):
    """‖O ⊙ ∂s/∂x‖₂ of an image in its batch; in eval mode images do not touch each other."""
    image = batch["image"].clone().requires_grad_()
    logits, label = classifier.model(image)[row], batch["label"][row]
    score = logits[label]
    if contrast:
        score = score - sum(logits[k] for k in range(4) if k != label) / 3
    (gradient,) = torch.autograd.grad(score, image)
    total = 0.0
    for channel in range(3):
        for y in range(8):
            for x in range(8):
                total += ((1 - batch["mask"][row, y, x]) * gradient[row, channel, y, x]).item() ** 2
    return total**0.5


@pytest.mark.parametrize("contrast", [True, False])
def test_equals_a_loop_over_pixels(classifier, batch, contrast):
    classifier.eval()
    got = GradMask(weight=2.0, contrast=contrast)(classifier, batch).terms["gradmask"].item()
    rows = [row for row in range(5) if batch["mask_weight"][row] > 0]
    wanted = sum(batch["mask_weight"][row].item() * norm(classifier, batch, row, contrast) for row in rows)
    assert got == pytest.approx(2 * wanted / len(rows), rel=1e-6)


def test_gradient_equals_finite_differences(classifier, batch, check_gradient):
    classifier.eval()
    method = GradMask()
    check_gradient(lambda classifier: method(classifier, batch).terms["gradmask"], rel=1e-3, abs=1e-7)


def test_a_vector_added_to_all_rows_of_the_head_changes_only_the_loss_without_contrast(classifier, batch):
    before = [GradMask(contrast=contrast)(classifier, batch).total.item() for contrast in (True, False)]
    with torch.no_grad():
        classifier.model.fc.weight += torch.randn(6, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    after = [GradMask(contrast=contrast)(classifier, batch).total.item() for contrast in (True, False)]
    assert after[0] == pytest.approx(before[0])
    assert after[1] != pytest.approx(before[1])


def test_a_full_mask_costs_nothing_and_a_nuisance_alone_counts(classifier, batch):
    full = GradMask()(classifier, batch | {"mask": torch.ones_like(batch["mask"])})
    assert full.terms["gradmask"].item() == 0
    full.total.backward()
    assert all(parameter.grad.isfinite().all() for parameter in classifier.parameters())
    nuisance = torch.zeros_like(batch["mask"])
    nuisance[:, :3, :3] = 1
    as_nuisance = batch | {"mask": torch.zeros_like(nuisance), "ignore": 1 - nuisance}
    as_evidence = batch | {"mask": 1 - nuisance}
    values = [GradMask()(classifier, given).terms["gradmask"].item() for given in (as_nuisance, as_evidence)]
    assert values[0] == pytest.approx(values[1])
    assert values[0] > 0


def test_negative_weights_and_several_labels_are_refused(classifier, batch):
    with pytest.raises(InputError, match="weight=-1"):
        GradMask(weight=-1.0)
    with pytest.raises(InputError, match="labels have shape"):
        GradMask()(classifier, batch | {"label": torch.ones(5, 4)}, task=lambda logits, label: logits.sum(1))
