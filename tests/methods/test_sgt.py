import copy

import pytest
import torch

from lookright import SGT, InputError
from lookright.perturb import MeanFill


@pytest.mark.parametrize("absolute", [False, True])
def test_equals_a_loop_over_images(classifier, batch, absolute):
    method = SGT(weight=0.6, share=0.25, absolute=absolute, fill=MeanFill())
    classifier.eval()
    loss = method(classifier, batch)
    total = 0.0
    for image, label in zip(batch["image"], batch["label"]):
        x = image.clone().requires_grad_()
        classifier(x[None]).logits[0, label].backward()
        gradient = x.grad.mean(0)
        gradient = gradient.abs() if absolute else gradient
        order = sorted((float(gradient[i, j]), i, j) for i in range(8) for j in range(8))
        masked = image.clone()
        for _, i, j in order[:16]:
            masked[:, i, j] = image.mean((1, 2))
        p, q = (classifier(a[None]).logits[0].softmax(0).detach() for a in (image, masked))
        total += sum(float(p[k] * (p[k] / q[k]).log()) for k in range(4))
    assert loss.terms["sgt"].item() == pytest.approx(0.6 * total / 5, rel=1e-5)


def test_gradient_equals_finite_differences(batch, check_gradient):
    method = SGT(weight=10, share=0.5).eval()
    check_gradient(lambda classifier: method(classifier, batch).terms["sgt"], step=1e-5, rel=2e-2, abs=2e-4)


def test_ranking_pixels_leaves_no_trace(classifier, batch):
    classifier.model.features[1].eval()  # a mode of its own
    before = copy.deepcopy(classifier.state_dict())
    rng = torch.get_rng_state()
    SGT()._keep(classifier, batch)
    assert all(torch.equal(value, before[name]) for name, value in classifier.state_dict().items())
    assert all(parameter.grad is None for parameter in classifier.parameters())
    assert classifier.training
    assert not classifier.model.features[1].training
    assert not batch["image"].requires_grad
    assert torch.equal(rng, torch.get_rng_state())


def test_noise_goes_on_from_a_checkpoint(classifier, batch):
    classifier.eval()
    method = SGT(seed=1)
    first = method(classifier, batch).terms["sgt"]
    resumed = SGT(seed=1)
    resumed.load_state_dict(copy.deepcopy(method.state_dict()))
    second = method(classifier, batch).terms["sgt"]
    assert torch.equal(second, resumed(classifier, batch).terms["sgt"])
    assert not torch.equal(first, second)


def test_nothing_replaced_is_no_divergence(classifier, batch):
    assert SGT(share=0)(classifier.eval(), batch).terms["sgt"].item() == pytest.approx(0, abs=1e-12)


def test_share_out_of_range_is_refused():
    with pytest.raises(InputError, match="share=10"):
        SGT(share=10)
