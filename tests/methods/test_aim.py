import pytest
import torch
from torch.nn import functional

from lookright import AIM, CAMAL, Classifier, InputError


@pytest.fixture
def method(classifier, batch):
    """Attached, τ at its last value."""
    classifier(batch["image"])
    method = AIM(anneal=0, hidden=8)
    method.attach(classifier)
    return method


def test_equals_a_loop_over_cells(classifier, batch, method):
    classifier.eval()
    method.eval()
    terms = method(classifier, batch).terms
    area, rest, task = 0.0, 0.0, 0.0
    for image, label in zip(batch["image"], batch["label"]):
        features = classifier(image[None]).features[0].detach()
        logit = method.estimator(features[None])[0].detach()
        on = [[1.0 if logit[y, x] > 0 else 0.0 for x in range(4)] for y in range(4)]
        energy = [[float((features[:, y, x] ** 2).sum()) for x in range(4)] for y in range(4)]
        cells = [(y, x) for y in range(4) for x in range(4)]
        area += (sum(on[y][x] for y, x in cells) / 16 - 0.35) ** 2 / 5
        rest += sum((1 - on[y][x]) * energy[y][x] for y, x in cells) / sum(energy[y][x] for y, x in cells) / 5
        pooled = sum(on[y][x] * features[:, y, x] for y, x in cells) / 16
        task += functional.cross_entropy(classifier.model.fc(pooled), label).item() / 5
    assert terms["task"].item() == pytest.approx(task)
    assert terms["aim_area"].item() == pytest.approx(6 * area)
    assert terms["aim_rest"].item() == pytest.approx(rest)
    assert 0 < rest < 1


def test_gradient_equals_finite_differences(classifier, batch, method, check_gradient):
    """Of the task and the rest, whose masks do not change with so small a step."""
    method.eval()
    with torch.no_grad():
        method.estimator.last.weight.zero_()  # constant masks: those of the straight-through gradient have no slope
        method.estimator.last.bias.fill_(1.0)
    check_gradient(lambda classifier: method(classifier, batch).terms["task"], rel=1e-4)


def test_the_area_teaches_the_mask_through_its_logits(classifier, batch, method, minimise):
    areas = minimise(lambda: method(classifier, batch).terms["aim_area"], method.estimator.parameters(), steps=60)
    assert sum(areas[-10:]) < 0.5 * sum(areas[:10])


def test_what_is_masked_falls_silent(classifier, batch, method, minimise):
    method.eval()
    learning = classifier.model.features.parameters()
    rests = minimise(lambda: method(classifier, batch).terms["aim_rest"], learning, steps=30)
    assert rests[-1] < rests[0]


def test_the_target_falls_from_1_over_the_steps(classifier, batch):
    classifier(batch["image"])
    method = AIM(weight=1.0, area=0.5, anneal=4, hidden=8)
    optimizer = torch.optim.SGD(classifier.parameters(), 0.0)
    method.attach(classifier, optimizer)
    with torch.no_grad():
        method.estimator.last.weight.zero_()
        method.estimator.last.bias.fill_(50.0)  # everything is on
    terms = []
    for _ in range(6):
        terms.append(method(classifier, batch).terms["aim_area"].item())
        optimizer.step()
    assert terms == pytest.approx([0, 0.125**2, 0.25**2, 0.375**2, 0.25, 0.25])


def test_masks_are_drawn_in_training_and_fixed_elsewhere(classifier, batch, method):
    classifier.eval()
    drawn = [method.edit(classifier(batch["image"]).features) for _ in range(2)]
    assert not torch.equal(*drawn)
    method.eval()
    fixed = [classifier(batch["image"], edit=method.edit).logits for _ in range(2)]
    assert torch.equal(*fixed)


def test_the_first_mask_is_the_seeds_and_leaves_the_global_generator_alone(classifier, batch, method):
    state = torch.get_rng_state()
    twin, other = AIM(hidden=8), AIM(hidden=8, seed=1)
    twin.attach(classifier)
    other.attach(classifier)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(twin.estimator.last.weight, method.estimator.last.weight)
    assert not torch.equal(other.estimator.last.weight, method.estimator.last.weight)


def test_in_a_sum_the_map_is_that_of_masked_features(classifier, batch, method):
    loss = (method + CAMAL())(classifier, batch)
    assert set(loss.terms) == {"task", "aim_area", "aim_rest", "camal"}
    loss.total.backward()
    assert all(parameter.grad.isfinite().all() for parameter in classifier.parameters())
    assert all(parameter.grad.isfinite().all() for parameter in method.parameters())


def test_what_is_not_known_or_does_not_fit_is_refused(classifier, batch):
    with pytest.raises(InputError, match="call method.attach"):
        AIM()(classifier, batch)
    with pytest.raises(InputError, match="before the first image"):
        AIM().attach(Classifier(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten())))
    with pytest.raises(InputError, match="hidden=12"):
        AIM(hidden=12)
