import pytest
import timm
import torch
from torch import nn
from torch.nn.functional import linear, scaled_dot_product_attention

from lookright.classifier.grid import Grid
from lookright.classifier.route import Site
from lookright.classifier.search import reads_patches

TOKENS = Grid("BNC", (2, 2), prefix=1)


class Block(nn.Module):
    """Attention, a layer; the model reads the class token unless a subclass says otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 4, 4)
        self.tokens = nn.Identity()
        self.layer = nn.Linear(8, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, image):
        patches = self.embed(image).flatten(2).transpose(1, 2)
        tokens = self.tokens(torch.cat([patches.mean(1, keepdim=True), patches], 1))
        attended = scaled_dot_product_attention(*[tokens[:, None]] * 3)[:, 0]
        return self.head(self.read(self.layer(attended)))

    def read(self, tokens):
        return tokens[:, 0]


class Mean(Block):
    def read(self, tokens):
        return tokens.mean(1)


class BatchNorm(Block):
    """In training, every token has a part in the statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(8)

    def read(self, tokens):
        return self.norm(tokens.transpose(1, 2))[..., 0]


class PatchesInEvalMode(Block):
    def read(self, tokens):
        return tokens[:, 0] if self.training else tokens.mean(1)


class AuxiliaryLoss(Block):
    """Of all tokens, kept for whoever trains it."""

    def read(self, tokens):
        self.losses = [tokens.square().mean()]
        return tokens[:, 0]


class RefusesNaN(Block):
    def read(self, tokens):
        if tokens.isnan().any():
            raise FloatingPointError
        return tokens[:, 0]


class NoAttention(Block):
    def forward(self, image):
        patches = self.embed(image).flatten(2).transpose(1, 2)
        return self.head(self.tokens(torch.cat([patches.mean(1, keepdim=True), patches], 1))[:, 0])


class Mixer(Block):
    """A layer across the tokens, behind the attention."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Parameter(torch.eye(5))

    def read(self, tokens):
        return linear(tokens.transpose(1, 2), self.mix)[..., 0]


def asked(model):
    return reads_patches(model, (3, 8, 8), Site("tokens", "output"), TOKENS)


def test_only_the_class_token():
    assert not asked(Block())


@pytest.mark.parametrize("kind", [Mean, BatchNorm, PatchesInEvalMode, AuxiliaryLoss, RefusesNaN, NoAttention, Mixer])
def test_whoever_reads_patches(kind):
    assert asked(kind())
    assert asked(kind().eval())


@pytest.mark.parametrize("kind", [Mean, Mixer])
def test_weights_that_are_zero_hide_nothing(kind):
    model = kind()
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    assert asked(model)


def test_a_model_without_numbers():
    assert asked(Block().to("meta"))


def test_the_model_stays_as_it_is():
    model = timm.create_model("vit_tiny_patch16_224", img_size=32, patch_size=8, embed_dim=16, depth=2, num_heads=2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    assert not reads_patches(model, (3, 32, 32), Site("blocks.1", "input"), Grid("BNC", (4, 4), prefix=1))
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
