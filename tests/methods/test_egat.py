import pytest
import torch
from torch.nn import functional

from lookright import CAMAL, EGAT, InputError
from lookright.methods import egat
from lookright.methods.adversarial import attack


def map_of(classifier, image, label):
    """The label's map, scaled to [0, 1]."""
    features, weight = classifier(image[None]).features[0], classifier.head.weight[label]
    map = sum(weight[k] * features[k] for k in range(6)).detach()
    return (map - map.min()) / (map.max() - map.min())


def test_equals_a_loop_over_images(classifier, batch):
    classifier.eval()
    terms = EGAT(0.5, 2.0, regularisation=0, epsilon=0.2, steps=3)(classifier, batch).terms
    attacked = attack(classifier, batch["image"], batch["label"], 0.2, 3)
    adversarial, explanation = 0.0, 0.0
    for image, worse, label in zip(batch["image"], attacked, batch["label"]):
        adversarial += functional.cross_entropy(classifier(worse[None]).logits[0], label).item() / 5
        difference = map_of(classifier, worse, label) - map_of(classifier, image, label)
        explanation += sum(float(cell) for cell in difference.abs().flatten()) / 16 / 5
    assert terms["egat_adversarial"].item() == pytest.approx(0.5 * adversarial)
    assert terms["egat_explanation"].item() == pytest.approx(2 * explanation)
    assert explanation > 0


def test_gradient_equals_finite_differences(batch, check_gradient, monkeypatch):
    worse = batch["image"] + 0.1 * torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(2)).double()
    monkeypatch.setattr(egat, "attack", lambda *_: worse.clone())  # what is attacked is a constant of the gradient
    method = EGAT(regularisation=0)
    check_gradient(lambda classifier: method(classifier, batch).total, step=1e-6, rel=1e-3, abs=1e-6)


def test_the_regulariser_is_dre_and_its_mixtures_ride_in_the_forward(classifier, batch):
    sizes = []
    hook = classifier.model.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    terms = EGAT()(classifier, batch).terms
    hook.remove()
    assert sizes == [10, 5, 5]  # images and mixtures; the attack; what was attacked
    assert {name for name in terms if name.startswith("dre")} == {"dre_consistency", "dre_sparsity", "dre_mixture"}


def test_in_a_sum_and_with_a_map_on_the_image(classifier, batch):
    loss = (EGAT(map="input_gradient") + CAMAL())(classifier, batch)
    assert {"egat_adversarial", "egat_explanation", "camal"} <= set(loss.terms)
    loss.total.backward()
    assert all(parameter.grad.isfinite().all() for parameter in classifier.parameters())


@pytest.mark.parametrize("name", ["egat_adversarial", "egat_explanation"])
def test_its_terms_fall_while_they_are_trained(train_alone, name):
    values = train_alone(EGAT(regularisation=0, epsilon=0.2), name)
    assert values[-1] < 0.8 * values[0]


def test_no_steps_are_refused():
    with pytest.raises(InputError, match="steps=0"):
        EGAT(steps=0)
