import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lookright import InputError
from lookright.metrics import Deletion, Insertion, auc, deletion, insertion
from lookright.metrics.adaptive import bisect, interpolate, monotone_bound
from lookright.perturb import ZeroFill

CPU = torch.device("cpu")


def curves(kind, points):
    x = torch.linspace(0, 1, points)
    if kind == "steps":
        return torch.stack([(x > place).float() for place in (0.1, 0.45, 0.8)])
    if kind == "slopes":
        return torch.stack([torch.sigmoid(12 * (x - place)) for place in (0.05, 0.3, 0.9)])
    return torch.stack([(-x * rate).exp() for rate in (0.5, 5, 30)])


def follow(whole, budget):
    asked = []

    def score(index, point):
        asked.extend(zip(index.tolist(), point.tolist()))
        return whole[index, point]

    computed, values = bisect(score, *whole.shape, budget, CPU)
    return asked, computed, interpolate(values, computed)


@pytest.mark.parametrize("points", [2, 3, 4, 6, 17, 29])
@pytest.mark.parametrize("kind", ["steps", "slopes", "decays"])
@pytest.mark.parametrize("budget", [0.0, 0.3, 0.4, 0.7, 1.0])
def test_no_point_twice_and_no_more_than_the_budget(kind, points, budget):
    whole = curves(kind, points)
    asked, computed, curve = follow(whole, budget)
    assert len(asked) == len(set(asked)) == int(computed.sum()) <= max(budget * whole.numel(), 2 * len(whole))
    assert computed[:, [0, -1]].all()
    assert torch.equal(curve[computed], whole[computed])
    if budget == 1:
        assert torch.equal(curve, whole)


@pytest.mark.parametrize("kind", ["steps", "slopes", "decays"])
def test_areas_are_close_and_within_the_bound(kind):
    whole = curves(kind, 33)
    _, computed, curve = follow(whole, 0.4)
    error = (auc(curve) - auc(whole)).abs()
    assert (error <= monotone_bound(curve, computed) + 1e-6).all()
    assert error.mean() < 0.005
    evenly = whole[:, ::4]
    assert error.mean() < 0.5 * (auc(evenly) - auc(whole)).abs().mean()


@given(st.lists(st.floats(0, 1, width=32), min_size=4, max_size=20), st.floats(0, 1), st.booleans())
def test_the_bound_holds_for_whatever_is_monotone(steps, budget, falls):
    whole = torch.tensor(steps).cumsum(0)[None]
    whole = -whole if falls else whole
    _, computed, curve = follow(whole, budget)
    assert (auc(curve) - auc(whole)).abs() <= monotone_bound(curve, computed) + 1e-5


def test_the_bound_is_attained_by_a_jump_behind_the_first_point():
    whole = torch.tensor([[0.0, 1.0, 1.0, 1.0, 1.0]])
    computed = torch.tensor([[True, False, False, False, True]])
    straight = interpolate(whole * computed, computed)
    torch.testing.assert_close((auc(whole) - auc(straight)).abs(), monotone_bound(straight, computed))


def test_a_budget_spends_forwards_where_the_curves_bend(classifier):
    generator = torch.Generator().manual_seed(0)
    image, map = torch.randn(5, 3, 12, 10, generator=generator), torch.randn(5, 4, 5, generator=generator)
    target = torch.randint(4, (5,), generator=generator)
    seen = []
    classifier.model.register_forward_pre_hook(lambda model, arguments: seen.append(len(arguments[0])))
    for function, metric in ((insertion, Insertion), (deletion, Deletion)):
        whole = function(classifier, image, map, target, fill=ZeroFill())
        seen.clear()
        curve = function(classifier, image, map, target, fill=ZeroFill(), budget=0.4, chunk_size=7)
        assert 5 * 5 < sum(seen) <= 0.4 * 5 * 29
        assert max(seen) <= 7
        assert (auc(curve) - auc(whole)).abs().mean() < 0.005
        found = metric(fill=ZeroFill(), budget=0.4)
        found.update(classifier, image, map, target)
        torch.testing.assert_close(found.compute(), auc(curve).mean())
        assert 0 < found.bound < 0.1
        exact = metric()
        exact.update(classifier, image, map, target)
        assert exact.bound == 0


def test_a_map_with_a_nan_has_no_curve_whatever_the_budget(classifier):
    image, map, target = torch.randn(3, 3, 12, 10), torch.randn(3, 4, 5), torch.tensor([0, 1, 2])
    map[1, 0, 0] = torch.nan
    metric = Deletion(budget=0.4)
    metric.update(classifier, image, map, target)
    assert (metric.defined, metric.undefined) == (2, 1)
    assert not metric.bound.isnan()
    with pytest.raises(InputError, match="budget=1.5; expected a number from 0 to 1"):
        deletion(classifier, image, map, target, budget=1.5)
