"""What every method does with its arguments, its task and its batch."""

import inspect
import math

import pytest
import torch

from lookright import ADL, ALIGN, CAMAL, CARE, CYBORG, DRE, GRADIA, SAGE, SGT, Classifier, InputError
from lookright.attribution import class_map, grad_cam
from lookright.methods import Method
from lookright.methods.camal import inside_outside
from lookright.run_directory.settings_file import class_names
from lookright.tasks import binary, multi_label

COMPARING = [CAMAL, CARE, CYBORG, GRADIA, DRE, lambda **arguments: ALIGN(masks="given", warmup=0, **arguments)]


@pytest.mark.parametrize(
    ("method", "argument", "value"),
    [
        (CAMAL, "weight", -1.0),
        (CAMAL, "weight", math.nan),
        (CAMAL, "threshold", 1.5),
        (CYBORG, "alpha", 5.0),
        (CARE, "tau", math.inf),
        (GRADIA, "weight", -1.0),
        (DRE, "mixture_weight", -0.1),
        (SAGE, "margin", -1.0),
        (SGT, "weight", math.inf),
        (ADL, "keep", 2.0),
        (ALIGN, "sparsity", -3.0),
        (ALIGN, "warmup", -1),
    ],
)
def test_arguments_out_of_range_are_refused(method, argument, value):
    with pytest.raises(InputError, match=f"{argument}={value}; expected a number from"):
        method(**{argument: value})


def test_a_method_shows_its_arguments():
    assert repr(CAMAL(weight=2.0)).startswith("CAMAL(weight=2.0, mode='mean', relu=True, minmax=True, threshold=None")
    assert "ADL(keep=0.25, threshold=0.9, seed=0)" in repr(ADL() + CAMAL())


def test_bases_are_no_methods_to_choose():
    names = class_names(Method)
    assert {"CAMAL", "SAGE", "ERM"} <= set(names)
    assert not {"MapGuidance", "Stochastic", "Sum"} & set(names)
    assert Method.is_base
    assert not type("Mine", (CAMAL,), {}).is_base


@pytest.mark.parametrize("make", COMPARING)
@pytest.mark.parametrize("map", ["grad_cam", grad_cam, "input_gradient", "contrast"])
def test_a_method_compares_the_map_it_is_told(classifier, batch, make, map):
    classifier.eval()
    usual, other = (
        {name: term.item() for name, term in method.eval()(classifier, batch).terms.items() if name != "task"}
        for method in (make(), make(map=map))
    )
    assert ("image_gradient" in make(map=map).needs) == (map == "input_gradient")
    assert usual.keys() == other.keys()
    if map in ("grad_cam", grad_cam):  # with average pooling and a linear layer, the class map up to its scale
        assert other == pytest.approx(usual)
    else:
        assert other != pytest.approx(usual)


def test_the_gradient_of_an_input_gradients_comparison_equals_finite_differences(classifier, batch):
    method, weight = CAMAL(map="input_gradient"), classifier.model.features[0].weight
    classifier.eval()
    method(classifier, batch).terms["camal"].backward()
    for position in [(0, 0, 0, 0), (3, 2, 1, 1), (5, 1, 2, 0)]:
        values = []
        for sign in (1, -2):
            with torch.no_grad():
                weight[position] += sign * 1e-6
            values.append(method(classifier, batch).terms["camal"].item())
        with torch.no_grad():
            weight[position] += 1e-6
        slope = (values[0] - values[1]) / 2e-6
        assert weight.grad[position].item() == pytest.approx(slope, rel=1e-3, abs=1e-6)


def test_maps_without_a_gradient_and_unknown_ones_are_refused():
    with pytest.raises(InputError, match="no gradient flows"):
        CAMAL(map="occlusion")
    with pytest.raises(InputError, match="No map 'grad_cm'"):
        CAMAL(map="grad_cm")
    with pytest.raises(InputError, match="mode='men'"):
        inspect.unwrap(inside_outside)(torch.ones(1, 2, 2), torch.ones(1, 2, 2), torch.ones(1, 2, 2), mode="men")


def one_logit():
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 6, 3, 2, 1),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(6, 1),
    )
    return Classifier(model.double())


