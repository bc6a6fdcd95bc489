import pytest
import torch
from torch.nn import functional

from lookright import CAMAL


def loop(map, mask, mode):
    """β − α of one image, cell by cell, as the equation says."""
    cells = [(max(float(a), 0.0), float(m)) for row_a, row_m in zip(map, mask) for a, m in zip(row_a, row_m)]
    low, high = min(a for a, _ in cells), max(a for a, _ in cells)
    cells = [((a - low) / (high - low) if high > low else 0.0, m) for a, m in cells]
    inside, outside = sum(a * m for a, m in cells), sum(a * (1 - m) for a, m in cells)
    if mode == "mean":
        area = sum(m for _, m in cells)
        inside = inside / area if area else 0.0
        outside = outside / (len(cells) - area) if area < len(cells) else 0.0
    if mode == "energy":
        energy = sum(a for a, _ in cells)
        inside, outside = (inside / energy, outside / energy) if energy else (0.0, 0.0)
    return outside - inside


@pytest.mark.parametrize("mode", ["mean", "energy", "sum"])
def test_equals_a_loop_over_cells(classifier, batch, mode):
    loss = CAMAL(weight=0.7, mode=mode)(classifier, batch)
    output = classifier(batch["image"])
    weight, features = classifier.head.weight, output.features
    total, count = 0.0, 0
    for b in range(5):
        if batch["mask_weight"][b] > 0:
            map = sum(weight[batch["label"][b], k] * features[b, k] for k in range(6)).detach()
            mask = batch["mask"][b].reshape(4, 2, 4, 2).mean((1, 3))
            total += float(batch["mask_weight"][b]) * loop(map.tolist(), mask.tolist(), mode)
            count += 1
    assert loss.terms["camal"].item() == pytest.approx(0.7 * total / count, rel=1e-5)
    assert loss.terms["task"].item() == pytest.approx(functional.cross_entropy(output.logits, batch["label"]).item())


@pytest.mark.parametrize("mode", ["mean", "energy", "sum"])
def test_gradient_equals_finite_differences(batch, check_gradient, mode):
    method = CAMAL(mode=mode)
    check_gradient(lambda classifier: method(classifier, batch).terms["camal"], step=1e-4, rel=2e-2, abs=2e-4)


def test_an_empty_mask_counts_and_an_absent_one_does_not(classifier, batch):
    batch["mask"][0] = 0
    empty = CAMAL()(classifier, batch).terms["camal"]
    batch["mask_weight"][0] = 0
    absent = CAMAL()(classifier, batch).terms["camal"]
    assert empty != absent
    batch["mask"][0] = torch.nan
    assert CAMAL()(classifier, batch).terms["camal"].isfinite()


def test_a_full_mask_has_nothing_outside(classifier, batch):
    batch["mask"][:] = 1
    assert -1 <= CAMAL()(classifier, batch).terms["camal"] < 0


def test_flat_maps_give_finite_gradients(classifier, batch):
    batch["image"][:] = 0
    loss = CAMAL()(classifier, batch)
    loss.total.backward()
    assert all(parameter.grad.isfinite().all() for parameter in classifier.parameters())


def test_a_batch_without_masks_is_plain_training(classifier, batch):
    plain = {key: batch[key] for key in ("image", "label")}
    loss = CAMAL()(classifier, plain)
    assert loss.terms["camal"] == 0
    assert loss.total == loss.terms["task"]


def test_scale_depends_neither_on_batch_size_nor_on_annotated_share(classifier, batch):
    classifier.eval()
    batch["mask_weight"][:] = 1
    once = CAMAL()(classifier, batch).terms["camal"]
    twice = CAMAL()(classifier, {key: torch.cat([value, value]) for key, value in batch.items()}).terms["camal"]
    batch["mask_weight"] = torch.cat([torch.ones(5), torch.zeros(5)]).double()
    doubled = {key: torch.cat([batch[key]] * 2) for key in ("image", "label", "mask")}
    half = CAMAL()(classifier, doubled | {"mask_weight": batch["mask_weight"]}).terms["camal"]
    assert torch.allclose(once, twice)
    assert torch.allclose(once, half)
