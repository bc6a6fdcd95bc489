import pytest

from lookright import ALIGN, CAMAL, Classifier
from lookright.training.settings import OptimisationSettings, instantiate, parse_settings
from lookright.training.small_cnn import SmallCNN
from lookright.training.step import build_optimizer, build_schedule


def optimizer_of(method, **settings):
    classifier = Classifier(SmallCNN(3))
    config = parse_settings({"data": "images", "out": "run", "lr": 0.01, "weight_decay": 0.3} | settings)
    return classifier, build_optimizer(classifier, method, instantiate(config).optimisation)


@pytest.mark.parametrize("optimizer", ["AdamW", "SGD"])
@pytest.mark.parametrize("method", [CAMAL(), ALIGN(masker_lr=0.5)], ids=["CAMAL", "ALIGN"])
def test_everything_learns_once_at_its_rate_and_only_weights_decay(method, optimizer):
    classifier, built = optimizer_of(method, optimizer=optimizer)
    seen = {}
    for group in built.param_groups:
        for parameter in group["params"]:
            assert parameter not in seen
            seen[parameter] = (group["lr"], group["weight_decay"])
    of_method = set(method.parameters())
    assert set(seen) == {*classifier.parameters(), *of_method}
    for parameter, found in seen.items():
        assert found == (0.5 if parameter in of_method else 0.01, 0.3 if parameter.ndim > 1 else 0.0)


def test_frozen_parameters_are_left_out():
    classifier = Classifier(SmallCNN(3))
    frozen = next(classifier.parameters()).requires_grad_(False)
    groups = build_optimizer(classifier, CAMAL(), OptimisationSettings()).param_groups
    assert not any(parameter is frozen for group in groups for parameter in group["params"])


def test_the_rate_rises_over_a_share_of_the_steps_and_falls_to_zero():
    _, optimizer = optimizer_of(CAMAL())
    schedule = build_schedule(optimizer, lr_warmup=0.2, steps=10)
    rates = []
    for _ in range(11):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[:3] == pytest.approx([0.01 / 3, 0.02 / 3, 0.01])
    assert rates[6] == pytest.approx(0.005)
    assert rates[-1] == 0
