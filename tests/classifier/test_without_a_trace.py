"""Nothing that is called leaves anything behind in the user's model, also when it raises halfway."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import timm
import torch
import torchvision
from torch import nn
from torch.nn.modules import module as torch_module

from lookright import CAMAL, CARE, CYBORG, GRADIA, Classifier, InputError
from lookright.attribution import cam, class_map, grad_cam
from lookright.metrics import comprehensiveness, deletion, insertion, sufficiency

HOOKS = [name for name in vars(nn.Module()) if name.endswith(("_hooks", "_with_kwargs", "_always_called"))]


class Sequence(nn.Sequential):
    """In-place ReLU, dropout and batch normalisation, some of it frozen."""

    def __init__(self) -> None:
        super().__init__(
            *(nn.Conv2d(3, 4, 3, 2), nn.BatchNorm2d(4).eval(), nn.ReLU(inplace=True)),
            *(nn.Conv2d(4, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(inplace=True)),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5, inplace=True), nn.Linear(8, 4)),
        )
        self[0].requires_grad_(False)


def hugging_face() -> nn.Module:
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        **{"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32},
        **{"image_size": 32, "patch_size": 8, "num_labels": 4},
    )
    return transformers.ViTForImageClassification(config)


MODELS: dict[str, Callable[[], nn.Module]] = {
    "own": Sequence,
    "torchvision": lambda: torchvision.models.ShuffleNetV2([1, 1, 1], [8, 8, 8, 8, 16], num_classes=4),
    "timm, without hooks": lambda: timm.create_model("test_resnet", num_classes=4, drop_path_rate=0.1),
    "timm ViT": lambda: timm.create_model(
        "vit_tiny_patch16_224", img_size=32, patch_size=8, embed_dim=16, depth=2, num_heads=2, num_classes=4
    ),
    "Hugging Face ViT": hugging_face,
}


def state(model: nn.Module) -> dict[str, object]:
    """Everything about a model that a careless library changes; tensors as (identity, version, grad)."""
    found: dict[str, object] = {"state_dict": list(model.state_dict())}
    for name, module in model.named_modules():
        found[f"{name} is training"] = module.training
        found[f"{name} has"] = {key: id(value) for key, value in vars(module).items()}
        found[f"{name} hooks"] = {hooks: list(vars(module)[hooks]) for hooks in HOOKS}
    for name, parameter in model.named_parameters():
        gradient = None if parameter.grad is None else (id(parameter.grad), parameter.grad._version)
        found[name] = (id(parameter), parameter._version, parameter.requires_grad, gradient)
    for name, buffer in model.named_buffers():
        found[name] = (id(buffer), buffer._version)
    everywhere = {name: hooks for name, hooks in vars(torch_module).items() if name.startswith("_global_")}
    found["global hooks"] = {name: list(hooks) for name, hooks in everywhere.items() if isinstance(hooks, dict)}
    found["fused attention"] = (
        torch.backends.cuda.flash_sdp_enabled(),
        torch.backends.cuda.mem_efficient_sdp_enabled(),
    )
    found["gradients enabled"] = torch.is_grad_enabled()
    return found


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    before, random = state(model), torch.get_rng_state()
    yield
    assert state(model) == before
    assert torch.equal(torch.get_rng_state(), random)


def prepared(build: Callable[[], nn.Module]) -> nn.Module:
    """In a mixed mode, with gradients that are being accumulated, a frozen parameter and a hook of the user."""
    torch.manual_seed(0)
    model = build().train()
    image = torch.randn(3, 3, 32, 32)
    logits = model(image)
    getattr(logits, "logits", logits).sum().backward()
    next(model.parameters()).requires_grad_(False)
    next(module for module in model.modules() if isinstance(module, (nn.BatchNorm2d, nn.LayerNorm))).eval()
    model.register_forward_hook(lambda *_: None)
    return model


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> nn.Module:
    return prepared(MODELS[request.param])


@pytest.fixture
def image() -> torch.Tensor:
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def target() -> torch.Tensor:
    return torch.tensor([0, 3, 1])


def test_looking_for_the_layers(model):
    with untouched(model):
        Classifier(model, input_size=(3, 32, 32))


def test_forward_in_eval_mode(model, image):
    model.eval()
    plain = model(image)
    classifier = Classifier(model)
    with untouched(model):
        classifier(image)
        classifier(image, edit=torch.zeros_like)
        with torch.no_grad():
            classifier(image)
        with torch.inference_mode():
            classifier(image)
    again = model(image)
    assert torch.equal(getattr(again, "logits", again), getattr(plain, "logits", plain))


def test_forward_in_training_mode_updates_what_the_plain_model_updates(model, image):
    twin = copy.deepcopy(model)
    classifier = Classifier(model, input_size=(3, 32, 32))
    torch.manual_seed(3)
    logits = classifier(image).logits
    random = torch.get_rng_state()
    torch.manual_seed(3)
    plain = twin(image)
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.allclose(logits, getattr(plain, "logits", plain), rtol=1e-5, atol=1e-6)
    for (name, buffer), expected in zip(model.named_buffers(), twin.buffers()):
        assert torch.equal(buffer, expected), name
    assert [module.training for module in model.modules()] == [module.training for module in twin.modules()]


def test_maps(model, image, target):
    classifier = Classifier(model)
    output = classifier(image)
    with untouched(model):
        class_map(classifier, output, target).sum()
        grad_cam(classifier, output, target)
        if classifier.cam_is_exact:
            cam(classifier, output, target)


@pytest.mark.parametrize("method", [CAMAL(), CARE(), CYBORG(), GRADIA()], ids=lambda method: type(method).__name__)
def test_guidance(model, image, target, method):
    classifier = Classifier(model)
    output = classifier(image)
    batch = {"image": image, "label": target, "mask": torch.rand(3, 32, 32).round(), "mask_weight": torch.ones(3)}
    with untouched(model):
        method.guidance(classifier, output, batch)


@pytest.mark.parametrize("metric", [insertion, deletion, sufficiency, comprehensiveness])
def test_faithfulness(model, image, target, metric):
    classifier = Classifier(model, input_size=(3, 32, 32))
    map = torch.rand(3, 32, 32)
    with untouched(model):
        metric(classifier, image, map, target)


def test_an_edit_that_raises(model, image):
    model.eval()
    classifier = Classifier(model)
    with untouched(model):
        with pytest.raises(ZeroDivisionError):
            classifier(image, edit=lambda features: 1 / 0)
        with pytest.raises(InputError, match="Keep the shape"):
            classifier(image, edit=lambda features: features[:1])


def test_a_model_that_raises(model, image):
    model.eval()
    classifier = Classifier(model)
    with untouched(model):
        with pytest.raises((RuntimeError, ValueError)):  # Ten channels are too many.
            classifier(torch.zeros(1, 10, 32, 32))
        with pytest.raises((RuntimeError, ValueError)):  # Ten channels are too many.
            Classifier(model, input_size=(10, 32, 32))


def test_a_map_that_raises(model, image, target):
    classifier = Classifier(model)
    with torch.no_grad():
        output = classifier(image)
    with untouched(model), pytest.raises(InputError, match="carries no graph"):
        grad_cam(classifier, output, target)


def test_what_an_edit_returns_stays_the_users(image):
    model = Sequence().eval()
    own = torch.ones(3, 8, 7, 7)
    output = Classifier(model)(image, edit=lambda features: own)
    assert not own.requires_grad
    assert output.features.requires_grad


def test_the_checkpoint_is_that_of_the_plain_model(model):
    classifier = Classifier(model)
    assert list(classifier.state_dict()) == [f"model.{name}" for name in model.state_dict()]
    assert classifier.model is model
