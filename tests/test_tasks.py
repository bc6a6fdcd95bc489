import math

import pytest
import torch

from lookright import InputError
from lookright.tasks import CrossEntropy, Focal, binary, cross_entropy, multi_label

LOGITS = torch.tensor([[0.5, -1.0, 2.0], [0.0, 3.0, 1.0]], dtype=torch.float64)
LABEL = torch.tensor([2, 0])


def probability(row, label):
    powers = [math.exp(logit) for logit in LOGITS[row].tolist()]
    return powers[label] / sum(powers)


def test_each_task_equals_its_equation():
    p = [probability(row, int(label)) for row, label in enumerate(LABEL)]
    assert cross_entropy(LOGITS, LABEL).tolist() == pytest.approx([-math.log(value) for value in p])
    assert Focal(gamma=3)(LOGITS, LABEL).tolist() == pytest.approx([-((1 - v) ** 3) * math.log(v) for v in p])
    assert CrossEntropy(class_weights=[2.0, 1.0, 0.5])(LOGITS, LABEL).tolist() == pytest.approx(
        [-0.5 * math.log(p[0]), -2 * math.log(p[1])]
    )
    smoothed = [
        sum(-(0.7 * (k == label) + 0.1) * math.log(probability(row, k)) for k in range(3))
        for row, label in enumerate(LABEL.tolist())
    ]
    assert CrossEntropy(label_smoothing=0.3)(LOGITS, LABEL).tolist() == pytest.approx(smoothed)
    yes = 1 / (1 + math.exp(-0.5))
    assert binary(LOGITS[:1, :1].repeat(2, 1), torch.tensor([1, 0])).tolist() == pytest.approx(
        [-math.log(yes), -math.log(1 - yes)]
    )
    several = torch.tensor([[1, 0, 1], [0, 0, 0]])
    expected = [
        sum(math.log(1 + math.exp((1 - 2 * y) * z)) for y, z in zip(labels, logits)) / 3
        for labels, logits in zip(several.tolist(), LOGITS.tolist())
    ]
    assert multi_label(LOGITS, several).tolist() == pytest.approx(expected)


def test_focal_is_finite_where_everything_is_known():
    logits = torch.tensor([[80.0, 0.0]], requires_grad=True)
    Focal(gamma=0.5)(logits, torch.tensor([0])).sum().backward()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize(
    ("task", "logits", "label", "message"),
    [
        (cross_entropy, torch.zeros(2, 1), torch.tensor([0, 1]), "one logit"),
        (cross_entropy, torch.zeros(2, 3), torch.zeros(2, 3), "multi_label"),
        (cross_entropy, torch.zeros(2, 3), torch.zeros(2), "float32"),
        (CrossEntropy(), torch.zeros(2, 1), torch.tensor([0, 1]), "one logit"),
        (CrossEntropy(class_weights=[1.0]), torch.zeros(2, 3), LABEL, "1 class weights for 3 classes"),
        (binary, torch.zeros(2, 3), torch.tensor([0, 1]), r"\(2, 3\)"),
        (binary, torch.zeros(2, 1), torch.zeros(2, 2), r"\(2, 2\)"),
        (multi_label, torch.zeros(2, 3), torch.tensor([0, 1]), r"\(2,\)"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(task, logits, label, message):
    with pytest.raises(InputError, match=message):
        task(logits, label)


def test_arguments_out_of_range_are_refused():
    with pytest.raises(InputError, match="label_smoothing=1"):
        CrossEntropy(label_smoothing=1.0)
    with pytest.raises(InputError, match="gamma=-1"):
        Focal(gamma=-1.0)
