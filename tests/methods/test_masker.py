import pytest
import torch

from lookright.methods.masker import Masker, UNetMasker


@pytest.mark.parametrize("masker", [Masker, UNetMasker])
@pytest.mark.parametrize("size", [(32, 32), (45, 70)])
def test_a_mask_has_the_images_size_and_lies_between_0_and_1(masker, size):
    mask = masker(1)(torch.randn(2, 1, *size))
    assert mask.shape == (2, *size)
    assert ((mask > 0) & (mask < 1)).all()


@pytest.mark.parametrize("masker", [Masker, UNetMasker])
def test_masks_are_the_same_whether_it_learns_or_not_and_whatever_else_is_in_the_batch(masker):
    network, images = masker(3), torch.randn(4, 3, 32, 32)
    learning = network.train()(images)
    assert torch.equal(learning, network.eval()(images))
    torch.testing.assert_close(network(images[:1]), learning[:1])


@pytest.mark.parametrize("masker", [Masker, UNetMasker])
def test_every_parameter_learns(masker):
    network = masker()
    network(torch.randn(2, 3, 32, 32)).mean().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in network.parameters())
