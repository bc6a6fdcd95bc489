import inspect
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lookright import InputError
from lookright.metrics import (
    AUPR,
    AUROC,
    APCERAtBPCER,
    FPRAtTPR,
    apcer_at_bpcer,
    aupr,
    auroc,
    class_means,
    embedding_distance,
    energy,
    fpr_at_tpr,
    maximum_softmax,
)

FUNCTIONS = [auroc, aupr, fpr_at_tpr, apcer_at_bpcer]


def scores(batch=150, seed=0, ties=True):
    generator = torch.Generator().manual_seed(seed)
    unknown = torch.rand(batch, generator=generator) > 0.6
    score = torch.randn(batch, generator=generator) + unknown
    return (score * 5).round() / 5 if ties else score, unknown


def split(score, unknown):
    return score[~unknown].tolist(), score[unknown].tolist()


def naive_auroc(score, unknown):
    known, others = split(score, unknown)
    wins = [(other > value) + 0.5 * (other == value) for other in others for value in known]
    return sum(wins) / len(wins)


def naive_average_precision(score, positive):
    precision_recall = []
    for threshold in sorted(set(score.tolist()), reverse=True):
        selected = (score >= threshold).tolist()
        hits = sum(chosen and wanted for chosen, wanted in zip(selected, positive.tolist(), strict=True))
        precision_recall.append((hits / sum(selected), hits / sum(positive.tolist())))
    area, last = 0.0, 0.0
    for precision, recall in precision_recall:
        area, last = area + precision * (recall - last), recall
    return area


def naive_fpr_at_tpr(score, unknown, tpr):
    known, others = split(score, unknown)
    for threshold in sorted(known):
        if sum(value <= threshold for value in known) >= tpr * len(known) - 1e-9:
            return sum(value <= threshold for value in others) / len(others)
    raise AssertionError


@pytest.mark.parametrize("ties", [False, True])
def test_against_a_loop(ties):
    score, unknown = scores(ties=ties)
    assert auroc(score, unknown).item() == pytest.approx(naive_auroc(score, unknown), abs=1e-6)
    assert aupr(score, unknown).item() == pytest.approx(naive_average_precision(score, unknown), abs=1e-6)
    known = aupr(score, unknown, positive="known")
    assert known.item() == pytest.approx(naive_average_precision(-score, ~unknown), abs=1e-6)
    for tpr in (0.5, 0.95, 0.99, 1.0):
        expected = naive_fpr_at_tpr(score, unknown, tpr)
        assert fpr_at_tpr(score, unknown, tpr).item() == pytest.approx(expected)
        assert apcer_at_bpcer(score, unknown, 1 - tpr).item() == pytest.approx(expected)


def test_against_scikit_learn():
    sklearn = pytest.importorskip("sklearn.metrics")
    score, unknown = scores()
    assert auroc(score, unknown).item() == pytest.approx(sklearn.roc_auc_score(unknown, score))
    assert aupr(score, unknown).item() == pytest.approx(sklearn.average_precision_score(unknown, score))


@given(st.integers(0, 1000))
@settings(max_examples=20)
def test_only_the_order_of_the_scores_matters(seed):
    score, unknown = scores(batch=40, seed=seed)
    for function in FUNCTIONS:
        value = function(score, unknown)
        # Far outside [0, 1], where a sigmoid would tie them.
        torch.testing.assert_close(function(1000 + 100 * score, unknown), value, equal_nan=True)


@given(st.integers(0, 1000))
@settings(max_examples=20)
def test_reversed_scores_complement_the_auroc(seed):
    score, unknown = scores(batch=40, seed=seed)
    torch.testing.assert_close(auroc(-score, unknown), 1 - auroc(score, unknown))


def test_perfect_and_useless_scores():
    unknown = torch.arange(200) >= 100
    perfect = unknown.float()
    for positive in ("unknown", "known"):
        assert aupr(perfect, unknown, positive=positive) == 1
        assert aupr(torch.zeros(200), unknown, positive=positive) == 0.5
    assert auroc(perfect, unknown) == 1
    assert fpr_at_tpr(perfect, unknown) == 0
    assert auroc(torch.zeros(200), unknown) == 0.5
    assert fpr_at_tpr(torch.zeros(200), unknown) == 1


def test_apcer_worked_by_hand():
    """Of 200 bona fide 2 may be refused, so that the third highest of them is the last to pass."""
    bona_fide = torch.arange(200.0)
    attack = torch.tensor([196.5, 197.0, 197.5, 300.0])
    score = torch.cat([bona_fide, attack])
    is_attack = torch.arange(204) >= 200
    assert apcer_at_bpcer(score, is_attack).item() == 0.5
    kind = torch.cat([torch.zeros(200, dtype=torch.long), torch.tensor([0, 7, 7, 7])])
    assert apcer_at_bpcer(score, is_attack, attack_type=kind).item() == 1
    assert apcer_at_bpcer(score, is_attack, attack_type=kind * 0).item() == 0.5


