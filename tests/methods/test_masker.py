import pytest
import timm
import torch

from lookright import InputError
from lookright.methods.masker import FeatureMasker, Masker, UNetMasker


def above_resnet(channels=3):
    resnet = timm.create_model("resnet18", num_classes=0, in_chans=channels, zero_init_last=False)
    return FeatureMasker(resnet, torch.zeros(1, channels, 32, 32))


@pytest.mark.parametrize("masker", [Masker, UNetMasker, above_resnet])
@pytest.mark.parametrize("size", [(32, 32), (45, 70)])
def test_a_mask_has_the_images_size_and_lies_between_0_and_1(masker, size):
    mask = masker(1)(torch.randn(2, 1, *size))
    assert mask.shape == (2, *size)
    assert ((mask > 0) & (mask < 1)).all()


@pytest.mark.parametrize("masker", [Masker, UNetMasker, above_resnet])
def test_masks_are_the_same_whether_it_learns_or_not_and_whatever_else_is_in_the_batch(masker):
    network, images = masker(3), torch.randn(4, 3, 32, 32)
    learning = network.train()(images)
    assert torch.equal(learning, network.eval()(images))
    torch.testing.assert_close(network(images[:1]), learning[:1])


@pytest.mark.parametrize("masker", [Masker, UNetMasker, above_resnet])
def test_every_parameter_learns(masker):
    network = masker()
    network(torch.randn(2, 3, 32, 32)).mean().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in network.parameters())


def test_of_several_scales_of_a_size_the_deepest_is_taken():
    vit = timm.create_model("vit_tiny_patch16_224", img_size=32, num_classes=0)
    images = torch.randn(2, 3, 32, 32)
    masker = FeatureMasker(vit, images)
    assert len(masker.up) == 1
    masker(images).mean().backward()
    assert all(parameter.grad is not None for parameter in vit.blocks[-1].parameters())


def test_a_model_without_scales_or_for_other_images_is_refused():
    vit = timm.create_model("vit_tiny_patch16_224", num_classes=0)
    with pytest.raises(InputError, match="VisionTransformer sees nothing in images of 32 by 32 pixels.*224"):
        FeatureMasker(vit, torch.zeros(1, 3, 32, 32))
    with pytest.raises(InputError, match="Linear has no forward_intermediates"):
        FeatureMasker(torch.nn.Linear(3, 2), torch.zeros(1, 3, 4, 4))
