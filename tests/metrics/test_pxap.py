import numpy as np
import pytest
import torch

from lookright.metrics import PxAP, pixel_average_precision


def inputs(seed=0):
    generator = torch.Generator().manual_seed(seed)
    map = torch.rand(4, 7, 9, generator=generator)
    mask = (torch.rand(4, 7, 9, generator=generator) > 0.7).float()
    ignore = (torch.rand(4, 7, 9, generator=generator) > 0.8).float()
    return map, mask, ignore


def naive(map, mask, ignore):
    """Threshold after threshold, over the pixels of all images."""
    scaled = [(m - m.min()) / (m.max() - m.min()) for m in map]
    values = torch.cat([m[i < 0.5] for m, i in zip(scaled, ignore)]).tolist()
    inside = torch.cat([m[i < 0.5] for m, i in zip(mask, ignore)]).tolist()
    area, last = 0.0, 0.0
    for threshold in range(1000, -1, -1):
        chosen = [target for value, target in zip(values, inside) if int(np.float32(value) * 1000) >= threshold]
        if chosen:
            recall = sum(chosen) / sum(inside)
            area += sum(chosen) / len(chosen) * (recall - last)
            last = recall
    return area


@pytest.mark.parametrize("with_ignore", [False, True])
def test_against_a_loop(with_ignore):
    map, mask, ignore = inputs()
    ignore = ignore if with_ignore else torch.zeros_like(ignore)
    found = pixel_average_precision(map, mask, ignore=ignore if with_ignore else None)
    assert found.item() == pytest.approx(naive(map, mask, ignore), abs=1e-3)


def test_perfect_flat_and_scaled_maps():
    map, mask, ignore = inputs()
    assert pixel_average_precision(mask, mask).item() == pytest.approx(1)
    flat = pixel_average_precision(torch.ones(4, 2, 2), mask)
    assert flat.item() == pytest.approx(mask.mean().item())
    value = pixel_average_precision(map, mask, ignore=ignore)
    torch.testing.assert_close(pixel_average_precision(8 * map, mask, ignore=ignore), value, atol=2e-3, rtol=0)
    order = torch.tensor([3, 1, 0, 2])
    torch.testing.assert_close(pixel_average_precision(map[order], mask[order], ignore=ignore[order]), value)


def test_batches_add_up_and_the_undefined_are_counted():
    map, mask, ignore = inputs()
    mask[1], map[2, 0, 0] = 0, torch.nan
    metric = PxAP()
    metric.update(map[:2], mask[:2], ignore=ignore[:2])
    metric.update(map[2:], mask[2:], torch.tensor([1.0, 0.0]), ignore[2:])
    torch.testing.assert_close(metric.compute(), pixel_average_precision(map[:1], mask[:1], ignore=ignore[:1]))
    assert metric.undefined == 3
    assert pixel_average_precision(map[1:3], mask[1:3]).isnan()
