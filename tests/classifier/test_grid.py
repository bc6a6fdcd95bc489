import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lookright import InputError
from lookright.classifier.grid import Grid

sides = st.integers(1, 12)
extra = st.integers(0, 5)


@given(rows=sides, columns=sides, prefix=extra, suffix=extra, axes=st.sampled_from(["BNC", "NBC"]))
def test_tokens_become_a_map_row_by_row_and_come_back(rows, columns, prefix, suffix, axes):
    tokens = torch.randn(2, prefix + rows * columns + suffix, 3)
    tensor = tokens if axes == "BNC" else tokens.transpose(0, 1)
    grid = Grid(axes, (rows, columns), prefix, suffix)
    features = grid.features(tensor)
    assert features.shape == (2, 3, rows, columns)
    for row in range(rows):
        for column in range(columns):
            assert torch.equal(features[:, :, row, column], tokens[:, prefix + row * columns + column])
    assert torch.equal(grid.restore(features, tensor), tensor)


@pytest.mark.parametrize(("axes", "shape"), [("BCHW", (2, 5, 3, 4)), ("BHWC", (2, 3, 4, 5))])
def test_maps_become_channels_first_and_come_back(axes, shape):
    tensor = torch.randn(shape)
    features = Grid(axes).features(tensor)
    assert features.shape == (2, 5, 3, 4)
    assert torch.equal(Grid(axes).restore(features, tensor), tensor)


def test_other_tokens_are_taken_from_the_original():
    tokens, features = torch.randn(1, 7, 2), torch.zeros(1, 2, 2, 2)
    restored = Grid("BNC", (2, 2), 2, 1).restore(features, tokens)
    assert torch.equal(restored[:, [0, 1, 6]], tokens[:, [0, 1, 6]])
    assert not restored[:, 2:6].any()


def test_a_number_of_tokens_that_does_not_fill_the_grid_is_refused():
    with pytest.raises(InputError, match=r"14 tokens came where 1 \+ 4 × 4 \+ 0 were expected"):
        Grid("BNC", (4, 4), 1).features(torch.zeros(1, 14, 4))
