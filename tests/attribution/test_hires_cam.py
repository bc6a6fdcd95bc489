import torch

from lookright.attribution import grad_cam, hires_cam


def test_against_a_loop(classifier, image, target, cut):
    map = hires_cam(classifier, classifier(image), target)
    for number in range(3):
        _, features, gradients = cut(classifier.model, image[number])
        gradient = gradients[target[number]]
        expected = sum(gradient[channel] * features[channel] for channel in range(len(features)))
        torch.testing.assert_close(map[number], expected)


def test_is_grad_cam_for_a_pooled_head(pooled, image, target):
    output = pooled(image)
    torch.testing.assert_close(hires_cam(pooled, output, target), grad_cam(pooled, output, target))


def test_vanishes_on_tokens_that_enter_a_layer_norm(vit, image, target):
    """A LayerNorm does not see the length of a token, so the gradient is orthogonal to it."""
    vit.model.blocks[-1].norm1.eps = 0.0
    with torch.no_grad():
        vit.model.patch_embed.proj.weight -= vit.model.patch_embed.proj.weight.mean(0)
    output = vit(image)
    assert hires_cam(vit, output, target).abs().max() < 1e-12 < grad_cam(vit, output, target).std()
