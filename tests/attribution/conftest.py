"""Three small double-precision classifiers, cut by hand where the evidence is read."""

import copy
import functools
from collections.abc import Callable

import pytest
import timm
import torch
from torch import Tensor, nn

from lookright import Classifier


class Pooled(nn.Module):
    """Average pooling + linear head: CAM is exact."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6), nn.Softplus())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(6, 4)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.pool(self.features(image)).flatten(1))


class Flattened(nn.Module):
    """A head of two layers on flattened features of either sign."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6), nn.SiLU())
        self.hidden = nn.Linear(6 * 4 * 6, 5)
        self.head = nn.Linear(5, 4)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(nn.functional.softplus(self.hidden(self.features(image).flatten(1))))


def make_vit(**arguments: object) -> nn.Module:
    """Two blocks on a grid of 2 × 3 patches."""
    size = {"img_size": (8, 12), "patch_size": 4, "embed_dim": 12, "num_heads": 2, "depth": 2, "num_classes": 4}
    return timm.create_model("vit_tiny_patch16_224", **(size | arguments))


MODELS: dict[str, Callable[[], nn.Module]] = {"pooled": Pooled, "flattened": Flattened, "vit": make_vit}


@functools.cache
def _made(name: str) -> Classifier:
    torch.manual_seed(0)
    return Classifier(MODELS[name]().double().eval(), input_size=(3, 8, 12))


def make(name: str) -> Classifier:
    """A copy of its own for every test."""
    return copy.deepcopy(_made(name))


@pytest.fixture(params=list(MODELS))
def classifier(request: pytest.FixtureRequest) -> Classifier:
    return make(request.param)


@pytest.fixture
def pooled() -> Classifier:
    return make("pooled")


@pytest.fixture
def flattened() -> Classifier:
    return make("flattened")


@pytest.fixture
def vit() -> Classifier:
    return make("vit")


@pytest.fixture
def image() -> Tensor:
    return torch.randn(3, 3, 8, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def target() -> Tensor:
    return torch.tensor([2, 0, 3])


def cut(model: nn.Module, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, and the features (C, h, w) and the gradient of each logit with respect to them, of a single image.

    The gradient is (K, C, h, w).
    """
    if isinstance(model, (Pooled, Flattened)):
        features = model.features(image[None]).detach().requires_grad_()
        pooled = model.pool(features) if isinstance(model, Pooled) else features
        hidden = pooled.flatten(1)
        logits = model.head(hidden if isinstance(model, Pooled) else nn.functional.softplus(model.hidden(hidden)))[0]
    else:
        tokens = model._pos_embed(model.patch_embed(image[None]))
        for block in model.blocks[:-1]:
            tokens = block(tokens)
        features = tokens[:, 1:].detach().transpose(1, 2).reshape(1, 12, 2, 3).requires_grad_()
        tokens = torch.cat([tokens[:, :1].detach(), features.flatten(2).transpose(1, 2)], 1)
        logits = model.head(model.norm(model.blocks[-1](tokens))[:, 0])[0]
    gradient = [torch.autograd.grad(logit, features, retain_graph=True)[0][0] for logit in logits]
    return logits.detach(), features.detach()[0], torch.stack(gradient)


@pytest.fixture(name="cut")
def cut_fixture() -> Callable:
    """The function `cut`."""
    return cut


@pytest.fixture(name="make_vit")
def make_vit_fixture() -> Callable:
    """The function `make_vit`."""
    return make_vit
