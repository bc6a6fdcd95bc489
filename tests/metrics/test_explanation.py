import copy
from functools import partial

import pytest
import torch
from scipy import stats
from torch import nn

from lookright import Classifier, InputError
from lookright.attribution.maps import explain_class
from lookright.classifier import evaluating
from lookright.metrics import (
    MaxSensitivity,
    RandomisationSimilarity,
    max_sensitivity,
    randomisation_similarity,
    randomised_maps,
    rank_correlation,
)

EXPLAIN = partial(explain_class, map="cam")


def inputs(classifier, batch=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(batch, 3, 12, 10, generator=generator)
    target = torch.randint(4, (batch,), generator=generator)
    with evaluating(classifier):
        return image, EXPLAIN(classifier, image, target), target


@pytest.mark.parametrize("map", ["cam", "input_gradient"])
def test_max_sensitivity_against_a_loop(classifier, map):
    image, _, target = inputs(classifier)
    explain = partial(explain_class, map=map)
    with evaluating(classifier):
        own = explain(classifier, image, target)
    generator = torch.Generator().manual_seed(0)
    noises = [0.1 * (2 * torch.rand(image.shape, generator=generator) - 1) for _ in range(4)]
    given = {"explain": explain, "radius": 0.1, "samples": 4}
    found = max_sensitivity(classifier, image, own, target, **given)
    torch.testing.assert_close(max_sensitivity(classifier, image, own, target, chunk_size=5, **given), found)
    for b in range(3):
        changes = []
        with evaluating(classifier):
            for noise in noises:
                other = explain(classifier, image[b : b + 1] + noise[b : b + 1], target[b : b + 1])[0]
                changes.append(((other - own[b]).norm() / own[b].norm()).item())
        assert found[b].item() == pytest.approx(max(changes), rel=1e-4)


def test_max_sensitivity_by_hand(linear):
    """A map of the noise's own size: the image of ones, and δ as large as it is drawn."""
    image, target = torch.ones(1, 3, 6, 5), torch.tensor([0])

    def explain(classifier, image, target):
        return image.mean(1)

    generator = torch.Generator().manual_seed(0)
    noise = 2 * torch.rand(image.shape, generator=generator) - 1
    found = max_sensitivity(linear, image, torch.ones(1, 6, 5), target, explain=explain, radius=0.5, samples=1)
    assert found.item() == pytest.approx((0.5 * noise.mean(1).norm() / 30**0.5).item(), rel=1e-4)
    assert max_sensitivity(linear, image, torch.ones(1, 6, 5), target, explain=explain, radius=0.0).item() == 0
    assert max_sensitivity(linear, image, torch.zeros(1, 6, 5), target, explain=explain).isnan().all()
    with pytest.raises(InputError, match="samples=0"):
        max_sensitivity(linear, image, torch.ones(1, 6, 5), target, explain=explain, samples=0)


def test_agreement_of_max_sensitivity_with_captum(classifier):
    captum = pytest.importorskip("captum.metrics")
    image, map, target = inputs(classifier)
    generator = torch.Generator().manual_seed(0)
    noises = torch.stack([0.02 * (2 * torch.rand(image.shape, generator=generator) - 1) for _ in range(5)], 1)

    def perturb(inputs, radius):
        return inputs + noises.flatten(0, 1)

    def explain(inputs, target):
        # A tuple: of a tensor captum would take the images for inputs.
        return (EXPLAIN(classifier, inputs[0] if isinstance(inputs, tuple) else inputs, target),)

    with evaluating(classifier):
        theirs = captum.sensitivity_max(
            explain,
            image,
            perturb_func=perturb,
            n_perturb_samples=5,
            target=target,
        )
    ours = max_sensitivity(classifier, image, map, target, explain=EXPLAIN, samples=5)
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-4)


def test_ranks_against_scipy():
    generator = torch.Generator().manual_seed(0)
    for levels in (3, 1000):
        first, second = (torch.randint(levels, (4, 5, 6), generator=generator).float() for _ in range(2))
        expected = [stats.spearmanr(a.flatten(), b.flatten()).statistic for a, b in zip(first, second)]
        assert rank_correlation(first, second).tolist() == pytest.approx(expected, abs=1e-5)
        torch.testing.assert_close(rank_correlation((first / 500).exp(), -second), -rank_correlation(first, second))
    assert rank_correlation(torch.ones(1, 5, 6), second[:1]).isnan().all()


def test_layers_forget_one_after_the_other_from_the_head(classifier):
    image, map, target = inputs(classifier)
    state = copy.deepcopy(classifier.state_dict())
    random_state = torch.get_rng_state()
    found = list(randomised_maps(classifier, image, target, explain=EXPLAIN, seed=3))
    assert [name for name, _ in found] == ["fc", "features.1", "features.0"]
    assert torch.equal(torch.get_rng_state(), random_state)
    assert all(torch.equal(value, state[name]) for name, value in classifier.state_dict().items())
    other = copy.deepcopy(classifier)
    with evaluating(other):
        for (name, changed), number in zip(found, range(3)):
            torch.manual_seed(3 + number)
            other.model.get_submodule(name).reset_parameters()
            torch.testing.assert_close(EXPLAIN(other, image, target), changed)
    torch.set_rng_state(random_state)
    expected = torch.stack([rank_correlation(map, changed) for _, changed in found]).mean(0)
    value = randomisation_similarity(classifier, image, map, target, explain=EXPLAIN, seed=3)
    torch.testing.assert_close(value, expected)


def test_a_map_of_the_image_alone_stays_and_one_of_the_classifier_goes(classifier):
    image, map, target = inputs(classifier, batch=8)
    with_image = randomisation_similarity(classifier, image, image.mean(1), target, explain=lambda c, x, t: x.mean(1))
    torch.testing.assert_close(with_image, torch.ones(8))
    assert randomisation_similarity(classifier, image, map, target, explain=EXPLAIN).mean() < 0.7


class Shifted(nn.Module):
    """A layer without `reset_parameters`."""

    def __init__(self):
        super().__init__()
        self.shift = nn.Parameter(torch.arange(6.0).view(6, 1, 1))

    def forward(self, image):
        return image + self.shift


def test_parameters_of_no_known_layer_start_anew_with_their_spread():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 6, 3), Shifted(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4))
    seen = []

    def explain(classifier, image, target):
        seen.append(classifier.model[1].shift.detach().clone())
        return image.mean(1)

    layers = randomised_maps(Classifier(model), torch.rand(1, 3, 8, 8), torch.tensor([0]), explain=explain)
    assert [name for name, _ in layers] == ["4", "1", "0"]
    assert torch.equal(seen[0], model[1].shift)
    assert not torch.equal(seen[1], model[1].shift)
    assert 0.3 < seen[1].std() / model[1].shift.std() < 3


def test_metrics_are_means_and_count_what_is_undefined(classifier):
    image, map, target = inputs(classifier)
    map[1] = 0
    for metric, function in (
        (MaxSensitivity(EXPLAIN, samples=2), partial(max_sensitivity, samples=2)),
        (RandomisationSimilarity(EXPLAIN), randomisation_similarity),
    ):
        metric.update(classifier, image, map, target)
        value = function(classifier, image, map, target, explain=EXPLAIN)
        torch.testing.assert_close(metric.compute(), value[[0, 2]].mean())
        assert metric.undefined == 1
        assert len(function(classifier, image[:0], map[:0], target[:0], explain=EXPLAIN)) == 0
