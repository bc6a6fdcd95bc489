import pytest
import torch

from lookright import InputError
from lookright.attribution import cam, grad_cam


def test_against_a_loop(pooled, image, target, cut):
    map = cam(pooled, pooled(image), target)
    for number in range(3):
        _, features, _ = cut(pooled.model, image[number])
        weight = pooled.model.head.weight[target[number]]
        expected = sum(weight[channel] * features[channel] for channel in range(6))
        torch.testing.assert_close(map[number], expected)


def test_is_grad_cam_times_the_grid(pooled, image, target):
    output = pooled(image)
    torch.testing.assert_close(cam(pooled, output, target), 24 * grad_cam(pooled, output, target))


def test_mean_is_the_logit_without_bias(pooled, image, target):
    output = pooled(image)
    logit = output.logits - pooled.model.head.bias
    torch.testing.assert_close(cam(pooled, output, target).mean((1, 2)), logit[torch.arange(3), target])


def test_needs_no_graph(pooled, image, target):
    with torch.no_grad():
        assert not cam(pooled, pooled(image), target).requires_grad


@pytest.mark.parametrize("name", ["flattened", "vit"])
def test_refuses_other_heads(name, request, image, target):
    classifier = request.getfixturevalue(name)
    with pytest.raises(InputError, match="is not average pooling \\+ Linear"):
        cam(classifier, classifier(image), target)
