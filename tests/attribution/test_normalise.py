import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lookright.attribution import minmax, relu, sum_to_one

MAPS = st.lists(st.floats(-1e3, 1e3, width=32), min_size=6, max_size=6).map(lambda v: torch.tensor(v).reshape(1, 2, 3))

SMALLEST = torch.finfo(torch.float32).tiny


@given(MAPS)
def test_relu(map):
    expected = torch.tensor([[[max(value, 0.0) for value in row] for row in map[0].tolist()]])
    torch.testing.assert_close(relu(map), expected)


@given(MAPS)
def test_minmax(map):
    low, high = map.min(), map.max()
    scaled = minmax(map)
    if high - low <= SMALLEST:
        assert not scaled.any()
    else:
        torch.testing.assert_close(scaled, (map - low) / (high - low))
        assert scaled.min() == 0
        assert scaled.max() == 1


@given(MAPS.map(torch.abs))
def test_sum_to_one(map):
    total = sum_to_one(map).sum().item()
    assert total == (pytest.approx(1, abs=1e-5) if map.sum() > SMALLEST else 0)


@pytest.mark.parametrize("normalise", [minmax, sum_to_one])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_flat_map_becomes_zero_with_zero_gradient(normalise, dtype):
    map = torch.zeros(2, 3, 3, dtype=dtype, requires_grad=True)
    normalised = normalise(map)
    normalised.sum().backward()
    assert not normalised.any()
    assert not map.grad.any()


@pytest.mark.parametrize("normalise", [relu, minmax, sum_to_one])
def test_each_map_on_its_own_and_differentiable(normalise):
    map = torch.rand(3, 2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    alone = torch.cat([normalise(one[None]) for one in map])
    torch.testing.assert_close(normalise(map), alone)
    assert torch.autograd.gradcheck(normalise, map)
    assert torch.autograd.gradgradcheck(normalise, map)
