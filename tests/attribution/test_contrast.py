import copy
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lookright import Classifier, InputError, attribution
from lookright.attribution import cam, class_map, common_share, contrast, grad_cam, hires_cam, input_gradient, layer_cam
from lookright.attribution.channels import over_channels

RIVALS = ["mean", "softmax", "similar"]


def naive_weights(logits, target, rivals, gamma=1.0, similar=3):
    """Of one image, with loops over the classes."""
    others = [k for k in range(len(logits)) if k != target]
    if rivals == "mean":
        share = {k: 1 / len(others) for k in others}
    elif rivals == "softmax":
        share = {k: logits[k].exp().item() / sum(logits[j].exp().item() for j in others) for k in others}
    else:
        closest = sorted(others, key=lambda k: abs(logits[k] - logits[target]).item())[:similar]
        share = dict.fromkeys(closest, 1 / len(closest))
    return [1.0 if k == target else -gamma * share.get(k, 0.0) for k in range(len(logits))]


@pytest.mark.parametrize("rivals", RIVALS)
@pytest.mark.parametrize("of", [class_map, grad_cam, hires_cam])
def test_against_the_maps_of_the_single_logits(classifier, image, target, rivals, of):
    """These maps are linear in the score, so that the map of a difference is the difference of maps."""
    output = classifier(image)
    maps = [of(classifier, output, torch.full_like(target, k)) for k in range(4)]
    found = contrast(classifier, output, target, rivals, gamma=0.6, similar=2, of=of)
    for number in range(3):
        weights = naive_weights(output.logits[number].detach(), int(target[number]), rivals, 0.6, 2)
        expected = sum(weight * map[number] for weight, map in zip(weights, maps))
        torch.testing.assert_close(found[number], expected)


@pytest.mark.parametrize("rivals", RIVALS)
@pytest.mark.parametrize("of", [grad_cam, hires_cam, layer_cam])
def test_a_gradient_map_is_that_of_the_difference_of_logits(cut, flattened, image, target, rivals, of):
    found = contrast(flattened, flattened(image), target, rivals, of=of)
    for number in range(3):
        logits, features, gradient = cut(flattened.model, image[number])
        weights = torch.tensor(naive_weights(logits, int(target[number]), rivals), dtype=torch.float64)
        slope = torch.einsum("k,kchw->chw", weights, gradient)
        weight = {
            grad_cam: slope.mean((1, 2), keepdim=True).expand_as(slope),
            hires_cam: slope,
            layer_cam: slope.clamp_min(0),
        }[of]
        torch.testing.assert_close(found[number], (weight * features).sum(0))


@pytest.mark.parametrize("rivals", RIVALS)
@pytest.mark.parametrize("of", [class_map, layer_cam, input_gradient])
def test_a_vector_added_to_all_rows_changes_nothing(classifier, image, target, rivals, of):
    image.requires_grad_()
    output = classifier(image)
    before, raw = contrast(classifier, output, target, rivals, of=of), of(classifier, output, target)
    with torch.no_grad():
        classifier.head.weight += 3 * torch.randn(classifier.head.in_features, dtype=torch.float64)
    moved = classifier(image)
    torch.testing.assert_close(moved.logits.softmax(1), output.logits.softmax(1))
    torch.testing.assert_close(contrast(classifier, moved, target, rivals, of=of), before)
    assert not torch.allclose(of(classifier, moved, target), raw)


