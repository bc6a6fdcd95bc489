import pytest
import torch
from torch import Tensor

from lookright.classifier.search.path import Path, vertex


def leaf(*shape: int) -> Tensor:
    return torch.randn(shape, requires_grad=True)


def path(end: Tensor, start: Tensor) -> Path:
    return Path(vertex(end), vertex(start))


def test_a_value_on_every_way_has_share_one():
    image = leaf(2, 3)
    first = image.sin()
    branches = first.exp() + first.cos()
    end = branches.tanh()
    ways = path(end, image)
    for value in (image, first, branches, end):
        assert ways.share(vertex(value)) == 1


def test_the_share_counts_ways():
    image = leaf(2, 3)
    first, second = image.sin(), image.cos()
    double = first.exp() + first.tanh()
    ways = path(double + second, image)
    assert ways.share(vertex(first)) == pytest.approx(2 / 3)
    assert ways.share(vertex(second)) == pytest.approx(1 / 3)


def test_what_lies_beside_the_way_is_not_on_it():
    image, weight = leaf(2, 3), leaf(4, 3)
    beside = weight.exp()
    end = image @ beside.T
    ways = path(end, image)
    assert vertex(beside) not in ways
    assert ways.share(vertex(beside)) == 0
    assert vertex(torch.zeros(2)) is None


@pytest.mark.parametrize(
    ("read", "spread"),
    [
        (lambda tokens, weight: tokens[:, 0] @ weight, False),  # A class token alone.
        (lambda tokens, weight: tokens.mean(1) @ weight, True),
        (lambda tokens, weight: tokens[:, 1:].mean(1) @ weight, True),
        (lambda tokens, weight: (tokens @ tokens.mT @ tokens)[:, 0] @ weight, True),  # Attention before it.
        (lambda tokens, weight: torch.cat([tokens[:, 0], tokens[:, 1:].mean(1)], 1) @ weight.repeat(2, 1), False),
    ],
)
def test_whether_all_positions_reach_the_logits(read, spread):
    image = leaf(2, 5, 4)
    tokens = image.sin()
    assert path(read(tokens, leaf(4, 3)), image).is_spread(vertex(tokens)) == spread


WEIGHT, BIAS = leaf(3, 4), leaf(3)


@pytest.mark.parametrize(
    ("read", "prefix", "expected"),
    [
        (lambda x: torch.nn.functional.linear(x.mean((2, 3)), WEIGHT, BIAS), 0, True),
        (lambda x: torch.nn.functional.adaptive_avg_pool2d(x, 1).flatten(1) @ WEIGHT.T, 0, True),
        (lambda x: torch.nn.functional.conv2d(x, WEIGHT[..., None, None], BIAS).mean((2, 3)), 0, True),
        (lambda x: x.flatten(2).transpose(1, 2)[:, 1:].mean(1) @ WEIGHT.T, 1, True),
        (lambda x: x.flatten(2).transpose(1, 2).mean(1) @ WEIGHT.T, 1, False),
        (lambda x: x.flatten(2).transpose(1, 2)[:, 1:].mean(1) @ WEIGHT.T, 0, False),
        (lambda x: x.mean((2, 3)).relu() @ WEIGHT.T, 0, False),
        (lambda x: (x.mean((2, 3)) @ WEIGHT.T).relu(), 0, False),
        (lambda x: x.amax((2, 3)) @ WEIGHT.T, 0, False),
        (lambda x: x.mean((2, 3)) @ WEIGHT.T + x.mean((2, 3)) @ WEIGHT.T, 0, False),
        (lambda x: x[:, :, 0, 0] @ WEIGHT.T, 0, False),
        (lambda x: x.contiguous(memory_format=torch.channels_last).mean((2, 3), keepdim=True).flatten(1) @ WEIGHT.T,
         0, True),
    ],
)  # fmt: skip
def test_average_then_linear(read, prefix, expected):
    image = leaf(2, 4, 3, 3)
    features = image.sin()
    assert path(read(features), image).is_average_then_linear(vertex(features), prefix) == expected


def test_the_channels_last_average_of_a_module_is_one_too():
    image = leaf(2, 3, 3, 4)
    features = image.sin()
    pooled = torch.nn.AdaptiveAvgPool2d(1)(features.permute(0, 3, 1, 2)).flatten(1)
    assert path(pooled @ WEIGHT.T, image).is_average_then_linear(vertex(features), 0)


def test_nearest_and_below():
    image = leaf(2, 3)
    first = image.sin()
    second, third = first.exp(), first.cos()
    ways = path(second + third, image)
    wanted = {vertex(value) for value in (first, second)}
    assert set(ways.nearest(wanted)) == wanted  # The first is reached through the third.
    assert ways.nearest({vertex(image), vertex(first)}) == [vertex(first)]
    assert ways.below([vertex(second)]) == {vertex(second), vertex(first), vertex(image)}
