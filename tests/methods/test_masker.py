import pytest
import torch

from lookright.methods.masker import Masker, UNetMasker


@pytest.mark.parametrize("masker", [Masker, UNetMasker])
@pytest.mark.parametrize("size", [(32, 32), (45, 70)])
def test_a_mask_has_the_images_size_and_lies_between_0_and_1(masker, size):
    mask = masker(1)(torch.randn(2, 1, *size))
    assert mask.shape == (2, *size)
    assert ((mask > 0) & (mask < 1)).all()


def test_how_much_of_the_image_a_value_sees():
    network = Masker().eval().double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(0.01)  # so that nothing cancels and no ReLU blocks
    image = torch.ones(1, 3, 256, 256, dtype=torch.float64, requires_grad=True)
    network(image)[0, 128, 128].backward()
    seen = image.grad[0].sum(0).sum(0).nonzero()
    assert int(seen.max() - seen.min()) + 1 == 27


@pytest.mark.parametrize("masker", [Masker, UNetMasker])
def test_every_parameter_learns(masker):
    network = masker()
    network(torch.randn(2, 3, 32, 32)).mean().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in network.parameters())