@pytest.mark.parametrize("method", [CAMAL(), CYBORG(), CARE(), GRADIA(reasonable=2.0)], ids=repr)
def test_one_logit_explains_its_two_classes(batch, method):
    """The same loss as a softmax over (0, z), whose maps are those of the one logit, with both signs."""
    single, label = one_logit(), batch["label"] % 2
    terms = method(single, batch | {"label": label}, task=binary).terms
    head = single.model[-1]
    map = torch.einsum("k,bkhw->bhw", head.weight[0], single(batch["image"]).features)
    map = torch.where(label[:, None, None] == 1, map, -map)
    name = type(method).__name__.lower()
    fake = type(method)(**({"reasonable": 2.0} if name == "gradia" else {}), map=lambda *_: map)
    assert terms[name].item() == pytest.approx(fake(single, batch | {"label": label}, task=binary).terms[name].item())
    with pytest.raises(InputError, match="one logit"):
        method(single, batch | {"label": label})


@pytest.mark.parametrize("explain", ["label", "predicted"])
def test_of_several_labels_the_mean_of_their_maps_is_guided(classifier, batch, explain):
    several = torch.tensor([[1, 0, 1, 0], [0, 1, 1, 1], [0, 0, 0, 1], [1, 1, 1, 1], [0, 0, 0, 0]])
    output = classifier.eval()(batch["image"])
    chosen = several if explain == "label" else output.logits > 0
    maps = [class_map(classifier, output, torch.full((5,), k)) for k in range(4)]
    mean = torch.zeros(5, 4, 4, dtype=torch.float64)
    for b in range(5):
        for k in range(4):
            if chosen[b, k]:
                mean[b] += maps[k][b].detach() / chosen[b].sum()
    terms = CAMAL(explain=explain)(classifier, batch | {"label": several}, task=multi_label).terms
    expected = CAMAL(map=lambda *_: mean)(classifier, batch).terms["camal"]
    assert terms["camal"].item() == pytest.approx(expected.item())


@pytest.mark.parametrize("method", [SAGE(), SGT(), DRE(), ALIGN(masks="given", warmup=0), GRADIA()], ids=repr)
def test_what_a_method_cannot_do_with_a_task_is_said(classifier, batch, method):
    several = torch.ones(5, 4)
    with pytest.raises(InputError, match=r"Labels have shape|labels have shape"):
        method.eval()(classifier, batch | {"label": several}, task=multi_label)
    if not isinstance(method, GRADIA):
        with pytest.raises(InputError, match="one logit"):
            method(one_logit(), batch | {"label": batch["label"] % 2}, task=binary)


@pytest.mark.parametrize("method", [CAMAL(), SAGE(), CAMAL() + SAGE(), ALIGN(masks="given")], ids=repr)
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"mask": torch.full((5, 8, 8), 255, dtype=torch.uint8)}, "mask has values such as 255"),
        ({"mask": torch.full((5, 8, 8), 3)}, "such as 3"),
        ({"mask": torch.full((5, 8, 8), -1.0)}, "such as -1"),
        ({"mask": torch.zeros(5, 1, 8, 8)}, r"expected \(5, H, W\), as mask.squeeze"),
        ({"mask": torch.zeros(4, 8, 8)}, r"\(4, 8, 8\)"),
        ({"ignore": torch.zeros(5, 4, 4)}, "ignore has shape"),
        ({"mask_weight": torch.ones(5, 1)}, r"\(5, 1\); expected \(5,\)"),
        ({"label": torch.zeros(1, dtype=torch.long)}, "1 labels for 5 images"),
        ({"image": torch.zeros(3, 8, 8)}, r"expected \(B, C, H, W\)"),
    ],
)
def test_a_batch_that_is_none_is_refused_at_the_door(classifier, batch, method, wrong, message):
    with pytest.raises(InputError, match=message):
        method.eval()(classifier, batch | wrong)


def test_masks_may_be_anything_where_they_do_not_count(classifier, batch):
    batch["mask"][1] = 255  # weight 0
    batch["ignore"] = torch.zeros(5, 8, 8, dtype=torch.float64)
    batch["ignore"][:, 0] = 1
    batch["mask"][:, 0] = 255
    assert CAMAL()(classifier, batch).total.isfinite()
