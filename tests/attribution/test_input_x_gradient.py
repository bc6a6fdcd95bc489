import torch

from lookright.attribution import input_x_gradient


def test_against_a_loop(classifier, image, target):
    map = input_x_gradient(classifier, classifier(image.requires_grad_()), target)
    for number in range(3):
        alone = image[number : number + 1].detach().requires_grad_()
        (gradient,) = torch.autograd.grad(classifier.model(alone)[0, target[number]], alone)
        expected = sum(gradient[0, channel] * image[number, channel] for channel in range(3))
        torch.testing.assert_close(map[number], expected)


def test_channels(pooled, image, target):
    output = pooled(image.requires_grad_())
    (gradient,) = torch.autograd.grad(output.logits.gather(1, target[:, None]).sum(), image, retain_graph=True)
    torch.testing.assert_close(
        input_x_gradient(pooled, output, target, "maximum"), (gradient * image).abs().amax(1).detach()
    )
