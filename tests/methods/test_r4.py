import copy

import pytest
import torch
from torch.nn import functional

from lookright import CAMAL, R4, RRR, InputError

SEARCHES = ["projected", "random"]


def size(classifier, batch, image, score):
    """Σ over the outside of g², g at an image, of each image."""
    image = image.clone().requires_grad_()
    logits = classifier.model(image)
    if score == "loss":
        value = functional.cross_entropy(logits, batch["label"], reduction="sum")
    else:
        value = logits.log_softmax(1).sum()
    (gradient,) = torch.autograd.grad(value, image, create_graph=True)
    return (gradient * (1 - batch["mask"])[:, None]).square().sum((1, 2, 3)), image


def mean(values, batch):
    weight = batch["mask_weight"]
    return (values * weight).sum().item() / int((weight > 0).sum())


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("training", [False, True])
def test_without_a_reach_it_is_rrr(classifier, batch, search, training):
    classifier.train(training)
    rrr = RRR(weight=2.0)(copy.deepcopy(classifier), batch).terms["rrr"]
    r4 = R4(weight=2.0, epsilon=0.0, search=search)(classifier, batch).terms["r4"]
    assert r4.item() == pytest.approx(rrr.item(), rel=1e-9)


@pytest.mark.parametrize("score", ["log_probabilities", "loss"])
def test_projected_steps_equal_a_loop(classifier, batch, score):
    classifier.eval()
    delta, outside = torch.zeros_like(batch["image"]), (1 - batch["mask"])[:, None]
    for _ in range(3):
        values, image = size(classifier, batch, batch["image"] + delta, score)
        (uphill,) = torch.autograd.grad(values.sum(), image)
        delta = (delta + 0.1 * outside * torch.sign(uphill)).clamp(-0.2, 0.2)
    wanted = mean(size(classifier, batch, batch["image"] + delta, score)[0].detach(), batch)
    method = R4(weight=3.0, epsilon=0.2, steps=3, step_size=0.1, score=score)
    assert method(classifier, batch).terms["r4"].item() == pytest.approx(3 * wanted, rel=1e-6)
    assert wanted > mean(size(classifier, batch, batch["image"], score)[0].detach(), batch)


@pytest.mark.parametrize("penalty", ["gradient", "change"])
def test_random_draws_equal_a_loop(classifier, batch, penalty):
    classifier.eval()
    method = R4(weight=1.0, epsilon=0.2, search="random", steps=4, penalty=penalty)
    generator, outside = copy.deepcopy(method).generator(), (1 - batch["mask"])[:, None]

    def gradient(image):
        image = image.clone().requires_grad_()
        return torch.autograd.grad(classifier.model(image).log_softmax(1).sum(), image)[0]

    largest = torch.zeros(5, dtype=torch.float64)
    for _ in range(4):
        delta = 0.2 * outside * (2 * torch.rand(batch["image"].shape, generator=generator) - 1)
        found = gradient(batch["image"] + delta)
        if penalty == "change":
            found = found - gradient(batch["image"])
        largest = torch.maximum(largest, (found * outside).square().sum((1, 2, 3)))
    assert method(classifier, batch).terms["r4"].item() == pytest.approx(mean(largest, batch), rel=1e-5)


@pytest.mark.parametrize("search", SEARCHES)
def test_gradient_equals_finite_differences(classifier, batch, check_gradient, search):
    """At the maximum the way there adds nothing where δ stays at a corner, or is the draw that was largest."""
    classifier.eval()
    check_gradient(lambda classifier: R4(search=search, steps=4, epsilon=0.3)(classifier, batch).terms["r4"], rel=1e-3)


def test_evidence_does_not_move(classifier, batch):
    batch["mask"][:] = 1
    assert R4()(classifier, batch).terms["r4"].item() == 0


def test_leaves_no_trace(classifier, batch):
    plain = copy.deepcopy(classifier)
    plain(batch["image"])
    R4(steps=2)(classifier, batch)
    for name, buffer in classifier.named_buffers():
        assert torch.equal(buffer, plain.get_buffer(name)), name
    assert all(parameter.grad is None for parameter in classifier.parameters())
    assert classifier.training


def test_in_float32_under_autocast(classifier, batch):
    classifier.float().eval()
    batch = {key: value.float() if value.is_floating_point() else value for key, value in batch.items()}
    method = R4(steps=2)
    expected = method(classifier, batch).terms["r4"]
    with torch.autocast("cpu", torch.bfloat16):
        assert method(classifier, batch).terms["r4"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_its_term_falls_while_it_is_trained(classifier, batch, minimise):
    method = R4(weight=1.0, steps=2)
    terms = minimise(lambda: method(classifier, batch).terms["r4"], classifier.parameters(), steps=20)
    assert terms[-1] < 0.5 * terms[0]


def test_in_a_sum(classifier, batch):
    loss = (R4(steps=2) + CAMAL())(classifier, batch)
    assert set(loss.terms) == {"task", "r4", "camal"}
    loss.total.backward()
    assert all(parameter.grad.isfinite().all() for parameter in classifier.parameters())


def test_without_masks_it_costs_nothing(classifier, batch):
    batch["mask_weight"][:] = 0
    assert R4()(classifier, batch).terms["r4"].item() == 0


def test_a_change_has_no_uphill_at_the_image():
    with pytest.raises(InputError, match="no direction is uphill"):
        R4(penalty="change")


def test_what_lies_in_a_mask_that_does_not_count_does_not_reach_other_images(classifier, batch):
    expected = R4(steps=2)(copy.deepcopy(classifier), batch).terms["r4"]
    batch["mask"][1] = torch.nan  # of weight 0; BatchNorm would spread it
    assert R4(steps=2)(classifier, batch).terms["r4"].item() == pytest.approx(expected.item())
