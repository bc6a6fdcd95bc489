import pytest
import torch

import lookright
from lookright import CAMAL, CYBORG, ERM, InputError, Method, Views


class Flipped(Method):
    """Guides by one mirrored view of the first images."""

    def __init__(self, images):
        super().__init__()
        self.images = images

    def views(self, batch):
        return Views(batch["image"][: self.images].flip(3), torch.arange(self.images))

    def guidance(self, classifier, output, batch, views=None):
        assert len(views.output.logits) == len(views.source) == self.images
        return {"flipped": (views.output.logits - output.logits[views.source]).square().mean()}


class Shifted(Flipped):
    def guidance(self, classifier, output, batch, views=None):
        return {"shifted": super().guidance(classifier, output, batch, views)["flipped"]}


class Turns(Method):
    takes_turns = True


def test_total_is_the_sum_of_the_terms(classifier, batch):
    loss = CAMAL()(classifier, batch)
    assert set(loss.terms) == {"cross_entropy", "camal"}
    assert loss.total.item() == pytest.approx(sum(term.item() for term in loss.terms.values()))


def test_a_sum_runs_the_model_once_and_the_task_once(classifier, batch, monkeypatch):
    sizes = []
    hook = classifier.model.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    loss = (Flipped(2) + CAMAL() + Shifted(3))(classifier.eval(), batch)
    hook.remove()
    assert sizes == [10]
    assert set(loss.terms) == {"cross_entropy", "flipped", "camal", "shifted"}
    for alone, name in [(Flipped(2), "flipped"), (CAMAL(), "camal"), (Shifted(3), "shifted")]:
        assert torch.allclose(alone(classifier, batch).terms[name], loss.terms[name])


def test_the_task_weight_of_a_sum_is_the_product(classifier, batch):
    assert (CYBORG(alpha=0.5) + ERM()).task_weight == 0.5


def test_methods_that_take_turns_refuse_to_be_added():
    with pytest.raises(InputError, match="Turns takes turns"):
        CAMAL() + Turns()


def test_the_same_term_twice_is_refused(classifier, batch):
    with pytest.raises(InputError, match="'camal'"):
        (CAMAL() + CAMAL(weight=2))(classifier, batch)


def test_the_model_is_left_as_it_was(classifier, batch):
    keys = list(classifier.model.state_dict())
    for method in (ERM(), CAMAL(), CYBORG(), CAMAL() + Flipped(1)):
        method(classifier, batch)
        assert classifier.model.training
        assert list(classifier.model.state_dict()) == keys
        assert all(not module._forward_hooks and not module._forward_pre_hooks for module in classifier.modules())
        assert all(parameter.grad is None for parameter in classifier.parameters())


def test_everything_is_exported():
    assert {"ERM", "CAMAL", "CYBORG"} <= set(lookright.__all__)


def test_every_method_of_a_sum_hears_of_the_step():
    class Counting(Method):
        steps = 0

        def after_step(self):
            self.steps += 1

    counting = [Counting(), Counting()]
    (counting[0] + counting[1]).after_step()
    assert [method.steps for method in counting] == [1, 1]
