import pytest
import torch
from scipy import stats

from lookright import InputError
from lookright.classifier import evaluating
from lookright.metrics import Infidelity, SensitivityN, infidelity, sensitivity_n
from lookright.metrics.attribution_error import _squares

FUNCTIONS = [sensitivity_n, infidelity]


def inputs(batch=3, size=(12, 10), seed=0):
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(batch, 3, *size, generator=generator)
    return image, torch.randn(batch, *size, generator=generator), torch.randint(4, (batch,), generator=generator)


def fall(classifier, image, gone, target, finish):
    with evaluating(classifier), torch.no_grad():
        whole, without = (finish(classifier(x[None]).logits[0])[target].item() for x in (image, image * ~gone))
    return whole - without


def test_sensitivity_n_against_a_loop(classifier):
    image, map, target = inputs()
    found = sensitivity_n(classifier, image, map, target, percentages=(25,), samples=8, chunk_size=5)
    place = torch.rand(8, 120, generator=torch.Generator().manual_seed(0)).argsort(1).argsort(1)
    for b in range(3):
        sums, falls = [], []
        for sample in range(8):
            gone = (place[sample] < 30).view(12, 10)
            sums.append(map[b][gone].sum().item())
            falls.append(fall(classifier, image[b], gone, target[b], lambda logits: logits))
        assert found[b].item() == pytest.approx(stats.pearsonr(sums, falls).statistic, abs=1e-4)


def test_infidelity_against_a_loop(classifier):
    image, map, target = inputs()
    found = infidelity(classifier, image, map, target, samples=6, chunk_size=4)
    squares = _squares((12, 10), (0.1, 0.5), 6, torch.Generator().manual_seed(0))
    for b in range(3):
        sums = [map[b][gone].sum().item() for gone in squares]
        falls = [fall(classifier, image[b], gone, target[b], lambda logits: logits.softmax(0)) for gone in squares]
        scale = sum(s * f for s, f in zip(sums, falls)) / sum(s * s for s in sums)
        expected = sum((scale * s - f) ** 2 for s, f in zip(sums, falls)) / 6
        assert found[b].item() == pytest.approx(expected, abs=1e-7)


def test_squares_are_whole_squares_of_the_asked_sides():
    for square in _squares((12, 10), (0.3, 0.6), 50, torch.Generator().manual_seed(0)):
        rows, columns = square.nonzero(as_tuple=True)
        height, width = (int(place.max() - place.min()) + 1 for place in (rows, columns))
        assert 3 <= height == width <= 6
        assert len(rows) == height * width


def test_contributions_of_a_linear_model_are_exact(linear):
    image = torch.randn(4, 3, 6, 5, generator=torch.Generator().manual_seed(1))
    map, target = (linear.weight.detach() * image).sum(1), torch.zeros(4, dtype=torch.long)
    torch.testing.assert_close(sensitivity_n(linear, image, map, target), torch.ones(4))
    torch.testing.assert_close(sensitivity_n(linear, image, -map, target), -torch.ones(4))
    torch.testing.assert_close(infidelity(linear, image, map, target, score="logit"), torch.zeros(4), atol=1e-9, rtol=0)
    assert (infidelity(linear, image, map.flip(0), target, score="logit") > 1e-3).all()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_scale_of_the_map_does_not_count_and_nan_is_undefined(classifier, function):
    image, map, target = inputs()
    value = function(classifier, image, map, target, samples=10)
    torch.testing.assert_close(function(classifier, image, 7 * map, target, samples=10), value, atol=1e-6, rtol=1e-4)
    order = torch.tensor([2, 0, 1])
    torch.testing.assert_close(
        function(classifier, image[order], map[order], target[order], samples=10), value[order], atol=1e-6, rtol=1e-4
    )
    map[1, 0, 0] = torch.nan
    assert function(classifier, image, map, target, samples=10).isnan().tolist() == [False, True, False]
    assert len(function(classifier, image[:0], map[:0], target[:0])) == 0


def test_flat_maps(classifier):
    image, _, target = inputs()
    flat = torch.full((3, 4, 5), 0.1)
    assert sensitivity_n(classifier, image, flat, target, samples=5).isnan().all()
    assert not infidelity(classifier, image, flat, target, samples=5).isnan().any()
    squares = _squares((12, 10), (0.1, 0.5), 5, torch.Generator().manual_seed(0))
    zero = infidelity(classifier, image, 0 * flat, target, samples=5)
    for b in range(3):
        falls = [fall(classifier, image[b], gone, target[b], lambda logits: logits.softmax(0)) for gone in squares]
        assert zero[b].item() == pytest.approx(sum(f * f for f in falls) / 5, abs=1e-7)


@pytest.mark.parametrize(
    ("metric", "function"),
    [(SensitivityN(samples=5), sensitivity_n), (Infidelity(samples=5), infidelity)],
    ids=["sensitivity_n", "infidelity"],
)
def test_metric_is_the_mean_and_the_undefined_are_counted(classifier, metric, function):
    image, map, target = inputs()
    map[2, 3, 3] = torch.nan
    metric.reset()
    metric.update(classifier, image, map, target)
    value = function(classifier, image[:2], map[:2], target[:2], samples=5)
    torch.testing.assert_close(metric.compute(), value.mean())
    assert metric.undefined == 1


def test_what_does_not_fit_is_refused(classifier):
    image, map, target = inputs()
    for function, arguments, message in (
        (sensitivity_n, {"percentages": (100,)}, "percentages"),
        (sensitivity_n, {"samples": 1}, "samples=1; expected 2 or more"),
        (infidelity, {"samples": 0}, "samples=0"),
        (infidelity, {"sides": (0.5, 0.1)}, "sides"),
    ):
        with pytest.raises(InputError, match=message):
            function(classifier, image, map, target, **arguments)


def test_agreement_with_captum(classifier):
    """Its infidelity, given our squares as perturbations; the map's channels share each pixel's value."""
    captum = pytest.importorskip("captum.metrics")
    image, map, target = inputs()
    squares = _squares((12, 10), (0.1, 0.5), 6, torch.Generator().manual_seed(0))

    def remove(inputs, baselines=None):
        gone = squares.repeat(len(image), 1, 1)[:, None].expand_as(inputs).float()
        return gone, inputs * (1 - gone)

    with evaluating(classifier):
        theirs = captum.infidelity(
            lambda x: classifier(x).logits.softmax(1),
            remove,
            image,
            map[:, None].expand_as(image) / 3,
            target=target,
            n_perturb_samples=6,
            normalize=True,
        )
    torch.testing.assert_close(
        infidelity(classifier, image, map, target, samples=6), theirs.detach(), atol=1e-6, rtol=1e-3
    )
