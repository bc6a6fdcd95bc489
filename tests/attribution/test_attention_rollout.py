import math

import pytest
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from lookright import Classifier
from lookright.attribution import attention_gradient, attention_rollout
from lookright.attribution.attention import per_image, token_attention


class Attend(nn.Module):
    """Every query is 1; keys and values are the tokens."""

    def forward(self, tokens):
        one_head = tokens[:, None]
        return tokens + scaled_dot_product_attention(torch.ones_like(one_head), one_head, one_head)[:, 0]


class OneChannel(nn.Module):
    """Tokens are the pixels, after a class token of 0."""

    def __init__(self):
        super().__init__()
        self.embed, self.block, self.head = nn.Conv2d(1, 1, 1, bias=False), Attend(), nn.Linear(1, 2, bias=False)
        nn.init.ones_(self.embed.weight)
        self.head.weight.data = torch.tensor([[3.0], [-3.0]])

    def forward(self, image):
        pixels = self.embed(image).flatten(2).transpose(1, 2)
        return self.head(self.block(torch.cat([torch.zeros_like(pixels[:, :1]), pixels], 1))[:, 0])


@pytest.fixture
def by_hand():
    """The class token attends to itself, log 2 and log 5 with 1/8, 2/8 and 5/8."""
    classifier = Classifier(OneChannel(), input_size=(1, 1, 2))
    return classifier, classifier(torch.tensor([[[[math.log(2), math.log(5)]]]] * 2).requires_grad_())


def test_by_hand(by_hand):
    expected = torch.tensor([[[1 / 8, 5 / 16]]] * 2)  # Half of the attention: the other half stays with the token.
    torch.testing.assert_close(attention_rollout(*by_hand), expected)


def test_attention_gradient_by_hand(by_hand):
    # ∂logit/∂attention = ±3 × value.
    expected = torch.tensor([[[3 * math.log(2) * 2 / 8, 3 * math.log(5) * 5 / 8]], [[0.0, 0.0]]])
    torch.testing.assert_close(attention_gradient(*by_hand, torch.tensor([0, 1])), expected)


def loop(attention):
    """One image: (heads, N, N) for each block."""
    flow = torch.eye(attention[0].shape[-1], dtype=torch.float64)
    for heads in attention:
        mean = torch.zeros_like(flow)
        for head in heads:
            mean += head / len(heads)
        flow = (0.5 * mean + 0.5 * torch.eye(len(mean), dtype=torch.float64)) @ flow
    return flow


@pytest.mark.parametrize(
    ("arguments", "rows"),
    [({}, [0]), ({"reg_tokens": 2}, [0]), ({"global_pool": "avg"}, range(1, 7)), ({"class_token": False}, range(6))],
    ids=["class token", "registers", "average", "no class token"],
)
def test_against_a_loop(make_vit, image, arguments, rows):
    if arguments.get("class_token") is False:
        arguments = arguments | {"global_pool": "avg"}
    classifier = Classifier(make_vit(**arguments).double().eval(), input_size=(3, 8, 12))
    output = classifier(image.requires_grad_())
    attention = [per_image(values, output) for values in token_attention(classifier, output)]
    map = attention_rollout(classifier, output)
    for number in range(3):
        flow = loop([values[number] for values in attention])
        expected = sum(flow[row] for row in rows) / len(rows)
        torch.testing.assert_close(map[number], expected[-6:].reshape(2, 3))


def test_a_head_at_zero_changes_nothing(vit, image):
    """torchvision's ViT starts with one."""
    expected = attention_rollout(vit, vit(image.requires_grad_()))
    nn.init.zeros_(vit.model.head.weight)
    torch.testing.assert_close(attention_rollout(vit, vit(image)), expected)
