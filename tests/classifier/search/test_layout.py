import pytest
import torch
from torch import nn

from lookright.classifier.grid import Grid
from lookright.classifier.search.layout import layouts

IMAGE = torch.Size((2, 3, 64, 64))


@pytest.mark.parametrize(
    ("shape", "sizes", "module", "expected"),
    [
        ((2, 32, 8, 8), (), None, Grid("BCHW")),
        ((2, 8, 8, 32), (), None, Grid("BHWC")),
        ((2, 32, 4, 16), (), None, None),
        ((2, 32, 4, 16), (), nn.Conv2d(1, 1, 1), Grid("BCHW")),  # A side that is strided more than the other.
        ((2, 32, 4, 16), [(4, 16)], None, Grid("BCHW")),
        ((2, 4, 16, 32), [(4, 16)], None, Grid("BHWC")),
        ((2, 64, 32), (), None, Grid("BNC", (8, 8))),
        ((2, 65, 32), (), None, Grid("BNC", (8, 8), 1)),
        ((65, 2, 32), (), None, Grid("NBC", (8, 8), 1)),
        ((2, 66, 32), [(8, 8)], None, Grid("BNC", (8, 8), 2)),
        ((2, 33, 32), [(8, 4)], None, Grid("BNC", (8, 4), 1)),  # Patches of 8 x 16.
        ((2, 20, 32), [(4, 4), (8, 8)], None, Grid("BNC", (4, 4), 4)),
        ((2, 32), (), None, None),
        ((2, 32, 1, 1), (), None, None),
        ((2, 32, 1, 1), (), nn.Conv2d(1, 1, 1), None),
        ((4, 64, 32), (), None, None),
        ((2, 1, 32), (), None, None),
        ((2, 1024, 1), (), None, None),
        ((2, 128, 128, 4), (), None, None),
    ],
)
def test_the_likeliest_layout(shape, sizes, module, expected):
    assert next(layouts(torch.Size(shape), IMAGE, sizes, module), None) == expected
