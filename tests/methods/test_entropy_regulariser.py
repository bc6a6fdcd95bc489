import math

import pytest
import torch

from lookright import CAMAL, EntropyRegulariser, InputError
from lookright.methods.entropy_regulariser import map_entropy
from lookright.tasks import multi_label


def entropy_of(classifier, image, label):
    """Of the positive part of the label's map, cell by cell."""
    features, weight = classifier(image[None]).features[0].detach(), classifier.head.weight.detach()
    map = [
        max(sum(float(weight[label, k] * features[k, y, x]) for k in range(6)), 0.0) for y in range(4) for x in range(4)
    ]
    return -sum(a / sum(map) * math.log(a / sum(map)) for a in map if a > 0) / math.log(16)


@pytest.mark.parametrize(("wanted", "sign"), [("peaked", 1), ("spread", -1)])
def test_equals_a_loop_over_cells(classifier, batch, wanted, sign):
    classifier.eval()
    got = EntropyRegulariser(weight=2.0, wanted=wanted)(classifier, batch).terms["entropy"].item()
    values = [entropy_of(classifier, image, label) for image, label in zip(batch["image"], batch["label"])]
    assert got == pytest.approx(2 * sign * sum(values) / 5)
    assert got != 0


def test_gradient_equals_finite_differences(batch, check_gradient):
    check_gradient(lambda classifier: EntropyRegulariser()(classifier.eval(), batch).terms["entropy"], rel=1e-4)


def test_flat_maps_have_the_largest_entropy_and_others_a_finite_gradient():
    map = torch.tensor([[[2.0, 2.0], [2.0, 2.0]], [[-1.0, -2.0], [-3.0, -4.0]], [[0.0, 5.0], [0.0, 0.0]]])
    map.requires_grad_()
    entropy = map_entropy(map)
    assert entropy.tolist() == pytest.approx([1, 0, 0])
    entropy.sum().backward()
    assert map.grad.isfinite().all()


@pytest.mark.parametrize("wanted", ["peaked", "spread"])
def test_its_term_falls_while_it_is_trained(train_alone, wanted):
    values = train_alone(EntropyRegulariser(wanted=wanted), "entropy")
    assert values[-1] < values[0] - 0.01


def test_it_reads_no_masks_and_takes_several_labels(classifier, batch):
    bare = {key: batch[key] for key in ("image", "label")}
    assert EntropyRegulariser().needs == frozenset()
    assert (
        EntropyRegulariser()(classifier, bare).terms["entropy"]
        == (EntropyRegulariser()(classifier, batch).terms["entropy"])
    )
    several = torch.tensor([[1, 0, 1, 0]] * 5)
    assert EntropyRegulariser()(classifier, bare | {"label": several}, task=multi_label).total.isfinite()


def test_in_a_sum(classifier, batch):
    assert set((EntropyRegulariser() + CAMAL())(classifier, batch).terms) == {"task", "entropy", "camal"}


def test_a_negative_weight_is_refused():
    with pytest.raises(InputError, match="weight=-1"):
        EntropyRegulariser(weight=-1)
