import pytest
import torch

from lookright import InputError
from lookright.attribution import MAPS

TAKES_ANY_MODEL = [name for name in MAPS if not name.startswith("attention")]
OF_CAPTUM = ("integrated_gradients", "occlusion", "smooth_grad")


@pytest.mark.parametrize("name", TAKES_ANY_MODEL)
@pytest.mark.parametrize("target", [torch.tensor([1]), torch.tensor([1, 2])])
def test_one_target_for_each_image_or_none_at_all(pooled, image, name, target):
    if name in OF_CAPTUM:
        pytest.importorskip("captum")
    with pytest.raises(InputError, match=r"target has shape .* for 3 images and 4 logits.*torch\.full"):
        MAPS[name](pooled, pooled(image.requires_grad_()), target)


@pytest.mark.parametrize("name", TAKES_ANY_MODEL)
def test_a_class_is_the_weighted_sum_of_one_logit(pooled, image, target, name):
    if name.startswith("contrast") or name == "smooth_grad":
        return
    if name in OF_CAPTUM:
        pytest.importorskip("captum")
    arguments = {"window": 4, "stride": 4} if name == "occlusion" else {}
    output = pooled(image.requires_grad_())
    weight = torch.eye(4, dtype=torch.float64)[target]
    torch.testing.assert_close(
        MAPS[name](pooled, output, weight, **arguments), MAPS[name](pooled, output, target, **arguments)
    )
