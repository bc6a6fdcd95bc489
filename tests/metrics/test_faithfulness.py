import inspect
import pickle

import pytest
import torch
import torch.nn.functional as F
import torchvision.transforms.v2.functional as transforms

from lookright import Classifier, InputError, Output
from lookright.classifier import evaluating
from lookright.metrics import (
    Comprehensiveness,
    Deletion,
    Insertion,
    Sufficiency,
    auc,
    comprehensiveness,
    deletion,
    insertion,
    sufficiency,
)
from lookright.metrics.faithfulness import RISE_BLUR
from lookright.perturb import Blur, Inpaint, MeanFill, Noise, ZeroFill, blend, inpaint

FUNCTIONS = [insertion, deletion, sufficiency, comprehensiveness]


def inputs(batch=5, size=(12, 10), grid=(4, 5), seed=0):
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(batch, 3, *size, generator=generator)
    map = torch.randn(batch, *grid, generator=generator)
    return image, map, torch.randint(4, (batch,), generator=generator)


def naive_probability(classifier, image, map, target, count, keep_top, filled):
    """One image, one number of top pixels. The map must have no ties."""
    order = sorted(range(map.numel()), key=lambda pixel: -map.flatten()[pixel])
    mixed = filled.clone() if keep_top else image.clone()
    for pixel in order[:count]:
        row, column = divmod(pixel, map.shape[1])
        mixed[:, row, column] = (image if keep_top else filled)[:, row, column]
    with evaluating(classifier), torch.no_grad():
        return classifier(mixed[None]).logits[0].softmax(0)[target].item()


@pytest.mark.parametrize("fill", [ZeroFill(), MeanFill(), Blur(sigma=0.2)], ids=str)
@pytest.mark.parametrize(("function", "keep_top"), [(insertion, True), (deletion, False)])
def test_curve_against_a_loop(classifier, function, keep_top, fill):
    image, map, target = inputs(batch=2, grid=(12, 10))
    filled = fill(image)
    expected = [
        [naive_probability(classifier, *images, round(step * 120 / 7), keep_top, other) for step in range(8)]
        for *images, other in zip(image, map, target, filled, strict=True)
    ]
    for chunk_size in (3, 1000):
        curve = function(classifier, image, map, target, steps=7, fill=fill, chunk_size=chunk_size)
        torch.testing.assert_close(curve, torch.tensor(expected))


@pytest.mark.parametrize("fill", [ZeroFill(), MeanFill(), Blur(sigma=0.2)], ids=str)
@pytest.mark.parametrize(("function", "keep_top"), [(sufficiency, True), (comprehensiveness, False)])
def test_drop_against_a_loop(classifier, function, keep_top, fill):
    image, map, target = inputs(batch=2, grid=(12, 10))
    expected = []
    for x, m, y, filled in zip(image, map, target, fill(image), strict=True):
        whole = naive_probability(classifier, x, m, y, 0, False, filled)
        drops = [
            whole - naive_probability(classifier, x, m, y, round(q * 1.2), keep_top, filled) for q in (1, 5, 10, 20, 50)
        ]
        expected.append(sum(drops) / 5)
    value = function(classifier, image, map, target, fill=fill, chunk_size=4)
    torch.testing.assert_close(value, torch.tensor(expected), atol=1e-6, rtol=1e-4)


def test_linear_model_in_closed_form(linear):
    """The map of contributions sorts them, so that the logit is their running sum."""
    image = torch.randn(4, 3, 6, 5, generator=torch.Generator().manual_seed(1))
    contribution = (linear.weight.detach() * image).sum(1)
    running = F.pad(contribution.flatten(1).sort(1, descending=True).values.cumsum(1), (1, 0))
    target = torch.zeros(4, dtype=torch.long)
    curve = insertion(linear, image, contribution, target, steps=30, fill=ZeroFill())
    torch.testing.assert_close(curve, running.sigmoid())
    curve = deletion(linear, image, contribution, target, steps=30)
    torch.testing.assert_close(curve, (running[:, -1:] - running).sigmoid())
    curve = deletion(linear, image, contribution, target + 1, steps=30)
    torch.testing.assert_close(curve, (running - running[:, -1:]).sigmoid())


def test_the_map_of_contributions_beats_its_negative(linear):
    image = torch.randn(4, 3, 6, 5, generator=torch.Generator().manual_seed(1))
    map, target = (linear.weight.detach() * image).sum(1), torch.zeros(4, dtype=torch.long)
    for metric in (Insertion(steps=10, fill=ZeroFill()), Deletion(steps=10), Sufficiency(), Comprehensiveness()):
        score = []
        for signed in (map, -map):
            metric.reset()
            metric.update(linear, image, signed, target)
            score.append(metric.compute())
        assert (score[0] > score[1]) == metric.higher_is_better


def test_coarse_map_is_resized_bilinearly(classifier):
    image, map, target = inputs()
    fine = F.interpolate(map[:, None].double(), (12, 10), mode="bilinear")[:, 0].float()
    for function in FUNCTIONS:
        torch.testing.assert_close(
            function(classifier, image, map, target), function(classifier, image, fine, target), atol=0, rtol=0
        )


