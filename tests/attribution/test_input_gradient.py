import pytest
import torch

from lookright.attribution import input_gradient

REDUCTIONS = {
    "absolute": lambda pixel: sum(abs(value) for value in pixel),
    "signed": sum,
    "maximum": lambda pixel: max(abs(value) for value in pixel),
}


@pytest.mark.parametrize("channels", list(REDUCTIONS))
def test_against_a_loop(classifier, image, target, channels):
    map = input_gradient(classifier, classifier(image.requires_grad_()), target, channels)
    assert map.shape == (3, 8, 12)
    for number in range(3):
        alone = image[number : number + 1].detach().requires_grad_()
        classifier.model(alone)[0, target[number]].backward()
        expected = [
            [REDUCTIONS[channels](alone.grad[0, :, row, column].tolist()) for column in range(12)] for row in range(8)
        ]
        torch.testing.assert_close(map[number], torch.tensor(expected, dtype=torch.float64))


def test_absolute_by_default(pooled, image, target):
    output = pooled(image.requires_grad_())
    expected = input_gradient(pooled, output, target, "absolute")
    assert torch.equal(input_gradient(pooled, output, target), expected)
