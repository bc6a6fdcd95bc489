import pytest
import torch

from lookright import CAMAL, CFT, ERM, SAGE, Classifier, InputError
from lookright.tasks import cross_entropy
from lookright.training.rehearsal import rehearse
from lookright.training.run import train
from lookright.training.small_cnn import SmallCNN


@pytest.fixture
def batch():
    return {"image": torch.rand(4, 3, 32, 32), "label": torch.arange(4), "mask": torch.rand(4, 32, 32).round()}


def test_a_method_that_the_model_cannot_serve_leaves_no_directory(squares, settings, tmp_path):
    with pytest.raises(InputError, match="No attention between tokens is found in SmallCNN"):
        train(settings(squares, tmp_path / "run", method="CFT"))
    assert not (tmp_path / "run").exists()


class Late(ERM):
    """Refuses every model, after a step."""

    warmup_steps = 1

    def guidance(self, classifier, output, batch, views=None):
        if self.step >= self.warmup_steps:
            raise InputError("Too late.")
        return {}


def test_a_warm_up_is_looked_behind(squares, settings, tmp_path):
    with pytest.raises(InputError, match="Too late"):
        train(settings(squares, tmp_path / "run", method={"class_path": f"{__name__}.Late"}))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("method", [CAMAL(), SAGE()])
def test_nothing_is_changed(batch, method):
    classifier = Classifier(SmallCNN(4, 4), input_size=(3, 32, 32)).train()
    method.attach(classifier)
    state = torch.get_rng_state()
    before = {key: value.clone() for key, value in (classifier.state_dict() | batch).items()}
    rehearse(classifier, method, batch, cross_entropy)
    assert all(torch.equal(value, before[key]) for key, value in (classifier.state_dict() | batch).items())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in classifier.parameters())
    assert method.step == 0


def test_a_method_that_refuses_does_so(batch):
    classifier = Classifier(SmallCNN(4, 4), input_size=(3, 32, 32))
    with pytest.raises(InputError, match="No attention"):
        rehearse(classifier, CFT(), batch, cross_entropy)
