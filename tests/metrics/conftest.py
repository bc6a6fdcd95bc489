"""Classifiers small enough to follow by hand."""

import pytest
import torch
from torch import Tensor, nn

from lookright import Classifier, Output


class Linear(Classifier):
    """Two classes: logits Σ w·x over all pixels and channels, and 0."""

    def __init__(self, weight: Tensor) -> None:
        nn.Module.__init__(self)
        self.weight = nn.Parameter(weight)

    def forward(self, image: Tensor) -> Output:
        logit = (image * self.weight).sum((1, 2, 3))
        return Output(torch.stack([logit, torch.zeros_like(logit)], 1), image.flatten(1), image)


class SmallNetwork(nn.Module):
    """Convolution, BatchNorm, dropout, average pooling, linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout())
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(6, 4)

    def forward(self, image: Tensor) -> Tensor:
        return self.fc(self.avgpool(self.features(image)).flatten(1))


@pytest.fixture
def linear() -> Linear:
    return Linear(torch.randn(3, 6, 5, generator=torch.Generator().manual_seed(2)) / 3)


@pytest.fixture
def classifier() -> Classifier:
    torch.manual_seed(0)
    return Classifier(SmallNetwork())