def test_shares_are_not_rounded_up_by_their_last_bit():
    """1 - 0.01 is a little above 0.99, yet one of a hundred may be refused."""
    score = torch.cat([torch.arange(100.0), torch.tensor([98.5])])
    unknown = torch.arange(101) == 100
    assert apcer_at_bpcer(score, unknown) == 0
    assert fpr_at_tpr(score, unknown, 0.99) == 0


@pytest.mark.parametrize("function", FUNCTIONS)
def test_undefined_without_both_kinds_or_with_nan(function):
    score, unknown = scores()
    for one_kind in (torch.zeros_like(unknown), torch.ones_like(unknown)):
        assert function(score, one_kind).isnan()
    score[3] = torch.nan
    assert function(score, unknown).isnan()


def test_maximum_softmax_and_energy():
    logits = 3 * torch.randn(20, 5, generator=torch.Generator().manual_seed(0))
    for row, uncertainty, free in zip(logits.tolist(), maximum_softmax(logits), energy(logits, 2.0), strict=True):
        total = sum(math.exp(value) for value in row)
        assert uncertainty.item() == pytest.approx(1 - math.exp(max(row)) / total, abs=1e-6)
        assert free.item() == pytest.approx(-2 * math.log(sum(math.exp(value / 2) for value in row)), abs=1e-5)


def test_maximum_softmax_ranks_images_of_which_the_classifier_is_certain():
    logits = torch.tensor([[40.0, 0.0], [30.0, 0.0], [20.0, 0.0]])
    assert (maximum_softmax(logits).diff() > 0).all()


def test_scores_are_computed_in_single_precision():
    logits = torch.randn(4, 3, dtype=torch.bfloat16)
    for score in (maximum_softmax, energy):
        assert torch.equal(score(logits), score(logits.float()))


def test_embedding_distance_against_a_loop():
    generator = torch.Generator().manual_seed(0)
    embedding, label = torch.randn(30, 6, generator=generator), torch.randint(4, (30,), generator=generator)
    means = class_means(embedding, label)
    assert means.shape == (4, 6)
    query = torch.randn(5, 6, generator=generator)
    for row, distance in zip(query, embedding_distance(query, means), strict=True):
        to_mean = [(row - embedding[label == kind].mean(0)).square().sum().sqrt().item() for kind in range(4)]
        assert distance.item() == pytest.approx(min(to_mean), abs=1e-5)
    assert embedding_distance(means, means).abs().max() == 0


def test_a_class_without_images_has_no_mean():
    means = class_means(torch.eye(3), torch.tensor([0, 2, 2]))
    assert means.tolist() == [[1, 0, 0], [0, 0.5, 0.5]]


@pytest.mark.parametrize(
    ("metric", "function"),
    [
        (AUROC(), auroc),
        (AUPR("known"), lambda score, unknown: aupr(score, unknown, positive="known")),
        (FPRAtTPR(0.8), lambda score, unknown: fpr_at_tpr(score, unknown, 0.8)),
        (APCERAtBPCER(0.1), lambda score, unknown: apcer_at_bpcer(score, unknown, 0.1)),
    ],
    ids=lambda case: type(case).__name__,
)
def test_metric_is_the_function_and_parts_join(metric, function):
    score, unknown = scores()
    first, second = metric.clone(), metric.clone()
    first.update(score[:20], unknown[:20])
    first.update(score[20:50], unknown[20:50])
    second.update(score[50:], unknown[50:])
    first.merge_state(second)
    torch.testing.assert_close(first.compute(), function(score, unknown))
    assert metric.higher_is_better is isinstance(metric, AUROC | AUPR)


def test_flags_may_be_integers():
    score, unknown = scores()
    for function in (auroc, aupr, fpr_at_tpr, apcer_at_bpcer):
        assert function(score, unknown.long()) == function(score, unknown)
    metric = FPRAtTPR()
    metric.update(score, unknown.int())
    assert metric.compute() == fpr_at_tpr(score, unknown)


def test_metric_of_the_worst_attack_type():
    score, attack = scores()
    kind = torch.randint(3, (150,), generator=torch.Generator().manual_seed(1))
    first, second = APCERAtBPCER(per_type=True), APCERAtBPCER(per_type=True)
    first.update(score[:60], attack[:60], kind[:60])
    second.update(score[60:], attack[60:], kind[60:])
    first.merge_state(second)
    each = [apcer_at_bpcer(score[keep], attack[keep]) for keep in (~attack | (kind == number) for number in range(3))]
    torch.testing.assert_close(first.compute(), torch.stack(each).amax())


def test_attack_types_must_be_given_where_they_are_read_and_only_there():
    score, attack = scores()
    with pytest.raises(InputError, match="attack_type missing"):
        APCERAtBPCER(per_type=True).update(score, attack)
    with pytest.raises(InputError, match="attack_type given"):
        APCERAtBPCER().update(score, attack, torch.zeros(150, dtype=torch.long))


def test_positive_must_be_known_or_unknown():
    with pytest.raises(InputError, match="positive='both'"):
        inspect.unwrap(aupr)(*scores(), positive="both")
