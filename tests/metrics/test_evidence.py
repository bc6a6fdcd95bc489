import pickle

import pytest
import torch

from lookright import InputError
from lookright.classifier import evaluating
from lookright.metrics import (
    EvidenceAccuracy,
    RelativeForegroundSensitivity,
    SceneryAccuracy,
    accuracy_under_noise,
    evidence_accuracy,
    relative_foreground_sensitivity,
    scenery_accuracy,
)
from lookright.perturb import MeanFill, ZeroFill, blend, inpaint


def inputs(batch=6, size=(12, 10), seed=0):
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(batch, 3, *size, generator=generator)
    mask = (torch.rand(batch, *size, generator=generator) > 0.6).float()
    ignore = (torch.rand(batch, *size, generator=generator) > 0.8).float()
    return image, mask, torch.randint(4, (batch,), generator=generator), ignore


def naive_right(classifier, image, label):
    with evaluating(classifier), torch.no_grad():
        return float(classifier(image[None]).logits[0].argmax() == label)


@pytest.mark.parametrize("with_ignore", [False, True])
@pytest.mark.parametrize("function", [evidence_accuracy, scenery_accuracy])
def test_one_part_of_the_image_against_a_loop(classifier, function, with_ignore):
    image, mask, label, ignore = inputs()
    ignore = ignore if with_ignore else None
    expected = []
    for b in range(len(image)):
        keep = mask[b] if function is evidence_accuracy else 1 - mask[b]
        if ignore is not None:
            keep = keep * (1 - ignore[b])
        view = blend(image[b, None], inpaint(image[b, None], keep[None]), keep[None])[0]
        expected.append(naive_right(classifier, view, label[b]))
    found = function(classifier, image, mask, label, ignore=ignore)
    assert found.tolist() == expected


def test_what_is_away_cannot_decide(linear):
    """Two classes, decided by the sign of Σ w·x: the evidence alone and the scenery alone say what their sums say."""
    image = torch.randn(4, 3, 6, 5, generator=torch.Generator().manual_seed(3))
    mask = torch.zeros(4, 6, 5)
    mask[:, :3] = 1
    products = (image * linear.weight).sum(1)
    label = (products[:, :3].sum((1, 2)) <= 0).long()
    assert evidence_accuracy(linear, image, mask, label, fill=ZeroFill()).tolist() == [1, 1, 1, 1]
    expected = ((products[:, 3:].sum((1, 2)) <= 0).long() == label).float()
    torch.testing.assert_close(scenery_accuracy(linear, image, mask, label, fill=ZeroFill()), expected)


def test_without_pixels_it_is_undefined(classifier):
    image, mask, label, _ = inputs(batch=3)
    mask[0], mask[1] = 0, 1
    generator = torch.Generator().manual_seed(0)
    assert evidence_accuracy(classifier, image, mask, label).isnan().tolist() == [True, False, False]
    assert scenery_accuracy(classifier, image, mask, label, fill=MeanFill()).isnan().tolist() == [False, True, False]
    noisy = accuracy_under_noise(classifier, image, mask, label, generator=generator)
    assert noisy.isnan().tolist() == [[True, True], [True, True], [False, False]]
    assert evidence_accuracy(classifier, image[:0], mask[:0], label[:0]).shape == (0,)


def test_noise_against_a_loop(classifier):
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)
    pixels, mask, label, ignore = inputs()
    image = (pixels - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    noise = 0.25 * torch.randn(image.shape, generator=torch.Generator().manual_seed(5))
    expected = torch.empty(len(image), 2)
    for b in range(len(image)):
        for column, part in enumerate((mask[b] * (1 - ignore[b]), (1 - mask[b]) * (1 - ignore[b]))):
            noisy = (pixels[b] + noise[b] * part).clip(0, 1)
            channels = [(noisy[c] - mean[c]) / std[c] for c in range(3)]
            expected[b, column] = naive_right(classifier, torch.stack(channels), label[b])
    found = accuracy_under_noise(
        classifier,
        image,
        mask,
        label,
        generator=torch.Generator().manual_seed(5),
        ignore=ignore,
        mean=mean,
        std=std,
    )
    assert found.tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("evidence", "scenery", "expected"),
    [(0.2, 0.8, 0.6), (0.8, 0.2, -0.6), (0.5, 0.5, 0), (0, 1, 1), (0, 0.2, 1), (0.8, 1, 1)],
)
def test_relative_foreground_sensitivity_of_two_accuracies(evidence, scenery, expected):
    right = torch.stack([(torch.arange(10) < 10 * share).float() for share in (evidence, scenery)], 1)
    right = torch.cat([right, torch.full((3, 2), torch.nan)])
    assert relative_foreground_sensitivity(right).item() == pytest.approx(expected, abs=1e-6)
    # As the authors compute it.
    mean = (evidence + scenery) / 2
    assert expected == pytest.approx((scenery - evidence) / (2 * min(mean, 1 - mean)))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_all_right_or_all_wrong_leaves_no_room(value):
    assert relative_foreground_sensitivity(torch.full((4, 2), value)).isnan()


def test_batches_add_up_to_the_whole(classifier):
    image, mask, label, ignore = inputs(batch=8)
    mask[3] = 0
    metric = RelativeForegroundSensitivity(sigma=1.0)
    generator, whole = torch.Generator().manual_seed(1), []
    for part in (slice(0, 5), slice(5, 8)):
        metric.update(classifier, image[part], mask[part], label[part], generator, ignore[part])
    metric = pickle.loads(pickle.dumps(metric))
    generator = torch.Generator().manual_seed(1)
    for part in (slice(0, 5), slice(5, 8)):
        given = (image[part], mask[part], label[part])
        whole.append(accuracy_under_noise(classifier, *given, generator=generator, ignore=ignore[part], sigma=1.0))
    torch.testing.assert_close(metric.compute(), relative_foreground_sensitivity(torch.cat(whole)), equal_nan=True)
    assert metric.count == 7


@pytest.mark.parametrize(
    ("metric", "function"), [(EvidenceAccuracy, evidence_accuracy), (SceneryAccuracy, scenery_accuracy)]
)
def test_accuracy_of_one_part_over_batches(classifier, metric, function):
    image, mask, label, ignore = inputs(batch=8)
    mask[3], mask[4] = 0, 1
    found = pickle.loads(pickle.dumps(metric(fill=ZeroFill())))
    for part in (slice(0, 5), slice(5, 8)):
        found.update(classifier, image[part], mask[part], label[part], ignore=ignore[part])
    value = function(classifier, image, mask, label, ignore=ignore, fill=ZeroFill())
    torch.testing.assert_close(found.compute(), value.nanmean())
    assert found.undefined == value.isnan().sum() == 1


def test_bad_arguments_are_refused(classifier):
    image, mask, label, _ = inputs(batch=2)
    with pytest.raises(InputError, match="mask has values from 0 to 255"):
        evidence_accuracy(classifier, image, 255 * mask, label)
    with pytest.raises(InputError, match="sigma=-1"):
        accuracy_under_noise(classifier, image, mask, label, generator=torch.Generator(), sigma=-1.0)