@given(u=st.lists(st.floats(-50, 50), min_size=6, max_size=6), rivals=st.sampled_from(RIVALS))
def test_the_free_direction_is_gone_whatever_it_is(u, rivals):
    classifier = copy.deepcopy(POOLED)
    image = torch.randn(2, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    target = torch.tensor([1, 3])
    before = contrast(classifier, classifier(image), target, rivals)
    with torch.no_grad():
        classifier.head.weight += torch.tensor(u, dtype=torch.float64)
    torch.testing.assert_close(contrast(classifier, classifier(image), target, rivals), before, rtol=1e-6, atol=1e-9)


def small(classes: int) -> Classifier:
    torch.manual_seed(0)
    body = (nn.Conv2d(3, 6, 3, 2, 1), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return Classifier(nn.Sequential(*body, nn.Linear(6, classes)).double(), input_size=(3, 8, 8))


POOLED = small(4)


def test_a_share_of_the_common_part_stays_below_gamma_one(pooled, image, target):
    before = contrast(pooled, pooled(image), target, gamma=0.6)
    u = torch.randn(6, dtype=torch.float64)
    with torch.no_grad():
        pooled.head.weight += u
    output = pooled(image)
    common = torch.einsum("k,bkhw->bhw", u, output.features)
    torch.testing.assert_close(contrast(pooled, output, target, gamma=0.6), before + 0.4 * common)


@pytest.mark.parametrize("rivals", RIVALS)
def test_two_logits_have_one_rival(image, rivals):
    classifier, target = small(2), torch.tensor([0, 1, 1])
    output = classifier(image)
    expected = cam(classifier, output, target) - cam(classifier, output, 1 - target)
    torch.testing.assert_close(contrast(classifier, output, target, rivals), expected)


@pytest.mark.parametrize("name", ["class_map", "cam", "grad_cam", "hires_cam", "contrast", "contrast_similar"])
def test_one_logit_speaks_for_label_1_and_against_label_0(image, name):
    classifier = small(1)
    output = classifier(image)
    (slope,) = torch.autograd.grad(output.logits.sum(), output.features, retain_graph=True)
    weight = classifier.head.weight[0] if "cam" not in name or name == "cam" else slope[0, :, 0, 0]
    logit = torch.einsum("k,bkhw->bhw", weight, output.features)
    map = attribution.MAPS[name](classifier, output, torch.tensor([1, 0, 1]))
    torch.testing.assert_close(map, logit * torch.tensor([1, -1, 1])[:, None, None])


def test_the_names_say_the_rivals(vit, image, target):
    output = vit(image)
    for rivals in ("softmax", "similar"):
        named = attribution.MAPS[f"contrast_{rivals}"](vit, output, target)
        assert torch.equal(named, contrast(vit, output, target, rivals))


def test_through_captum(pooled, image, target):
    pytest.importorskip("captum")
    of = partial(attribution.occlusion, window=4, stride=4)
    output = pooled(image)
    maps = torch.stack([of(pooled, output, torch.full_like(target, k)) for k in range(4)])
    expected = torch.stack([
        (4 * maps[target[b], b] - maps[:, b].sum(0)) / 3 for b in range(3)
    ])  # fmt: skip
    torch.testing.assert_close(contrast(pooled, output, target, of=of), expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"gamma": 1.5}, r"gamma=1\.5"),
        ({"similar": 0}, "similar=0"),
    ],
)
def test_arguments_are_checked(pooled, image, target, arguments, message):
    with pytest.raises(InputError, match=message):
        contrast(pooled, pooled(image), target, **arguments)


def test_misspelt_choices_are_refused(pooled, image, target):
    unchecked = contrast.__wrapped__  # The import hook of the tests would be first.
    with pytest.raises(InputError, match="rivals='nearest'; expected one of mean, softmax, similar"):
        unchecked(pooled, pooled(image), target, "nearest")
    with pytest.raises(InputError, match="channels='abs'; expected one of absolute, signed, maximum"):
        over_channels.__wrapped__(image, "abs")


def test_the_common_share(pooled):
    weight = pooled.head.weight.detach()
    rows = [row.tolist() for row in weight]
    mean = [sum(column) / 4 for column in zip(*rows)]
    expected = 4 * sum(m * m for m in mean) / sum(w * w for row in rows for w in row)
    assert common_share(pooled) == pytest.approx(expected)
    with torch.no_grad():
        pooled.head.weight -= weight.mean(0)
    assert common_share(pooled) == pytest.approx(0, abs=1e-12)
    with torch.no_grad():
        pooled.head.weight.copy_(weight[:1].expand(4, -1))
    assert common_share(pooled) == pytest.approx(1)
    assert common_share(small(1)) == 0
