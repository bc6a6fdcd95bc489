import copy

import pytest
import torch

from lookright import ADL, CAMAL, ERM, RRR, SAGE, Alternating, BackgroundSwap, InputError
from lookright.perturb import Noise


def train(method, classifier, batch, steps):
    optimizer = torch.optim.SGD(classifier.parameters(), 0.1)
    method.attach(classifier, optimizer)
    terms = []
    for _ in range(steps):
        loss = method(classifier, batch)
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        terms.append({name: term.item() for name, term in loss.terms.items()})
    return terms


def test_equals_steps_on_one_loss_and_then_on_the_other(classifier, batch):
    twin = copy.deepcopy(classifier)
    train(Alternating(CAMAL(weight=2.0), label_steps=2, explanation_steps=1), classifier, batch, 6)
    optimizer = torch.optim.SGD(twin.parameters(), 0.1)
    for name in ("task", "task", "camal") * 2:
        optimizer.zero_grad()
        CAMAL(weight=2.0)(twin, batch).terms[name].backward()
        optimizer.step()
    for parameter, same in zip(classifier.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(parameter, same)


def test_each_turn_has_its_own_terms(classifier, batch):
    terms = train(Alternating(RRR() + CAMAL(), label_steps=1, explanation_steps=2), classifier, batch, 4)
    assert [set(step) - {"task"} for step in terms] == [set(), {"rrr", "camal"}, {"rrr", "camal"}, set()]
    assert [step["task"] > 0 for step in terms] == [True, False, False, True]


def test_views_are_made_in_the_turn_of_the_guidance_only(classifier, batch):
    method = Alternating(SAGE(perturbation=Noise()))
    assert method.views(batch) is None
    method.step = 1
    assert set(method(classifier, batch).terms) == {"task", "sage_embedding", "sage_logit"}


def test_a_batch_without_masks_is_a_label_step(classifier, batch):
    method = Alternating(CAMAL())
    method.step = 1
    del batch["mask"], batch["mask_weight"]
    loss = method(classifier, batch)
    assert set(loss.terms) == {"task"}
    assert loss.total.item() == pytest.approx(ERM()(classifier, batch).total.item())


def test_gradient_of_an_explanation_step_equals_finite_differences(batch, check_gradient):
    method = Alternating(RRR())
    method.step = 1
    check_gradient(lambda classifier: method(classifier.eval(), batch).total, step=1e-5, rel=1e-3, abs=1e-7)


def test_it_goes_on_in_the_turn_where_a_checkpoint_left(classifier, batch):
    method = Alternating(CAMAL(), label_steps=2)
    train(method, classifier, batch, 2)
    restored = Alternating(CAMAL(), label_steps=2)
    restored.load_state_dict(method.state_dict())
    assert restored.explains(batch)


def test_both_losses_fall(classifier, batch):
    before = CAMAL()(classifier, batch).terms
    train(Alternating(CAMAL(), label_steps=1, explanation_steps=1), classifier, batch, 60)
    after = CAMAL()(classifier, batch).terms
    assert after["task"] < before["task"]
    assert after["camal"] < before["camal"]


@pytest.mark.parametrize("method", [ADL(), BackgroundSwap() + CAMAL()], ids=["ADL", "sum"])
def test_refuses_what_changes_the_task(method):
    with pytest.raises(InputError, match="cannot take turns"):
        Alternating(method)


def test_refuses_methods_without_a_loss_and_turns_without_a_step():
    with pytest.raises(InputError, match="ERM adds no loss"):
        Alternating(ERM())
    with pytest.raises(InputError, match="label_steps=0"):
        Alternating(label_steps=0)
