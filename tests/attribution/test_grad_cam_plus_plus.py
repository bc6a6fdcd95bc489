import torch
from torch import nn

from lookright import Classifier
from lookright.attribution import grad_cam_plus_plus


def test_against_a_loop(classifier, image, target, cut):
    map = grad_cam_plus_plus(classifier, classifier(image), target)
    for number in range(3):
        _, features, gradients = cut(classifier.model, image[number])
        gradient = gradients[target[number]]
        expected = torch.zeros(map.shape[1:], dtype=torch.float64)
        for channel in range(len(features)):
            weight = 0.0
            for slope in gradient[channel].flatten().tolist():
                denominator = 2 * slope**2 + features[channel].sum().item() * slope**3
                weight += slope**2 / denominator * max(slope, 0.0) if slope else 0.0
            expected += weight * features[channel]
        torch.testing.assert_close(map[number], expected)


class OneChannel(nn.Module):
    """Logits ±Σ of the features, which are the image."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(1, 1, 1, bias=False)
        self.head = nn.Linear(4, 2, bias=False)
        nn.init.ones_(self.features.weight)
        self.head.weight.data = torch.tensor([[1.0], [-1.0]]).expand(2, 4).clone()

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(image).flatten(1))


def test_a_vanishing_denominator_counts_nothing():
    classifier = Classifier(OneChannel())
    image = torch.tensor([[[[-1.0, -1.0], [0.5, -0.5]]], [[[1.0, 0.0], [0.0, 0.0]]]])  # Sums -2 and 1; gradient 1.
    map = grad_cam_plus_plus(classifier, classifier(image), torch.tensor([0, 0]))
    torch.testing.assert_close(map[0], torch.zeros(2, 2))
    torch.testing.assert_close(map[1], 4 / 3 * image[1, 0])
    map.square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in classifier.parameters())


def test_evidence_against_the_class_counts_nothing():
    classifier = Classifier(OneChannel())
    map = grad_cam_plus_plus(classifier, classifier(torch.ones(2, 1, 2, 2)), torch.tensor([1, 1]))
    torch.testing.assert_close(map, torch.zeros(2, 2, 2))
