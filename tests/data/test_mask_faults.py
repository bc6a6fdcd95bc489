import math

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from torchvision import tv_tensors

from lookright.data.mask_faults import Boxed, Dilated, Shifted, Shrunk
from lookright.data.samples import Sample
from lookright.errors import InputError


def altered(control, *evidence, dtype=torch.uint8, seed=0):
    samples = []
    for one in evidence:
        evidence = torch.as_tensor(one)
        mask = tv_tensors.Mask(evidence[None].to(dtype) * (255 if dtype == torch.uint8 else 1))
        samples.append(Sample(tv_tensors.Image(torch.zeros(3, *evidence.shape, dtype=torch.uint8)), mask))
    return [sample.mask[0] > 0 for sample in control(samples, [1.0] * len(samples), seed)]


def square(side=4, size=20, at=8):
    mask = torch.zeros(size, size, dtype=torch.bool)
    mask[at : at + side, at : at + side] = True
    return mask


masks = arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9)))


def distance_to(pixels, row, column):
    return min((math.dist((row, column), pixel) for pixel in np.argwhere(pixels)), default=math.inf)


@settings(max_examples=50)
@given(masks, st.floats(0, 2))
def test_dilated_is_every_pixel_near_enough(evidence, by):
    reach = by * math.sqrt(evidence.sum())
    expected = [
        [distance_to(evidence, *at) <= reach for at in row] for row in np.moveaxis(np.indices(evidence.shape), 0, 2)
    ]
    assert altered(Dilated(by), evidence)[0].tolist() == (expected if evidence.any() else evidence.tolist())


@settings(max_examples=50)
@given(masks, st.floats(0, 2))
def test_shrunk_is_every_pixel_deep_enough_and_never_nothing(evidence, by):
    shrunk = altered(Shrunk(by), evidence)[0].numpy()
    assert shrunk.any() == evidence.any()
    assert not (shrunk & ~evidence).any()
    if evidence.all():
        return
    depth = np.array(
        [[distance_to(~evidence, *at) for at in row] for row in np.moveaxis(np.indices(evidence.shape), 0, 2)]
    )
    deepest = np.isclose(depth, depth.max()) & evidence
    assert (shrunk == ((depth > by * math.sqrt(evidence.sum())) & evidence)).all() or (shrunk == deepest).all()


@settings(max_examples=50)
@given(masks)
def test_boxed_is_the_smallest_box(evidence):
    rows, columns = np.nonzero(evidence)
    expected = np.zeros_like(evidence)
    if evidence.any():
        expected[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = True
    assert (altered(Boxed(), evidence)[0].numpy() == expected).all()


def test_shifted_moves_as_far_as_asked_in_directions_that_seed_and_image_draw():
    centres = [mask.nonzero().double().mean(0) for mask in altered(Shifted(0.5), *[square()] * 50)]
    moves = torch.stack(centres) - square().nonzero().double().mean(0)
    torch.testing.assert_close(moves.norm(dim=1), torch.full((50,), 2.0).double(), atol=0.75, rtol=0)
    assert len({tuple(move.tolist()) for move in moves}) > 6
    assert (moves.mean(0).abs() < 1).all()
    again, other = (altered(Shifted(0.5), *[square()] * 50, seed=seed) for seed in (0, 1))
    torch.testing.assert_close(torch.stack([mask.nonzero().double().mean(0) for mask in again]), torch.stack(centres))
    assert any((one != two).any() for one, two in zip(again, other))


def test_shifted_loses_what_leaves_the_image_and_stays_where_all_would():
    sizes = [int(mask.sum()) for mask in altered(Shifted(0.5), *[square(at=16)] * 30)]
    assert min(sizes) < 16
    assert max(sizes) == 16
    assert all((mask == square()).all() for mask in altered(Shifted(10), *[square()] * 30))


@pytest.mark.parametrize(
    "control", [Shifted(), Dilated(), Shrunk(), Boxed()], ids=lambda control: type(control).__name__
)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32], ids=str)
def test_values_ignored_pixels_and_absent_masks_stay(control, dtype):
    full = 255 if dtype == torch.uint8 else 1
    image = tv_tensors.Image(torch.zeros(3, 20, 20, dtype=torch.uint8))
    ignored = torch.rand(1, 20, 20).to(dtype)
    mask = tv_tensors.Mask(torch.cat([square()[None].to(dtype) * full, ignored]))
    empty = tv_tensors.Mask(torch.zeros(1, 20, 20, dtype=dtype))
    new, absent, still_empty = control(
        [Sample(image, mask), Sample(image, None), Sample(image, empty)], [1.0, 0.0, 1.0], 0
    )
    assert new.mask.dtype == dtype
    assert isinstance(new.mask, tv_tensors.Mask)
    assert new.mask[0].unique().tolist() == [0, full]
    assert torch.equal(new.mask[1:], ignored)
    assert absent.mask is None
    assert torch.equal(still_empty.mask, empty)


def test_a_distance_below_zero_is_refused():
    with pytest.raises(InputError, match="by = -1"):
        Shifted(-1)
