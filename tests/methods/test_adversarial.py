import copy

import pytest
import torch
from torch.nn import functional

from lookright.methods.adversarial import attack


def test_one_step_is_the_sign_of_the_gradient(classifier, batch):
    image, label = batch["image"], batch["label"]
    attacked = attack(classifier, image, label, epsilon=0.1, steps=1)
    given = image.clone().requires_grad_()
    functional.cross_entropy(classifier.eval()(given).logits, label).backward()
    assert torch.allclose(attacked, image + 0.1 * given.grad.sign())


@pytest.mark.parametrize("steps", [1, 5])
def test_the_loss_rises_within_the_box_and_only_where_pixels_may_change(classifier, batch, steps):
    image, label = batch["image"], batch["label"]
    where = (torch.arange(8) < 4).double().expand(5, 1, 8, 8)
    attacked = attack(classifier, image, label, epsilon=0.1, steps=steps, where=where)
    assert (attacked - image).abs().max().item() == pytest.approx(0.1)
    assert torch.equal(attacked[..., 4:], image[..., 4:])
    classifier.eval()
    before, after = (functional.cross_entropy(classifier(x).logits, label) for x in (image, attacked))
    assert after > before


def test_it_leaves_no_trace(classifier, batch):
    before, draws = copy.deepcopy(classifier.state_dict()), torch.get_rng_state()
    assert not attack(classifier, batch["image"], batch["label"], epsilon=0.1, steps=2).requires_grad
    assert all(torch.equal(value, before[name]) for name, value in classifier.state_dict().items())
    assert all(parameter.grad is None for parameter in classifier.parameters())
    assert classifier.training
    assert not batch["image"].requires_grad
    assert torch.equal(draws, torch.get_rng_state())
