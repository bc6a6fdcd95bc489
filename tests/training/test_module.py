import pytest

from lookright import ALIGN, CAMAL, Classifier
from lookright.training.module import Training
from lookright.training.settings import instantiate, parse_settings
from lookright.training.small_cnn import SmallCNN


def optimizer_of(method, **settings):
    classifier = Classifier(SmallCNN(3))
    method.attach(classifier)
    config = parse_settings({"data": "images", "out": "run", "lr": 0.01, "weight_decay": 0.3, "warmup": 0.0} | settings)
    module = Training(classifier, method, instantiate(config), steps=10)
    return module, module.configure_optimizers()["optimizer"]


@pytest.mark.parametrize("optimizer", ["AdamW", "SGD"])
@pytest.mark.parametrize("method", [CAMAL(), ALIGN(masker_lr=0.5)], ids=["CAMAL", "ALIGN"])
def test_everything_learns_once_at_its_rate_and_only_weights_decay(method, optimizer):
    module, built = optimizer_of(method, optimizer=optimizer)
    seen = {}
    for group in built.param_groups:
        for parameter in group["params"]:
            assert parameter not in seen
            seen[parameter] = (group["initial_lr"], group["weight_decay"])
    of_method = set(method.parameters())
    assert set(seen) == {*module.classifier.parameters(), *of_method}
    for parameter, found in seen.items():
        assert found == (0.5 if parameter in of_method else 0.01, 0.3 if parameter.ndim > 1 else 0.0)


def test_frozen_parameters_are_left_out():
    module, _ = optimizer_of(CAMAL())
    frozen = next(module.classifier.parameters()).requires_grad_(False)
    groups = module.configure_optimizers()["optimizer"].param_groups
    assert not any(parameter is frozen for group in groups for parameter in group["params"])