def test_insertion_starts_from_the_blur_of_rise(classifier):
    image = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(RISE_BLUR(image), transforms.gaussian_blur(image, [11, 11], [5.0, 5.0]))
    target = torch.tensor([2])
    curve = insertion(classifier, image, torch.rand(1, 7, 7), target, steps=1)
    with evaluating(classifier):
        ends = [classifier(x).logits.softmax(1)[0, 2].item() for x in (RISE_BLUR(image), image)]
    assert curve[0].tolist() == pytest.approx(ends, abs=1e-6)


def test_inpainting_follows_what_is_left_of_the_image(classifier):
    image, map, target = inputs(batch=2, grid=(12, 10))
    curve = deletion(classifier, image, map, target, steps=4, fill=Inpaint(), chunk_size=3)
    rank = map.flatten(1).argsort(1, descending=True).argsort(1).view_as(map)
    for step in range(5):
        keep = (rank >= 30 * step).float()
        with evaluating(classifier), torch.no_grad():
            logits = classifier(blend(image, inpaint(image, keep), keep)).logits
        torch.testing.assert_close(curve[:, step], logits.softmax(1).gather(1, target[:, None])[:, 0])


def test_random_fill_follows_its_generator(classifier):
    image, map, target = inputs()
    arguments = (classifier, image, map, target)
    first, again = (deletion(*arguments, fill=Noise(), generator=torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, again)
    with pytest.raises(InputError, match="generator"):
        deletion(*arguments, fill=Noise())


def test_auc_is_the_trapezoidal_rule():
    curve = torch.rand(3, 9, generator=torch.Generator().manual_seed(0))
    for row, area in zip(curve.tolist(), auc(curve).tolist(), strict=True):
        assert area == pytest.approx((sum(row) - row[0] / 2 - row[-1] / 2) / 8)


def test_ties_do_not_follow_the_raster(linear):
    """Of a flat map, half of the pixels is not the upper half, and the order is the same each time."""
    weight = torch.zeros(1, 20, 20)
    weight[:, :10] = 1 / 200
    model = type(linear)(weight)
    image, target = torch.ones(1, 1, 20, 20), torch.tensor([0])
    for level in (0.0, 0.1):
        flat = torch.full((1, 3, 3), level)
        curve = deletion(model, image, flat, target, steps=2)
        upper_share_left = curve[0, 1].logit().item()
        assert 0.35 < upper_share_left < 0.65
        assert torch.equal(curve, deletion(model, image, flat, target, steps=2))


def test_nan_map_is_undefined_and_counted(classifier):
    image, map, target = inputs()
    whole = {function: function(classifier, image, map, target) for function in FUNCTIONS}
    map[1, 0, 0] = torch.nan
    for function in FUNCTIONS:
        value = function(classifier, image, map, target)
        assert value[1].isnan().all()
        torch.testing.assert_close(value[[0, 2, 3, 4]], whole[function][[0, 2, 3, 4]])
    metric = Insertion()
    metric.update(classifier, image, map, target)
    assert (metric.defined, metric.undefined) == (4, 1)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_model_is_left_untouched(classifier, function):
    classifier.train()
    classifier.model.features[1].eval()
    state = {name: value.clone() for name, value in classifier.state_dict().items()}
    modes = [module.training for module in classifier.modules()]
    hooks = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in classifier.modules()]
    generator_state = torch.get_rng_state()
    image, map, target = inputs()
    value = function(classifier, image, map.requires_grad_(), target)
    assert not value.requires_grad
    assert [module.training for module in classifier.modules()] == modes
    assert [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in classifier.modules()] == hooks
    assert all(torch.equal(value, state[name]) for name, value in classifier.state_dict().items())
    assert all(parameter.grad is None for parameter in classifier.parameters())
    assert torch.equal(torch.get_rng_state(), generator_state)
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_no_image_no_value(classifier, function):
    def refuse(model, arguments):
        assert len(arguments[0]), "some models cannot run on no image"

    classifier.model.register_forward_pre_hook(refuse)
    image, map, target = inputs()
    assert len(function(classifier, image[:0], map[:0], target[:0])) == 0


@pytest.mark.parametrize("function", FUNCTIONS)
def test_shapes_that_do_not_fit_are_refused(classifier, function):
    image, map, target = inputs()
    with pytest.raises(InputError, match=r"map has shape \(4, 4, 5\) and image \(5, 3, 12, 10\)"):
        inspect.unwrap(function)(classifier, image, map[:4], target)


