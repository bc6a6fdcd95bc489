import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lookright import InputError
from lookright.classifier.grid import MAXIMUM_PREFIX, Grid, find_grid

sides = st.integers(2, 12)


@given(rows=sides, columns=sides, prefix=st.integers(0, 5), patch=st.integers(4, 16))
def test_tokens_become_a_map_row_by_row_and_come_back(rows, columns, prefix, patch):
    tokens = torch.randn(2, prefix + rows * columns, 3)
    grid = Grid("BNC", prefix)
    features = grid.features(tokens, (rows * patch, columns * patch))
    assert features.shape == (2, 3, rows, columns)
    for row in range(rows):
        for column in range(columns):
            assert torch.equal(features[:, :, row, column], tokens[:, prefix + row * columns + column])
    assert torch.equal(grid.restore(features, tokens), tokens)


@pytest.mark.parametrize(("axes", "shape"), [("BCHW", (2, 5, 3, 4)), ("BHWC", (2, 3, 4, 5))])
def test_maps_become_channels_first_and_come_back(axes, shape):
    tensor = torch.randn(shape)
    features = Grid(axes).features(tensor, (30, 40))
    assert features.shape == (2, 5, 3, 4)
    assert torch.equal(Grid(axes).restore(features, tensor), tensor)


def test_prefix_tokens_are_taken_from_the_original():
    tokens, features = torch.randn(1, 6, 2), torch.zeros(1, 2, 2, 2)
    restored = Grid("BNC", 2).restore(features, tokens)
    assert torch.equal(restored[:, :2], tokens[:, :2])
    assert not restored[:, 2:].any()


def test_patches_that_are_not_square():
    image = torch.Size((2, 3, 64, 64))
    grid = find_grid(torch.Size((2, 33, 5)), image, [(4, 8)])  # Patches of 16 x 8.
    assert grid == Grid("BNC", 1, 0.5)
    assert grid.features(torch.zeros(2, 33, 5), (64, 64)).shape == (2, 5, 4, 8)
    assert grid.features(torch.zeros(2, 129, 5), (128, 128)).shape == (2, 5, 8, 16)


def test_a_number_of_tokens_that_fills_no_grid_is_refused():
    with pytest.raises(InputError, match=r"13 patch tokens do not fill a grid .* \(64, 64\)"):
        Grid("BNC", 1).features(torch.zeros(1, 14, 4), (64, 64))


IMAGE = torch.Size((2, 3, 64, 64))


@pytest.mark.parametrize(
    ("shape", "sizes", "prefix", "expected"),
    [
        ((2, 32, 8, 8), (), None, Grid("BCHW")),
        ((2, 8, 8, 32), (), None, Grid("BHWC")),
        ((2, 64, 32), (), None, Grid("BNC")),
        ((2, 65, 32), (), None, Grid("BNC", 1)),
        ((2, 69, 32), (), 5, Grid("BNC", 5)),
        ((2, 64, 32), (), 5, Grid("BNC", 0)),
        ((2, 66, 32), [(8, 8)], None, Grid("BNC", 2)),
        ((2, 20, 32), [(4, 4), (8, 8)], None, Grid("BNC", 4)),
        ((2, 32), (), None, None),
        ((2, 32, 1, 1), (), None, None),
        ((4, 64, 32), (), None, None),
        ((2, 1, 32), (), None, None),
        ((2, 1024, 1), (), None, None),
        ((2, 1024, 49), [(7, 7)], None, None),
        ((2, 65, 64), [(8, 8)], None, Grid("BNC", 1)),
        ((2, 128, 128, 4), (), None, None),
    ],
)
def test_layouts(shape, sizes, prefix, expected):
    assert find_grid(torch.Size(shape), IMAGE, sizes, prefix) == expected


@given(rows=sides, columns=sides, prefix=st.integers(0, MAXIMUM_PREFIX), channels=st.integers(3, 7))
def test_tokens_are_matched_with_a_map_met_earlier(rows, columns, prefix, channels):
    image = torch.Size((2, 3, rows * 16, columns * 16))
    grid = find_grid(torch.Size((2, prefix + rows * columns, channels)), image, [(rows, columns)], prefix)
    assert grid == Grid("BNC", prefix, grid.aspect)
    tokens = torch.zeros(2, prefix + rows * columns, channels)
    assert grid.features(tokens, tuple(image[2:])).shape == (2, channels, rows, columns)
