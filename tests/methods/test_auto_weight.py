import copy

import pytest
import torch

from lookright import ADL, ALIGN, CAMAL, ERM, RRR, SAGE, AutoWeight, BackgroundSwap, Graft, InputError, Loss
from lookright.methods import reaches_backbone
from lookright.methods.method import changes_forward, has_views
from lookright.perturb import Noise


def gradients(classifier, loss):
    weights = list(classifier.model.features.parameters())
    return torch.cat(
        [g.flatten() for g in torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True) if g is not None]
    )


def shares(classifier, loss, names=None):
    guidance = sum(term for name, term in loss.terms.items() if (name != "task" if names is None else name in names))
    return (gradients(classifier, guidance).norm() / gradients(classifier, loss.terms["task"]).norm()).item()


@pytest.mark.parametrize("share", [0.1, 2.0])
@pytest.mark.parametrize(
    "method",
    [
        lambda: CAMAL(map="contrast"),
        lambda: RRR(weight=7.0),
        lambda: CAMAL() + RRR(),
        lambda: SAGE(perturbation=Noise()),
    ],
    ids=["CAMAL", "RRR", "sum", "SAGE"],
)
def test_the_gradient_on_the_backbone_is_the_stated_share_of_the_tasks(classifier, batch, method, share):
    loss = AutoWeight(method(), share)(classifier, batch)
    assert shares(classifier, loss) == pytest.approx(share, rel=1e-6)


def test_all_terms_get_the_same_factor_and_the_task_none(classifier, batch):
    method = AutoWeight(CAMAL() + RRR())
    plain, weighed = (CAMAL() + RRR())(classifier, batch), method(classifier, batch)
    assert weighed.terms["task"] == plain.terms["task"]
    for name in ("camal", "rrr"):
        torch.testing.assert_close(weighed.terms[name], method.factor * plain.terms[name])


def test_in_a_sum_it_weighs_its_own_terms_alone(classifier, batch):
    method = AutoWeight(CAMAL(), 0.5)
    loss = (RRR() + method)(classifier, batch)
    assert shares(classifier, loss, {"camal"}) == pytest.approx(0.5, rel=1e-6)
    torch.testing.assert_close(loss.terms["rrr"], RRR()(classifier, batch).terms["rrr"])
    both = AutoWeight(RRR(), 0.2) + AutoWeight(CAMAL(), 0.5)
    loss = both(classifier, batch)
    assert [shares(classifier, loss, {name}) for name in ("rrr", "camal")] == pytest.approx([0.2, 0.5], rel=1e-6)


def test_within_a_sum_views_and_alterations_reach_the_method(classifier, batch):
    plain = ADL() + SAGE(perturbation=Noise())
    loss = (ADL() + AutoWeight(SAGE(perturbation=Noise())))(classifier, batch)
    assert set(loss.terms) == set(plain(classifier, batch).terms)
    assert has_views(AutoWeight(SAGE()))
    assert not has_views(AutoWeight(CAMAL()))
    assert changes_forward(AutoWeight(Graft() + CAMAL()))
    assert not changes_forward(AutoWeight(CAMAL()))


def test_the_factor_is_that_of_smoothed_norms_measured_at_the_stated_steps(classifier, batch):
    method = AutoWeight(CAMAL(), share=1.0)
    method.attach(classifier, torch.optim.SGD(classifier.parameters(), 0.1))
    measured, smoothed = [], None
    for step in range(70):
        method.step = step
        with torch.no_grad():
            for parameter in classifier.parameters():
                parameter.mul_(1.01)
        before, raw = method.factor, CAMAL()(classifier, batch)
        method(classifier, batch)
        if method.factor != before:
            measured.append(step)
            norms = torch.stack([gradients(classifier, raw.terms[name]).norm() for name in ("task", "camal")])
            smoothed = norms if smoothed is None else 0.9 * smoothed + 0.1 * norms
            assert method.factor == pytest.approx((smoothed[0] / smoothed[1]).item(), rel=1e-6)
    assert measured == [0, 1, 2, 4, 8, 16, 32, 64]


def test_the_optimizer_counts_its_steps(classifier, batch):
    method = AutoWeight(CAMAL())
    optimizer = torch.optim.SGD(classifier.parameters(), 0.1)
    method.attach(classifier, optimizer)
    for _ in range(3):
        method(classifier, batch).total.backward()
        optimizer.step()
    assert (method.step, method.members[0].step) == (3, 3)


def test_a_batch_without_masks_is_not_measured_and_the_next_is(classifier, batch):
    method = AutoWeight(CAMAL(), 0.5)
    maskless = {key: value for key, value in batch.items() if not key.startswith("mask")}
    assert method(classifier, maskless).total == ERM()(classifier, maskless).total
    method.step = 3
    assert shares(classifier, method(classifier, batch)) == pytest.approx(0.5, rel=1e-6)


def test_looking_changes_no_gradient_and_eval_mode_does_not_measure(classifier, batch):
    method = AutoWeight(CAMAL())
    method(classifier, batch).total.backward()
    weight = classifier.model.features[0].weight
    expected = ERM()(classifier, batch).total + method.factor * CAMAL()(classifier, batch).terms["camal"]
    torch.testing.assert_close(weight.grad, torch.autograd.grad(expected, weight)[0])
    factor = method.factor
    method.eval()
    with torch.no_grad():
        method(classifier, {**batch, "label": batch["label"].flip(0)})
    assert method.factor == factor


def test_goes_on_where_a_checkpoint_left(classifier, batch):
    method = AutoWeight(CAMAL())
    method(classifier, batch)
    other = AutoWeight(CAMAL())
    other.load_state_dict(copy.deepcopy(method.state_dict()))
    other.step = method.step = 3  # not measured
    same = [one(classifier, batch).terms["camal"] for one in (method, other)]
    assert same[0] == same[1] != CAMAL()(classifier, batch).terms["camal"]


def test_a_frozen_backbone_and_unreached_guidance_leave_the_weight_alone(classifier, batch):
    for name, parameter in classifier.named_parameters():
        parameter.requires_grad_("fc" in name)
    method = AutoWeight(CAMAL())
    loss = method(classifier, batch)
    assert method.factor == 1
    assert "every parameter of the backbone is frozen" in reaches_backbone(classifier, loss)
    assert isinstance(loss, Loss)


@pytest.mark.parametrize("method", [ERM(), BackgroundSwap(), BackgroundSwap() + Graft()], ids=["ERM", "swap", "sum"])
def test_refuses_methods_without_a_loss(method):
    with pytest.raises(InputError, match="adds no loss"):
        AutoWeight(method)


def test_refuses_what_owns_the_forward_and_negative_shares():
    with pytest.raises(InputError, match="ALIGN owns the forward"):
        AutoWeight(ALIGN())
    with pytest.raises(InputError, match="share=-1"):
        AutoWeight(CAMAL(), -1)


def test_shows_its_share_and_its_method():
    assert "share=1.0" in repr(AutoWeight(CAMAL()))
    assert "CAMAL" in repr(AutoWeight(CAMAL()))
