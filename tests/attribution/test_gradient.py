import pytest
import torch
from torch import nn

from lookright import Classifier, InputError
from lookright.attribution import grad_cam, input_gradient
from lookright.attribution.gradient import feature_gradient, image_gradient


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_an_output_without_a_graph_is_refused(flattened, image, target, context):
    with context():
        output = flattened(image)
    with pytest.raises(InputError, match="with gradients enabled"):
        feature_gradient(output, target)
    with pytest.raises(InputError, match=r"classifier\(image.requires_grad_\(\)\)"):
        image_gradient(output, target)


def test_an_image_without_gradients_is_refused_on_the_input(flattened, image, target):
    with pytest.raises(InputError, match=r"classifier\(image.requires_grad_\(\)\)"):
        input_gradient(flattened, flattened(image), target)


def test_outside_the_graph_where_gradients_are_disabled(flattened, image, target):
    output = flattened(image)
    with torch.no_grad():
        assert not grad_cam(flattened, output, target).requires_grad
    assert grad_cam(flattened, output, target).requires_grad


def test_nothing_below_the_features_is_differentiated(image, target):
    class Counts(torch.autograd.Function):
        calls = 0

        @staticmethod
        def forward(context, value):
            return value.clone()

        @staticmethod
        def backward(context, gradient):
            Counts.calls += 1
            return gradient

    class Below(nn.Module):
        def forward(self, value):
            return Counts.apply(value)

    convolution = nn.Conv2d(3, 4, 3)
    classifier = Classifier(
        nn.Sequential(convolution, Below(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 4 * 8, 4))
    )
    output = classifier(image.float())
    Counts.calls = 0
    grad_cam(classifier, output, target)
    assert Counts.calls == 0
    output.logits.sum().backward()
    assert Counts.calls == 1


def test_a_frozen_model_has_maps(flattened, image, target):
    expected = grad_cam(flattened, flattened(image), target).detach()
    flattened.requires_grad_(False)
    torch.testing.assert_close(grad_cam(flattened, flattened(image), target).detach(), expected)
