import pytest
import torch
from torch.nn import functional

import lookright
from lookright import CAMAL, CARE, CYBORG, ERM, InputError, Method, Views
from lookright.attribution import input_gradient
from lookright.tasks import CrossEntropy, cross_entropy


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


class Owner(Method):
    def forward(self, classifier, batch, task=cross_entropy):
        return super().forward(classifier, batch, task)


def test_total_is_the_sum_of_the_terms(classifier, batch):
    loss = CAMAL()(classifier, batch)
    assert set(loss.terms) == {"task", "camal"}
    assert loss.total.item() == pytest.approx(sum(term.item() for term in loss.terms.values()))


def test_a_sum_runs_the_model_once_and_the_task_once(classifier, batch, monkeypatch):
    sizes = []
    hook = classifier.model.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    loss = (Flipped(2) + CAMAL() + Shifted(3))(classifier.eval(), batch)
    hook.remove()
    assert sizes == [10]
    assert set(loss.terms) == {"task", "flipped", "camal", "shifted"}
    for alone, name in [(Flipped(2), "flipped"), (CAMAL(), "camal"), (Shifted(3), "shifted")]:
        assert torch.allclose(alone(classifier, batch).terms[name], loss.terms[name])


def test_the_weights_of_the_task_multiply_in_a_sum(classifier, batch):
    task = ERM()(classifier, batch).terms["task"]
    assert (CYBORG(alpha=0.5) + CARE(alpha=0.9))(classifier, batch).terms["task"].item() == pytest.approx(
        0.05 * task.item()
    )


def test_methods_that_own_the_forward_refuse_to_be_added():
    with pytest.raises(InputError, match="Owner owns the forward"):
        CAMAL() + Owner()


class Doubled(Method):
    def __init__(self, name):
        super().__init__()
        self.name = name

    def alter(self, batch):
        return batch | {"image": 2 * batch["image"], "altered": batch.get("altered", "") + self.name}

    def edit(self, features):
        return features + (3 if self.name == "a" else 2 * features)

    def views(self, batch):
        assert batch["altered"] == "ab"
        return Views(batch["image"][:1], torch.arange(1))

    def guidance(self, classifier, output, batch, views=None):
        assert torch.allclose(views.output.logits, output.logits[:1])
        return {self.name: output.logits.new_zeros(())}


def test_a_sum_chains_alterations_and_edits_in_order(classifier, batch):
    classifier.eval()
    loss = (Doubled("a") + Doubled("b"))(classifier, batch)
    features = classifier.model.features(4 * batch["image"])
    logits = classifier.model.fc((3 * (features + 3)).mean((2, 3)))
    assert loss.terms["task"].item() == pytest.approx(functional.cross_entropy(logits, batch["label"]).item())


def test_a_task_of_ones_own(classifier, batch):
    logits = classifier(batch["image"]).logits
    smoothed = CAMAL()(classifier, batch, task=CrossEntropy(label_smoothing=0.2)).terms["task"]
    expected = functional.cross_entropy(logits, batch["label"], label_smoothing=0.2)
    assert smoothed.item() == pytest.approx(expected.item())
    with pytest.raises(InputError, match='reduction="none"'):
        CAMAL()(classifier, batch, task=functional.cross_entropy)


def test_what_needs_the_gradient_of_the_image_gets_a_graph_from_it(classifier, batch):
    class OfImage(Flipped):
        needs = frozenset({"image_gradient"})

        def guidance(self, classifier, output, batch, views=None):
            return {"size": input_gradient(classifier, output, batch["label"]).square().sum()}

    loss = (OfImage(2) + CAMAL())(classifier, batch)
    loss.terms["size"].backward()
    assert classifier.model.features[0].weight.grad.abs().sum() > 0
    assert not batch["image"].requires_grad


class Learner(Method):
    def attach(self, classifier, optimizer=None):
        self.layer = torch.nn.Linear(2, 3)
        super().attach(classifier, optimizer)

    def options(self):
        return {"lr": 0.5}


def test_attaching_gives_the_optimizer_what_the_method_learns_and_counts_its_steps(classifier):
    learner, other = Learner(), CAMAL()
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=0.1, weight_decay=0.3)
    (learner + other).attach(classifier, optimizer)
    groups = optimizer.param_groups[1:]
    assert [(group["params"], group["lr"], group["weight_decay"]) for group in groups] == [
        ([learner.layer.weight], 0.5, 0.3),
        ([learner.layer.bias], 0.5, 0.0),
    ]
    optimizer.step()
    optimizer.step()
    assert (learner.step, other.step) == (2, 2)
    resumed = CAMAL()
    resumed.load_state_dict(other.state_dict())
    assert resumed.step == 2


def test_attaching_twice_counts_once(classifier):
    method = ERM()
    optimizer = torch.optim.SGD([*classifier.parameters(), *method.parameters()], lr=0.1)
    method.attach(classifier, optimizer)
    method.attach(classifier, optimizer)
    optimizer.step()
    assert method.step == 1
    assert len(optimizer.param_groups) == 1


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
