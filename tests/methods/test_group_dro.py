import math

import pytest
import torch

from lookright import CAMAL, GroupDRO, InputError
from lookright.methods import Sum

SIZES = [40, 3, 0, 10]


@pytest.fixture
def grouped(batch):
    return batch | {"group": torch.tensor([0, 1, 0, 3, 0])}


def loop(classifier, batch, q, step_size=0.5, adjustment=0.0):
    """q after a batch, and the loss that it weighs."""
    log_p = classifier.model(batch["image"]).log_softmax(1)
    losses = [0.0] * 4
    for g in range(4):
        rows = [row for row in range(5) if batch["group"][row] == g]
        if rows:
            losses[g] = sum(-log_p[row, batch["label"][row]].item() for row in rows) / len(rows)
    q = [
        q[g] * math.exp(step_size * (losses[g] + adjustment / math.sqrt(SIZES[g]))) if SIZES[g] else 0.0
        for g in range(4)
    ]
    q = [value / sum(q) for value in q]
    return q, sum(q[g] * losses[g] for g in range(4))


@pytest.mark.parametrize("adjustment", [0.0, 2.0])
def test_equals_a_loop_over_groups(classifier, grouped, adjustment):
    method, q = GroupDRO(step_size=0.5, adjustment=adjustment, sizes=SIZES), [1 / 3, 1 / 3, 0, 1 / 3]
    for _ in range(3):
        q, expected = loop(classifier, grouped, q, adjustment=adjustment)
        loss = method(classifier, grouped)
        assert set(loss.terms) == {"task"}
        assert loss.total.item() == pytest.approx(expected, rel=1e-5)
        assert method.group_weight.tolist() == pytest.approx(q, rel=1e-4)


def test_gradient_equals_finite_differences(grouped, check_gradient):
    method = GroupDRO(sizes=SIZES).eval()
    check_gradient(lambda classifier: method(classifier, grouped).total, rel=1e-3)


def test_the_worst_group_gains_weight_and_the_others_lose_it(classifier, grouped):
    method = GroupDRO(step_size=1.0, sizes=SIZES)
    with torch.no_grad():
        classifier.model.fc.bias[3] = -5  # the class of the image of group 3
    for _ in range(5):
        method(classifier, grouped)
    assert method.group_weight.argmax() == 3
    assert method.group_weight[3] > 0.9
    assert method.group_weight[2] == 0


def test_it_stays_where_it_is_outside_training(classifier, grouped):
    method = GroupDRO(sizes=SIZES).eval()
    method(classifier, grouped)
    assert method.group_weight.tolist() == pytest.approx([1 / 3, 1 / 3, 0, 1 / 3])


def test_its_weights_survive_a_checkpoint(classifier, grouped):
    method, other = GroupDRO(step_size=0.5, sizes=SIZES), GroupDRO(step_size=0.5, sizes=SIZES)
    method(classifier, grouped)
    other.load_state_dict(method.state_dict())
    assert torch.equal(other.group_weight, method.group_weight)
    assert method(classifier, grouped).total == other(classifier, grouped).total


def test_in_a_sum_the_guidance_keeps_its_weight(classifier, grouped):
    alone = CAMAL()(classifier.eval(), grouped).terms["camal"]
    loss = Sum([GroupDRO(sizes=SIZES), CAMAL()])(classifier, grouped)
    assert loss.terms["camal"].item() == pytest.approx(alone.item())
    assert loss.terms["task"].item() == pytest.approx(GroupDRO(sizes=SIZES)(classifier, grouped).total.item())


def test_what_it_needs_is_said(classifier, batch, grouped):
    with pytest.raises(InputError, match=r"GroupDRO\(sizes="):
        GroupDRO()(classifier, grouped)
    with pytest.raises(InputError, match="without groups"):
        GroupDRO(sizes=SIZES)(classifier, batch)