@pytest.mark.parametrize(
    ("metric", "values"),
    [
        (Insertion(steps=4), lambda *arguments: auc(insertion(*arguments, steps=4))),
        (Deletion(steps=4, fill=MeanFill()), lambda *arguments: auc(deletion(*arguments, steps=4, fill=MeanFill()))),
        (Sufficiency(fill=MeanFill()), lambda *arguments: sufficiency(*arguments, fill=MeanFill())),
        (Comprehensiveness(percentages=(10,)), lambda *arguments: comprehensiveness(*arguments, percentages=(10,))),
    ],
    ids=["insertion", "deletion", "sufficiency", "comprehensiveness"],
)
def test_metric_is_the_mean_and_parts_join(classifier, metric, values):
    image, map, target = inputs()
    expected = values(classifier, image, map, target).mean()
    metric.reset()
    metric.update(classifier, image, map, target)
    torch.testing.assert_close(metric.compute(), expected)
    first, second = pickle.loads(pickle.dumps(metric)), pickle.loads(pickle.dumps(metric))
    for part, rows in ((first, slice(2)), (second, slice(2, 5))):
        part.reset()
        part.update(classifier, image[rows], map[rows], target[rows])
    first.merge_state(second)
    torch.testing.assert_close(first.compute(), expected)


def test_mean_curve(classifier):
    image, map, target = inputs()
    metric = Deletion(steps=4)
    metric.update(classifier, image[:2], map[:2], target[:2])
    metric.update(classifier, image[2:], map[2:], target[2:])
    torch.testing.assert_close(metric.curve, deletion(classifier, image, map, target, steps=4).mean(0))


def test_faint_tails_of_a_map_have_an_order(classifier):
    """Different values are different, however small beside the largest."""
    image, _, target = inputs(batch=2, size=(16, 16))
    row = torch.arange(16) - 7.3
    distance = (row[:, None] + 0.1) ** 2 + (row * 1.001) ** 2
    faint = torch.exp(-distance.double() / 2).float().expand(2, 16, 16)
    assert faint.min() / faint.max() < 1e-20
    for function in FUNCTIONS:
        torch.testing.assert_close(
            function(classifier, image, faint, target), function(classifier, image, -distance.expand(2, 16, 16), target)
        )


class OneLogit(Classifier):
    """Logit w·x."""

    def __init__(self, weight):
        torch.nn.Module.__init__(self)
        self.weight = torch.nn.Parameter(weight)

    def forward(self, image):
        logit = (image * self.weight).sum((1, 2, 3))[:, None]
        return Output(logit, image.flatten(1), image)


@pytest.mark.parametrize(("score", "finish"), [("probability", torch.sigmoid), ("logit", lambda logit: logit)])
def test_one_logit_speaks_for_label_1_and_against_label_0(linear, score, finish):
    model = OneLogit(linear.weight.detach())
    image = torch.randn(4, 3, 6, 5, generator=torch.Generator().manual_seed(1))
    map = (linear.weight.detach() * image).sum(1)
    removed = map.flatten(1).sort(1, descending=True).values.cumsum(1)
    logit = map.sum((1, 2))[:, None] - F.pad(removed, (1, 0))
    target = torch.tensor([1, 0, 1, 0])
    curve = deletion(model, image, map, target, steps=30, score=score)
    torch.testing.assert_close(curve, finish(torch.where(target[:, None] == 1, logit, -logit)))


def test_labels_that_do_not_exclude_each_other_are_followed_by_their_own_sigmoid(classifier):
    image, map, target = inputs()
    logit = insertion(classifier, image, map, target, steps=4, score="logit")
    torch.testing.assert_close(insertion(classifier, image, map, target, steps=4, score="sigmoid"), logit.sigmoid())
    with evaluating(classifier), torch.no_grad():
        torch.testing.assert_close(logit[:, -1], classifier(image).logits.gather(1, target[:, None])[:, 0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": torch.tensor([1])}, r"target \(1,\)"),
        ({"target": torch.tensor([0, 1, 2, 3, 4])}, "target reaches from 0 to 4: expected 0 to 3"),
        ({"steps": 0}, "steps=0; expected 1 or more"),
        ({"chunk_size": 0}, "chunk_size=0; expected 1 or more"),
    ],
)
def test_what_cannot_be_followed_is_refused(classifier, change, message):
    image, map, target = inputs()
    arguments = {"classifier": classifier, "image": image, "map": map, "target": target} | change
    with pytest.raises(InputError, match=message):
        inspect.unwrap(deletion)(**arguments)
    with pytest.raises(InputError, match="percentages"):
        sufficiency(classifier, image, map, target, percentages=(0,))


def test_agreement_with_quantus(classifier):
    """Its pixel flipping is deletion, the first point left out; 24 values of three channels are eight pixels."""
    quantus = pytest.importorskip("quantus")
    image, map, target = inputs(batch=3, grid=(12, 10))
    flipping = quantus.PixelFlipping(features_in_step=24, perturb_baseline=0.0, normalise=False, disable_warnings=True)
    arrays = {"x_batch": image.numpy(), "y_batch": target.numpy(), "a_batch": map[:, None].numpy()}
    with evaluating(classifier):
        theirs = torch.tensor(flipping(model=classifier.model, device="cpu", softmax=True, **arrays))
    ours = deletion(classifier, image, map, target, steps=15)
    torch.testing.assert_close(ours[:, 1:], theirs.float(), atol=1e-5, rtol=0)
