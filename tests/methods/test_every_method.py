"""What holds for every method that can be chosen by its name."""

import copy

import pytest
import timm
import torch

from lookright import CAMAL, Classifier, InputError, Method, methods
from lookright.methods import reaches_backbone
from lookright.methods.group_dro import count_groups
from lookright.methods.method import changes_forward, owns_forward
from lookright.tasks import cross_entropy
from lookright.training.rehearsal import rehearse


def subclasses(kind: type) -> set[type]:
    return {kind}.union(*map(subclasses, kind.__subclasses__()))


KINDS = [
    kind
    for name in sorted(methods.__all__)
    if isinstance(kind := getattr(methods, name), type) and issubclass(kind, Method) and not kind.is_base
]
GUIDED = [kind for kind in KINDS if "mask" in kind.needs and not changes_forward(kind())]
every_method = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


@pytest.fixture
def classifier(classifier: Classifier, kind: type[Method]) -> Classifier:
    """The small network; a small transformer for methods that only guide attention."""
    if getattr(kind(), "map", None) != "attention_gradient":
        return Classifier(classifier.model.float(), input_size=(3, 8, 8))
    torch.manual_seed(0)
    size = {"img_size": 8, "patch_size": 2, "embed_dim": 12, "num_heads": 2, "depth": 2, "num_classes": 4}
    return Classifier(timm.create_model("vit_tiny_patch16_224", **size))


@pytest.fixture
def batch(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """With everything that any method may need."""
    batch = {key: value.float() if value.is_floating_point() else value for key, value in batch.items()}
    batch["label"] = torch.tensor([0, 1, 1, 0, 1])
    batch["ignore"] = (torch.arange(8) == 3).float().expand(5, 8, 8)
    return batch | {"domain": torch.tensor([0, 1, 0, 1, 0]), "group": torch.tensor([0, 1, 2, 3, 1])}


HOOKS = ("forward_hooks", "forward_pre_hooks", "backward_hooks", "backward_pre_hooks")


def attach(method: Method, classifier: Classifier) -> torch.optim.Optimizer:
    """As a training run does it."""
    optimizer = torch.optim.SGD(classifier.parameters(), 0.01)
    count_groups(method, [2, 2, 1, 1])
    method.attach(classifier, optimizer)
    return optimizer


def attached(kind: type[Method], classifier: Classifier) -> Method:
    method = kind()
    attach(method, classifier)
    return method


def train(kind: type[Method], classifier: Classifier, batch: dict[str, torch.Tensor], steps: int = 2) -> Method:
    method = kind()
    optimizer = attach(method, classifier)
    for _ in range(steps):
        optimizer.zero_grad()
        method(classifier, batch).total.backward()
        optimizer.step()
    optimizer.zero_grad()
    return method


def values(method: Method, classifier: Classifier, batch: dict[str, torch.Tensor]) -> dict[str, float]:
    return {name: term.item() for name, term in method(classifier, batch).terms.items()}


def without_masks(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {key: value for key, value in batch.items() if key not in ("mask", "mask_weight", "ignore")}


def test_every_method_of_the_package_can_be_chosen():
    ours = {kind for kind in subclasses(Method) if kind.__module__.startswith("lookright.") and not kind.is_base}
    assert ours == set(KINDS)


@every_method
def test_two_images_are_enough_for_a_rehearsal(classifier, batch, kind):
    method = attached(kind, classifier)
    rehearse(classifier, method, {key: value[:2] for key, value in batch.items()}, cross_entropy)
    assert method.step == 0


@every_method
@pytest.mark.parametrize("masks", [True, False], ids=["masks", "no_masks"])
def test_its_gradient_is_finite_in_bfloat16(classifier, batch, kind, masks):
    method = attached(kind, classifier)
    with torch.autocast("cpu", torch.bfloat16):
        loss = method(classifier, batch if masks else without_masks(batch))
    loss.total.backward()
    gradients = [parameter.grad for parameter in classifier.parameters() if parameter.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert any(gradient.any() for gradient in gradients)


@every_method
def test_its_terms_in_bfloat16_are_near_those_in_float32(classifier, batch, kind):
    exact = values(attached(kind, classifier), classifier, batch)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = values(attached(kind, classifier), classifier, batch)
    assert rounded == pytest.approx(exact, rel=0.1, abs=0.02)


@every_method
@pytest.mark.parametrize("where", ["weight_0", "ignored"])
def test_masks_may_say_anything_where_they_do_not_count(classifier, batch, kind, where):
    classifier.eval()
    nothing = batch["mask_weight"][:, None, None] == 0 if where == "weight_0" else batch["ignore"] == 1
    found = []
    for mask in (batch["mask"], torch.where(nothing, torch.nan, batch["mask"])):
        classifier.zero_grad()
        loss = attached(kind, classifier)(classifier, batch | {"mask": mask})
        loss.total.backward()
        gradients = [parameter.grad for parameter in classifier.parameters() if parameter.grad is not None]
        found.append(torch.cat([loss.total.detach()[None], *(gradient.flatten() for gradient in gradients)]))
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("kind", GUIDED, ids=lambda kind: kind.__name__)
def test_images_without_a_mask_do_not_matter_to_guidance_by_masks(classifier, batch, kind):
    classifier.eval()
    method = attached(kind, classifier)
    no_mask = (batch["mask_weight"] == 0)[:, None, None, None]
    other = batch | {"image": torch.where(no_mask, -3 * batch["image"] + 1, batch["image"])}
    guided, same = values(method, classifier, batch), values(attached(kind, classifier), classifier, other)
    del guided["task"], same["task"]
    assert same == pytest.approx(guided)


class Second(CAMAL):
    """Names its term otherwise, so that CAMAL itself can be added to it."""


@every_method
def test_it_can_be_added_to_camal(classifier, batch, kind):
    if owns_forward(kind()):
        with pytest.raises(InputError, match="owns the forward"):
            kind() + Second()
        return
    together = kind() + Second()
    attach(together, classifier)
    loss = together(classifier, batch)
    assert set(loss.terms) == set(values(attached(kind, classifier), classifier, batch)) | {"second"}
    loss.total.backward()
    assert all(parameter.grad.isfinite().all() for parameter in classifier.parameters())


@every_method
def test_it_leaves_no_trace_on_the_model(classifier, batch, kind):
    def traces():
        return [
            (
                name,
                module.training,
                *(len(getattr(module, f"_{hooks}")) for hooks in HOOKS),
                [(key, parameter.requires_grad, parameter.grad) for key, parameter in module.named_parameters()],
            )
            for name, module in classifier.model.named_modules()
        ], list(classifier.state_dict())

    before = traces()
    train(kind, classifier, batch)
    assert traces() == before


@every_method
def test_it_goes_on_from_a_checkpoint(classifier, batch, kind):
    method = train(kind, classifier, batch, steps=3)
    restored = attached(kind, classifier)
    restored.load_state_dict(copy.deepcopy(method.state_dict()))
    assert restored.step == method.step == 3
    # Each with a model of its own: a forward moves BatchNorm's running statistics, which some methods look at.
    twin = copy.deepcopy(classifier)
    assert values(restored, twin, batch) == values(method, classifier, batch)


@every_method
def test_its_guidance_reaches_the_backbone(classifier, batch, kind):
    method = attached(kind, classifier)
    assert reaches_backbone(classifier, method(classifier, batch)) is None
