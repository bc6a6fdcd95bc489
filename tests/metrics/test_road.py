import copy

import pytest
import torch

from lookright.classifier import evaluating
from lookright.metrics import ROAD, ROADLeastRelevant, ROADMostRelevant, road, road_least_relevant, road_most_relevant
from lookright.perturb import NoisyLinear, ZeroFill, noisy_linear

FUNCTIONS = [road, road_most_relevant, road_least_relevant]
QUIET = NoisyLinear(noise=0)


def inputs(batch=3, size=(12, 10), seed=0):
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(batch, 3, *size, generator=generator)
    return image, torch.rand(batch, *size, generator=generator), torch.randint(4, (batch,), generator=generator)


def test_against_a_loop(classifier):
    image, map, target = inputs()
    for x, m, y in zip(image, map, target):
        order = m.flatten().argsort(descending=True)
        means = []
        for ranked in (order, order.flip(0)):
            scores = []
            for tenth in range(1, 10):
                keep = torch.ones(120)
                keep[ranked[: 12 * tenth]] = 0
                keep = keep.view(1, 12, 10)
                view = torch.where(keep[:, None] > 0, x[None], noisy_linear(x[None], keep, noise=0))
                with evaluating(classifier), torch.no_grad():
                    scores.append(classifier(view).logits[0].softmax(0)[y].item())
            means.append(sum(scores) / 9)
        given = (classifier, x[None], m[None], y[None])
        assert road_most_relevant(*given, fill=QUIET).item() == pytest.approx(means[0], abs=1e-4)
        assert road_least_relevant(*given, fill=QUIET).item() == pytest.approx(means[1], abs=1e-4)
        assert road(*given, fill=QUIET).item() == pytest.approx((means[1] - means[0]) / 2, abs=1e-4)


def test_of_a_linear_model_by_hand(linear):
    """Zeros in place of in-painting: with all the weight on the highest pixel, only the orders decide."""
    image = torch.zeros(1, 3, 6, 5)
    image[0, 0, 2, 2] = 1
    model = copy.deepcopy(linear)
    model.weight.data = 50 * image[0]
    map, target = image[:, 0], torch.tensor([0])
    # Gone with the first tenth in one order (p = 1/2), there to the last in the other (p = 1).
    assert road_most_relevant(model, image, map, target, fill=ZeroFill()).item() == pytest.approx(0.5)
    assert road_least_relevant(model, image, map, target, fill=ZeroFill()).item() == pytest.approx(1.0)
    assert road(model, image, map, target, fill=ZeroFill()).item() == pytest.approx(0.25)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_only_the_order_of_the_map_counts(classifier, function):
    image, map, target = inputs()
    value = function(classifier, image, map, target)
    torch.testing.assert_close(function(classifier, image, 3 * map.exp() + 1, target), value, atol=1e-5, rtol=0)
    shuffled = torch.tensor([2, 0, 1])
    quiet = function(classifier, image, map, target, fill=QUIET)
    torch.testing.assert_close(
        function(classifier, image[shuffled], map[shuffled], target[shuffled], fill=QUIET), quiet[shuffled]
    )
    if function is road:
        torch.testing.assert_close(function(classifier, image, -map, target, fill=QUIET), -quiet)


@pytest.mark.parametrize(
    ("metric", "function"),
    [(ROAD, road), (ROADMostRelevant, road_most_relevant), (ROADLeastRelevant, road_least_relevant)],
)
def test_metric_is_the_mean_and_a_nan_is_counted(classifier, metric, function):
    image, map, target = inputs()
    map[1, 0, 0] = torch.nan
    found = metric(fill=QUIET)
    found.update(classifier, image, map, target)
    torch.testing.assert_close(
        found.compute(), function(classifier, image[[0, 2]], map[[0, 2]], target[[0, 2]], fill=QUIET).mean()
    )
    assert found.undefined == 1
    assert len(function(classifier, image[:0], map[:0], target[:0])) == 0


def test_agreement_with_pytorch_grad_cam(classifier):
    """Without noise, and where their percentiles of the map take as many pixels: the images have a multiple of ten."""
    peer = pytest.importorskip("pytorch_grad_cam.metrics.road")
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget

    imputer = peer.NoisyLinearImputer(noise=0)
    image, map, target = inputs(batch=2, size=(20, 15))
    for keep in ((map[:1] < 0.6).float(), (map[:1] < 0.1).float()):
        ours = torch.where(keep[:, None] > 0, image[:1], noisy_linear(image[:1], keep, noise=0, tolerance=1e-6))
        torch.testing.assert_close(ours[0], imputer(image[0], keep[0]), atol=1e-3, rtol=0)
    theirs = []
    for name in ("RemoveMostRelevantFirst", "RemoveLeastRelevantFirst"):
        scores = []
        for percentile in range(10, 100, 10):
            remove = getattr(peer, name)(percentile, imputer)
            metric = peer.PerturbationConfidenceMetric(remove)
            targets = [ClassifierOutputSoftmaxTarget(int(y)) for y in target]
            with evaluating(classifier):
                scores.append(metric(image, map.numpy(), targets, classifier.model, return_diff=False))
        theirs.append(torch.tensor(sum(scores) / 9))
    for function, expected in zip(FUNCTIONS, ((theirs[1] - theirs[0]) / 2, *theirs)):
        torch.testing.assert_close(
            function(classifier, image, map, target, fill=QUIET), expected.float(), atol=2e-4, rtol=0
        )
