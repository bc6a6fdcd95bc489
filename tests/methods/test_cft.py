import copy
import math

import pytest
import timm
import torch
from torch.nn import functional

from lookright import CAMAL, CFT, HAICS, Classifier, InputError
from lookright.attribution import attention_gradient
from lookright.attribution.attention import token_attention
from lookright.tasks import multi_label


@pytest.fixture(scope="module")
def transformer():
    torch.manual_seed(0)
    size = {"img_size": 8, "patch_size": 2, "embed_dim": 12, "num_heads": 2, "depth": 2, "num_classes": 4}
    return Classifier(timm.create_model("vit_tiny_patch16_224", **size).double().eval())


def both_sides(map, mask):
    """Σ over the cells of ½ · −M log Φ + 1.2 · −(1 − M) log(1 − Φ), on average."""
    low, high, total = float(map.min()), float(map.max()), 0.0
    for y in range(4):
        for x in range(4):
            relevance = 0.05 + 0.9 * (float(map[y, x]) - low) / (high - low)
            evidence = float(mask[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].mean())
            total -= 0.5 * evidence * math.log(relevance) + 1.2 * (1 - evidence) * math.log(1 - relevance)
    return total / 16


def test_equals_a_loop_over_cells(transformer, batch):
    output = transformer(batch["image"].clone().requires_grad_())
    maps = attention_gradient(transformer, output, batch["label"]).detach()
    weight = batch["mask_weight"].tolist()
    wanted = sum(weight[row] * both_sides(maps[row], batch["mask"][row]) for row in (0, 2, 3, 4)) / 4
    terms = CFT()(transformer, batch).terms
    assert terms["cft"].item() == pytest.approx(0.8 * wanted)
    assert terms["task"].item() == pytest.approx(0.2 * functional.cross_entropy(output.logits, batch["label"]).item())


def test_gradient_equals_finite_differences(transformer, batch):
    def loss(classifier):
        return CFT()(classifier, batch).terms["cft"]

    name = "blocks.0.attn.qkv.weight"
    (gradient,) = torch.autograd.grad(loss(transformer), transformer.model.get_parameter(name))
    for position in [(0, 0), (15, 3), (30, 7)]:
        values = []
        for sign in (1, -1):
            moved = copy.deepcopy(transformer)
            with torch.no_grad():
                moved.model.get_parameter(name)[position] += sign * 1e-5
            values.append(loss(moved).item())
        assert gradient[position].item() == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-3, abs=1e-7)
    assert gradient.any()


def test_a_constant_gradient_teaches_the_attention_alone(transformer, batch):
    learning = list(transformer.parameters())
    method = CFT(differentiate_gradient=False)
    output = transformer(batch["image"].clone().requires_grad_())
    attention = token_attention(transformer, output)
    relevance = torch.eye(17, dtype=torch.float64).expand(5, 17, 17)
    score = output.logits.gather(1, batch["label"][:, None]).sum()
    for values, slope in zip(attention, torch.autograd.grad(score, attention, retain_graph=True), strict=True):
        relevance = relevance + (slope * values).clamp_min(0).mean(1) @ relevance
    expected = CFT(map=lambda *_: relevance[:, 0, 1:].unflatten(1, (4, 4)))(transformer, batch).terms["cft"]
    found = method(transformer, batch).terms["cft"]
    assert found.item() == pytest.approx(expected.item())
    gradients = torch.autograd.grad(found, learning, allow_unused=True)
    for gradient, wanted in zip(gradients, torch.autograd.grad(expected, learning, allow_unused=True), strict=True):
        assert (gradient is None) == (wanted is None)
        if gradient is not None:
            torch.testing.assert_close(gradient, wanted)
    assert "image_gradient" in method.needs


def test_with_equal_sides_it_is_haics(classifier, batch):
    classifier.eval()
    method = CFT(weight=1.0, inside_weight=1.0, outside_weight=1.0, map="class_map")
    expected = HAICS()(classifier, batch).terms["haics"].item()
    assert method(classifier, batch).terms["cft"].item() == pytest.approx(expected)


def test_it_learns_from_its_own_predictions_where_it_is_told(classifier, batch):
    classifier.eval()
    method = CFT(learn="predicted", map="class_map")
    logits = classifier(batch["image"]).logits
    terms = method(classifier, batch).terms
    assert terms["task"].item() == 0
    own = functional.cross_entropy(logits, logits.argmax(1)).item()
    assert terms["cft_prediction"].item() == pytest.approx(0.2 * own)
    other = batch | {"label": (batch["label"] + 1) % 4}
    assert method(classifier, other).terms["cft_prediction"].item() == pytest.approx(0.2 * own)
    assert method.needs == {"mask", "label"}


def test_what_is_ignored_has_no_part(transformer, batch):
    batch["ignore"] = torch.zeros(5, 8, 8, dtype=torch.float64)
    batch["ignore"][:, :, 4:] = 1
    expected = CFT()(transformer, batch).terms["cft"].item()
    batch["mask"] = torch.where(batch["ignore"] == 1, torch.nan, batch["mask"])
    assert CFT()(transformer, batch).terms["cft"].item() == pytest.approx(expected)
    batch = {"image": batch["image"], "label": batch["label"], "mask": batch["mask"].nan_to_num()}
    assert CFT()(transformer, batch).terms["cft"].item() != pytest.approx(expected)


def test_its_term_falls_while_it_is_trained_and_in_a_sum(transformer, batch, minimise):
    transformer = copy.deepcopy(transformer)
    method = CFT() + CAMAL()
    assert set(method(transformer, batch).terms) == {"task", "cft", "camal"}
    values = minimise(lambda: method(transformer, batch).terms["cft"], transformer.parameters(), steps=15)
    assert values[-1] < 0.9 * values[0]


def test_what_it_cannot_guide_is_refused(classifier, batch):
    with pytest.raises(InputError, match="No attention between tokens is found in SmallNetwork. Take class_map"):
        CFT()(classifier, batch)
    several = batch | {"label": torch.ones(5, 4)}
    with pytest.raises(InputError, match="labels have shape"):
        CFT(learn="predicted", map="class_map")(classifier, several, task=multi_label)
    with pytest.raises(InputError, match="differentiate_gradient=False and map='class_map'"):
        CFT(map="class_map", differentiate_gradient=False)
    with pytest.raises(InputError, match="outside_weight=-1"):
        CFT(outside_weight=-1)
