import copy
import pickle

import pytest
import timm
import torch
from torch import nn
from torch.func import functional_call, grad, vmap

from lookright import CAMAL, Classifier, InputError
from lookright.attribution import class_map, grad_cam


class Network(nn.Module):
    """In-place ReLU, a hidden layer where the class map is to be a gradient."""

    def __init__(self, hidden: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.ReLU(inplace=True))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)) if hidden else nn.Linear(6, 3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.head(self.pool(self.features(image)).flatten(1))


def vit() -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model(
        "vit_tiny_patch16_224",
        **{"patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2, "num_classes": 3},
        dynamic_img_size=True,
    )


MODELS = {"cam": Network, "grad_cam": lambda: Network(hidden=True), "vit": vit}


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> nn.Module:
    return MODELS[request.param]().eval()


@pytest.fixture
def image() -> torch.Tensor:
    return torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def target() -> torch.Tensor:
    return torch.tensor([0, 1, 2, 1])


def guided(classifier: nn.Module, image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    mask = torch.zeros(len(image), *image.shape[2:])
    mask[:, :16] = 1
    batch = {"image": image, "label": target, "mask": mask, "mask_weight": torch.ones(len(image))}
    return CAMAL()(classifier, batch).total


def test_named_layers_are_taken(image):
    model = timm.create_model("test_resnet", num_classes=3).eval()
    by_name = Classifier(model, features="layer3", head="fc")
    by_module = Classifier(model, features=model.layer3, head=model.fc)
    assert by_name.route == by_module.route
    seen = []
    hook = model.layer3.register_forward_hook(lambda _, args, output: seen.append(output))
    assert torch.equal(by_name(image).features, seen[0])
    hook.remove()
    assert by_name.head is model.fc
    assert not by_name.cam_is_exact


def test_the_first_image_may_come_in_inference_mode(image):
    classifier = Classifier(Network())
    with torch.inference_mode():
        classifier(image)
    output = classifier(image)
    grad_cam(classifier, output, output.logits.argmax(1)).sum().backward()
    assert classifier.route == Classifier(Network(), input_size=(3, 32, 32)).route


def test_layers_are_found_at_the_first_image_where_no_size_is_told(image):
    classifier = Classifier(Network())
    with pytest.raises(InputError, match=r"not known before the first image.*input_size=\(C, H, W\)"):
        _ = classifier.route
    classifier(image)
    assert classifier.route == Classifier(Network(), input_size=(3, 32, 32)).route


def test_other_sizes_and_proportions_later_on(model, target):
    classifier = Classifier(model)
    for height, width in [(32, 32), (64, 64), (32, 96), (80, 48)]:
        image = torch.randn(4, 3, height, width)
        output = classifier(image)
        assert torch.allclose(output.logits, model(image), rtol=1e-5, atol=1e-6)
        step = 8 if classifier.route.grid.axes == "BNC" else 2
        assert class_map(classifier, output, target).shape == (4, height // step, width // step)


def test_one_model_in_two_forwards_and_two_classifiers(model, image, target):
    first, second = Classifier(model), Classifier(model)
    outputs = [first(image), second(image.flip(3)), first(image.flip(2))]
    alone = [class_map(first, first(other), target) for other in (image, image.flip(3), image.flip(2))]
    for output, expected in zip(outputs, alone):
        assert torch.equal(class_map(first, output, target), expected)


def test_rows_are_parts_of_one_forward(model, image, target):
    classifier = Classifier(model)
    whole = classifier(image)
    part = whole.rows(1, 3)
    assert torch.allclose(class_map(classifier, part, target[1:3]), class_map(classifier, whole, target)[1:3])


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda classifier: pickle.loads(pickle.dumps(classifier))])
def test_copies_work_on_their_own(model, image, copied):
    classifier = Classifier(model)
    output = classifier(image)
    twin = copied(classifier)
    assert twin.model is not model
    assert torch.equal(twin(image).features, output.features)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    assert torch.equal(classifier(image).logits, output.logits)


def test_weights_travel_between_plain_and_wrapped(model, image):
    classifier = Classifier(model)
    plain = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1
    plain.load_state_dict(classifier.model.state_dict())
    assert torch.allclose(plain(image), classifier(image).logits, rtol=1e-4, atol=1e-5)


def test_a_frozen_backbone_still_has_maps(model, image, target):
    model.requires_grad_(False)
    classifier = Classifier(model)
    expected = grad_cam(classifier, Classifier(copy.deepcopy(model).requires_grad_())(image), target)
    assert torch.allclose(grad_cam(classifier, classifier(image), target), expected, atol=1e-6)


def test_gradients_accumulate(model, image, target):
    classifier = Classifier(model)
    guided(classifier, image, target).backward()
    once = [parameter.grad.clone() for parameter in model.parameters()]
    guided(classifier, image, target).backward()
    for parameter, gradient in zip(model.parameters(), once):
        assert torch.allclose(parameter.grad, 2 * gradient, rtol=1e-4, atol=1e-6)


def test_channels_last(model, image, target):
    classifier = Classifier(model)
    expected = class_map(classifier, classifier(image), target)
    model.to(memory_format=torch.channels_last)
    output = classifier(image.to(memory_format=torch.channels_last))
    assert torch.allclose(class_map(classifier, output, target), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_maps_are_single_precision_under_autocast(model, image, target, dtype):
    classifier = Classifier(model)
    expected = class_map(classifier, classifier(image), target)
    with torch.autocast("cpu", dtype):
        output = classifier(image)
        map = class_map(classifier, output, target)
        loss = guided(classifier, image, target)
    assert output.logits.dtype == dtype
    assert map.dtype == torch.float32
    assert torch.allclose(map, expected, atol=0.1 * expected.abs().max().item())
    loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_gradients_under_torch_func(image, target):
    model = Network().eval()
    classifier = Classifier(model, input_size=(3, 32, 32))
    parameters = dict(classifier.named_parameters())

    def loss(parameters: dict, image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        output = functional_call(classifier, parameters, (image[None],))
        weight = parameters["model.head.weight"][target[None]][0]
        map = torch.einsum("bkhw,k->bhw", output.features, weight)
        return map.relu().square().mean() + nn.functional.cross_entropy(output.logits, target[None])

    for name, found in vmap(grad(loss), in_dims=(None, 0, 0))(parameters, image, target).items():
        for one in range(4):
            expected = torch.autograd.grad(loss(parameters, image[one], target[one]), parameters[name])[0]
            assert torch.allclose(found[one], expected, rtol=1e-4, atol=1e-6), name


def test_a_map_on_the_input_has_a_second_derivative(model, image, target):
    classifier = Classifier(model)
    image.requires_grad_()
    score = classifier(image).logits.gather(1, target[:, None]).sum()
    (first,) = torch.autograd.grad(score, image, create_graph=True)
    first.square().sum().backward()
    assert any(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())


def test_edited_features_are_those_of_the_output(model, image):
    classifier = Classifier(model)
    output = classifier(image, edit=lambda features: features * 0.5)
    assert torch.allclose(output.features, classifier(image).features * 0.5)
    with pytest.raises(InputError, match=r"edit made \(4, .*\) of features .* Keep the shape"):
        classifier(image, edit=lambda features: features[:, :1])


def test_an_unknown_name_is_answered_with_close_ones():
    model = timm.create_model("test_resnet", num_classes=3)
    with pytest.raises(InputError, match=r"features='layer_4' is no module of ResNet\. Did you mean 'layer4'"):
        Classifier(model, features="layer_4")
    with pytest.raises(InputError, match=r"head='classifier' is no module of ResNet\. Did you mean .*'fc'"):
        Classifier(model, head="classifier")
    with pytest.raises(InputError, match="features is a Conv2d that is no part of ResNet"):
        Classifier(model, features=nn.Conv2d(3, 3, 1))


def test_models_that_are_refused():
    with pytest.raises(InputError, match=r"no head \(num_classes=0\)"):
        Classifier(timm.create_model("test_resnet", num_classes=0))
    with pytest.raises(InputError, match="scripted"):
        Classifier(torch.jit.script(nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU())))


def test_a_layer_that_is_no_longer_called_is_named(image):
    model = Network().eval()
    classifier = Classifier(model)
    classifier(image)
    model.forward = lambda image: model.head(image.mean((2, 3)).repeat(1, 2))
    with pytest.raises(InputError, match="was not called in this forward"):
        classifier(image)


def test_dropped_patches_are_refused(image):
    model = timm.create_model(
        "vit_tiny_patch16_224", img_size=32, patch_size=4, embed_dim=16, depth=2, num_heads=2, patch_drop_rate=0.45
    )
    classifier = Classifier(model)
    classifier.eval()(image)
    with pytest.raises(InputError, match="switch patch dropout and token pruning off"):
        classifier.train()(image)


@pytest.mark.parametrize(
    ("head", "exact", "dimensions"),
    [
        (lambda: nn.Sequential(nn.Dropout(), nn.Linear(6, 7)), True, 6),
        (lambda: nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 7)), False, 5),
        (lambda: nn.Linear(6, 7), True, 6),
    ],
)
def test_a_head_that_is_replaced_after_wrapping_is_found(image, target, head, exact, dimensions):
    model = Network().eval()
    classifier = Classifier(model, input_size=(3, 32, 32))
    model.head = head().eval()
    output = classifier(image)
    assert output.logits.shape == (4, 7)
    assert output.embedding.shape == (4, dimensions)
    assert classifier.cam_is_exact == exact
    assert class_map(classifier, output, target).shape == (4, 16, 16)


@pytest.mark.parametrize(
    "given",
    [torch.zeros(2, 1, 64), torch.zeros(2, 4, 3, 8, 8), torch.zeros(2, 3, 8, 8, dtype=torch.uint8), {"patches": 0}],
)
def test_what_is_no_image_is_refused(given):
    forward = Classifier.forward.__wrapped__  # The import hook of the tests would be first.
    with pytest.raises(InputError, match=r"Expected images as floats \(B, C, H, W\)"):
        forward(Classifier(Network()), given)


def test_a_single_cell_is_warned_of(image):
    classifier = Classifier(timm.create_model("test_resnet", num_classes=3).eval())
    with pytest.warns(UserWarning, match=r"features of ResNet are a single cell for images of \(32, 32\)"):
        assert classifier(image).features.shape[2:] == (1, 1)


def test_export(image):
    classifier = Classifier(timm.create_model("test_resnet", num_classes=3)).eval()
    image = torch.cat([image, image], 3)[:, :, :, :48].repeat(1, 1, 2, 1)
    with torch.no_grad():
        exported = torch.export.export(classifier, (image,)).module()(image)
        expected = classifier(image)
    for name in ("logits", "embedding", "features"):
        torch.testing.assert_close(getattr(exported, name), getattr(expected, name))
