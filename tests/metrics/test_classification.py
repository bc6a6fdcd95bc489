import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.classification import multiclass_calibration_error

from lookright import InputError
from lookright.metrics import (
    Accuracy,
    BalancedAccuracy,
    BrierScore,
    DomainAccuracy,
    ExpectedCalibrationError,
    GroupAccuracy,
    NegativeLogLikelihood,
    WorstGroupAccuracy,
    accuracy,
    balanced_accuracy,
    brier_score,
    domain_accuracy,
    expected_calibration_error,
    group_accuracy,
    negative_log_likelihood,
    worst_group_accuracy,
)


def predictions(batch=200, classes=4, domains=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(batch, classes, generator=generator)
    label = torch.randint(classes, (batch,), generator=generator)
    return logits, label, torch.randint(domains, (batch,), generator=generator)


def naive_group_accuracy(logits, label, domain):
    right: dict[tuple[int, int], list[bool]] = {}
    for row, y, d in zip(logits.tolist(), label.tolist(), domain.tolist(), strict=True):
        right.setdefault((y, d), []).append(row.index(max(row)) == y)
    return {group: sum(answers) / len(answers) for group, answers in right.items()}, right


def test_accuracies_against_a_loop():
    logits, label, domain = predictions()
    expected, right = naive_group_accuracy(logits, label, domain)
    everything = [answer for answers in right.values() for answer in answers]
    assert accuracy(logits, label).item() == pytest.approx(sum(everything) / 200)
    groups = group_accuracy(logits, label, domain)
    assert groups.shape == (4, 3)
    for group, value in expected.items():
        assert groups[group].item() == pytest.approx(value)
    for index in range(3):
        answers = [answer for (_, d), answers in right.items() if d == index for answer in answers]
        assert domain_accuracy(logits, label, domain)[index].item() == pytest.approx(sum(answers) / len(answers))
    assert worst_group_accuracy(logits, label, domain).item() == pytest.approx(min(expected.values()))


def test_empty_groups_and_domains_have_no_accuracy():
    logits, label, domain = torch.eye(3), torch.arange(3), torch.tensor([0, 0, 2])
    assert domain_accuracy(logits, label, domain).isnan().tolist() == [False, True, False]
    assert group_accuracy(logits, label, domain).isnan().sum() == 6
    assert worst_group_accuracy(logits, label, domain) == 1
    nothing = logits[:0], label[:0], domain[:0]
    assert group_accuracy(*nothing).isnan().all()
    assert worst_group_accuracy(*nothing).isnan()


def test_small_groups_can_be_left_out():
    logits = torch.tensor([[1.0, 0.0]]).repeat(5, 1)
    label, domain = torch.tensor([0, 0, 0, 0, 1]), torch.tensor([0, 0, 1, 1, 1])
    assert worst_group_accuracy(logits, label, domain) == 0
    assert worst_group_accuracy(logits, label, domain, minimum_size=2) == 1
    assert worst_group_accuracy(logits, label, domain, minimum_size=3).isnan()


@pytest.mark.parametrize("bins", [5, 15])
def test_calibration_error_against_torchmetrics_and_a_loop(bins):
    logits, label, _ = predictions()
    probability = logits.softmax(1)
    value = expected_calibration_error(logits, label, bins=bins)
    torch.testing.assert_close(value, multiclass_calibration_error(probability, label, 4, n_bins=bins))
    total = 0.0
    for index in range(bins):
        inside = [
            (row.max().item(), float(row.argmax() == y))
            for row, y in zip(probability, label, strict=True)
            if index / bins < row.max() <= (index + 1) / bins
        ]
        total += abs(sum(confidence - right for confidence, right in inside))
    assert value.item() == pytest.approx(total / 200, abs=1e-6)


def test_logits_between_0_and_1_are_still_logits():
    logits = torch.tensor([[1.0, 0.0]])
    confidence = math.e / (math.e + 1)
    assert expected_calibration_error(logits, torch.tensor([0])).item() == pytest.approx(1 - confidence)
    assert brier_score(logits, torch.tensor([0])).item() == pytest.approx(2 * (1 - confidence) ** 2)
    assert negative_log_likelihood(logits, torch.tensor([0])).item() == pytest.approx(-math.log(confidence))


def test_certain_and_right_or_wrong():
    logits, right, wrong = torch.tensor([[200.0, 0.0]]), torch.tensor([0]), torch.tensor([1])
    for label, error in ((right, 0), (wrong, 1)):
        assert expected_calibration_error(logits, label) == error
        assert brier_score(logits, label) == 2 * error
        assert negative_log_likelihood(logits, label) == 200 * error


@given(st.integers(0, 1000), st.integers(1, 20))
@settings(max_examples=20)
def test_worst_group_is_the_lowest_and_errors_stay_in_range(seed, minimum_size):
    logits, label, domain = predictions(batch=60, seed=seed)
    assert worst_group_accuracy(logits, label, domain) <= domain_accuracy(logits, label, domain).amin()
    assert 0 <= expected_calibration_error(logits, label) <= 1
    assert 0 <= brier_score(logits, label) <= 2
    small = worst_group_accuracy(logits, label, domain, minimum_size=minimum_size)
    assert small.isnan() or small >= worst_group_accuracy(logits, label, domain)


METRICS = [
    (Accuracy(), lambda logits, label, domain: accuracy(logits, label), True),
    (BrierScore(), lambda logits, label, domain: brier_score(logits, label), False),
    (NegativeLogLikelihood(), lambda logits, label, domain: negative_log_likelihood(logits, label), False),
    (ExpectedCalibrationError(), lambda logits, label, domain: expected_calibration_error(logits, label), False),
    (GroupAccuracy(4, 3), group_accuracy, True),
    (DomainAccuracy(4, 3), domain_accuracy, True),
    (WorstGroupAccuracy(4, 3), worst_group_accuracy, True),
]


@pytest.mark.parametrize(("metric", "function", "higher_is_better"), METRICS, ids=lambda case: type(case).__name__)
def test_metric_is_the_function_and_parts_join(metric, function, higher_is_better):
    everything = predictions()
    arguments = everything if isinstance(metric, GroupAccuracy) else everything[:2]
    first, second = metric.clone(), metric.clone()
    for rows in (slice(50), slice(50, 70)):
        first.update(*(tensor[rows] for tensor in arguments))
    second.update(*(tensor[70:] for tensor in arguments))
    first.merge_state(second)
    torch.testing.assert_close(first.compute(), function(*everything))
    assert metric.higher_is_better is higher_is_better


def test_counts_are_exact_under_autocast():
    logits, label, domain = predictions(batch=3000, classes=2, domains=1)
    metric = GroupAccuracy(2, 1)
    with torch.autocast("cpu", torch.bfloat16):
        metric.update(logits, label, domain)
        calibration = expected_calibration_error(logits, label)
    assert metric.count.sum() == 3000
    assert torch.equal(calibration, expected_calibration_error(logits, label))


@pytest.mark.parametrize(("label", "domain", "name"), [([0, 4], [0, 0], "label"), ([0, 1], [0, 3], "domain")])
def test_a_label_or_domain_out_of_range_is_refused(label, domain, name):
    metric = GroupAccuracy(classes=4, domains=3)
    with pytest.raises(InputError, match=f"{name} reaches from 0 to"):
        metric.update(torch.zeros(2, 4), torch.tensor(label), torch.tensor(domain))


def test_balanced_accuracy_and_smallest_group_against_a_loop():
    generator = torch.Generator().manual_seed(3)
    logits, label = torch.randn(30, 4, generator=generator), torch.randint(3, (30,), generator=generator)
    domain = torch.randint(2, (30,), generator=generator)
    right = [(row.argmax() == wanted).item() for row, wanted in zip(logits, label)]
    of_class = [[ok for ok, wanted in zip(right, label) if wanted == k] for k in range(3)]
    expected = sum(sum(ones) / len(ones) for ones in of_class) / 3
    metric, groups = BalancedAccuracy(classes=4), WorstGroupAccuracy(classes=4, domains=2)
    for part in (slice(10), slice(10, 30)):
        metric.update(logits[part], label[part])
        groups.update(logits[part], label[part], domain[part])
    assert metric.compute().item() == pytest.approx(expected)
    assert balanced_accuracy(logits, label).item() == pytest.approx(expected)
    sizes = Counter(zip(label.tolist(), domain.tolist()))
    assert groups.smallest_group == min(sizes.values())


def test_one_logit_speaks_for_label_1():
    logit, label = torch.tensor([[2.0], [-1.0], [0.5]]), torch.tensor([1, 0, 0])
    probability = logit[:, 0].sigmoid()
    assert accuracy(logit, label).item() == pytest.approx(2 / 3)
    torch.testing.assert_close(
        negative_log_likelihood(logit, label), torch.nn.functional.binary_cross_entropy(probability, label.float())
    )
    torch.testing.assert_close(brier_score(logit, label), 2 * (probability - label).square().mean())
