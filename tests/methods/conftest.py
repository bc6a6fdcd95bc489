"""A small double-precision classifier and a batch, for naive loops and finite differences."""

import copy
from collections.abc import Callable, Iterable

import pytest
import torch
from torch import nn

from lookright import Classifier, Method


class SmallNetwork(nn.Module):
    """Convolution, average pooling, linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6), nn.Softplus())
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(6, 4)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.fc(self.avgpool(self.features(image)).flatten(1))


@pytest.fixture
def classifier() -> Classifier:
    torch.manual_seed(0)
    return Classifier(SmallNetwork().double())


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        "image": torch.randn(5, 3, 8, 8, generator=generator, dtype=torch.float64),
        "label": torch.tensor([0, 1, 2, 3, 1]),
        "mask": (torch.rand(5, 8, 8, generator=generator) > 0.6).double(),
        "mask_weight": torch.tensor([1.0, 0.0, 0.5, 1.0, 2.0], dtype=torch.float64),
    }


@pytest.fixture
def check_gradient(classifier) -> Callable[..., None]:
    """A check that a loss of the classifier has the gradient that finite differences give, at three weights."""

    def check(loss: Callable[[Classifier], torch.Tensor], step: float = 1e-5, rel: float = 1e-2, abs: float = 1e-6):
        weight = classifier.model.features[0].weight
        (gradient,) = torch.autograd.grad(loss(classifier), weight)
        assert gradient.any()
        for position in [(0, 0, 0, 0), (3, 2, 1, 1), (5, 1, 2, 0)]:
            values = []
            for sign in (1, -1):
                moved = copy.deepcopy(classifier)
                with torch.no_grad():
                    moved.model.features[0].weight[position] += sign * step
                values.append(loss(moved).item())
            slope = (values[0] - values[1]) / (2 * step)
            assert gradient[position].item() == pytest.approx(slope, rel=rel, abs=abs)

    return check


@pytest.fixture
def train_alone(classifier, batch) -> Callable[..., list[float]]:
    """Trains the classifier on one term of a method, and gives the term's value in each step."""

    def train(method: Method, name: str, steps: int = 30, lr: float = 1e-2) -> list[float]:
        optimizer = torch.optim.Adam(classifier.parameters(), lr)
        method.attach(classifier, optimizer)
        values = []
        for _ in range(steps):
            term = method(classifier, batch).terms[name]
            optimizer.zero_grad()
            term.backward()
            optimizer.step()
            values.append(term.item())
        return values

    return train


@pytest.fixture
def minimise() -> Callable[..., list[float]]:
    """Steps of Adam on a loss, and what it was before each."""

    def minimise(loss: Callable[[], torch.Tensor], parameters: Iterable[nn.Parameter], steps: int) -> list[float]:
        optimizer, values = torch.optim.Adam(parameters, 1e-2), []
        for _ in range(steps):
            value = loss()
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            values.append(value.item())
        return values

    return minimise
