import torch

from lookright.attribution import layer_cam


def test_against_a_loop(classifier, image, target, cut):
    map = layer_cam(classifier, classifier(image), target)
    for number in range(3):
        _, features, gradients = cut(classifier.model, image[number])
        expected = torch.zeros(map.shape[1:], dtype=torch.float64)
        for channel, gradient in enumerate(gradients[target[number]]):
            expected += torch.where(gradient > 0, gradient, 0.0) * features[channel]
        torch.testing.assert_close(map[number], expected)
