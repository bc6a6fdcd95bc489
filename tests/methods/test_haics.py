import math

import pytest
import torch

from lookright import ALIGN, HAICS, InputError


def test_equals_a_loop_over_cells(classifier, batch):
    batch["ignore"] = torch.zeros(5, 8, 8, dtype=torch.float64)
    batch["ignore"][:, :2, :1] = 1  # half of the first cell
    got = HAICS(weight=0.7, epsilon=0.1)(classifier, batch).terms["haics"].item()
    features, weight = classifier(batch["image"]).features.detach(), classifier.head.weight.detach()
    loss, count = 0.0, 0
    for b in range(5):
        if batch["mask_weight"][b] > 0:
            map = sum(weight[batch["label"][b], k] * features[b, k] for k in range(6))
            low, high, total, known = map.min().item(), map.max().item(), 0.0, 0.0
            for y in range(4):
                for x in range(4):
                    pixels = [(2 * y + dy, 2 * x + dx) for dy in range(2) for dx in range(2)]
                    seen = [p for p in pixels if batch["ignore"][b][p] == 0]
                    target = sum(batch["mask"][b][p].item() for p in seen) / len(seen)
                    a = 0.1 + 0.8 * (map[y, x].item() - low) / (high - low)
                    total -= len(seen) / 4 * (target * math.log(a) + (1 - target) * math.log(1 - a))
                    known += len(seen) / 4
            loss += batch["mask_weight"][b].item() * total / known
            count += 1
    assert got == pytest.approx(0.7 * loss / count, rel=1e-6)


def test_is_aligns_third_term_for_given_masks(classifier, batch):
    align = ALIGN(weight=1.0, masks="given", warmup=0, regularisation=0, normalise_mask=False).eval()
    expected = align(classifier, batch).terms["align"].item()
    assert HAICS()(classifier, batch).terms["haics"].item() == pytest.approx(expected)


def test_gradient_equals_finite_differences(batch, check_gradient):
    method = HAICS()
    check_gradient(lambda classifier: method(classifier, batch).terms["haics"])


def test_an_epsilon_of_zero_is_refused():
    with pytest.raises(InputError, match="epsilon=0"):
        HAICS(epsilon=0.0)
