import torch

from lookright import ADL, CAMAL, ERM, SAGE
from lookright.methods import Loss, reaches_backbone


def test_guidance_that_arrives_is_no_problem_and_leaves_no_gradient(classifier, batch):
    loss = (CAMAL() + SAGE() + ADL())(classifier, batch)
    assert reaches_backbone(classifier, loss) is None
    assert all(parameter.grad is None for parameter in classifier.parameters())
    loss.total.backward()
    assert reaches_backbone(classifier, ERM()(classifier, batch)) is None


def test_guidance_that_teaches_the_head_alone_is_told(classifier, batch):
    output = classifier(batch["image"])
    task, weight = output.logits.sum(), classifier.head.weight
    assert "exactly zero" in reaches_backbone(classifier, Loss({"task": task, "mine": weight.square().sum()}))
    assert "(mine)" in reaches_backbone(classifier, Loss({"task": task, "mine": torch.ones(())}))
    assert reaches_backbone(classifier, Loss({"task": task, "mine": task})) is None


def test_gradients_that_are_not_finite_and_frozen_backbones_are_told(classifier, batch):
    output = classifier(batch["image"])
    broken = (output.features - output.features.detach()).sqrt().sum()  # finite, its slope is not
    assert "not finite" in reaches_backbone(classifier, Loss({"task": output.logits.sum(), "mine": broken}))
    classifier.model.features.requires_grad_(False)
    assert "frozen" in reaches_backbone(classifier, CAMAL()(classifier, batch))
