import torch

from lookright.attribution import grad_cam


def test_against_a_loop(classifier, image, target, cut):
    map = grad_cam(classifier, classifier(image), target)
    for number in range(3):
        _, features, gradients = cut(classifier.model, image[number])
        gradient = gradients[target[number]]
        expected = torch.zeros(map.shape[1:], dtype=torch.float64)
        for channel in range(len(features)):
            expected += gradient[channel].sum() / gradient[channel].numel() * features[channel]
        torch.testing.assert_close(map[number], expected)
