"""`torch.compile` around the classifier, and inside it."""

import subprocess
import sys

import pytest
import timm
import torch
from torch import nn

from lookright import Classifier
from lookright.attribution.maps import find_map


@pytest.fixture(autouse=True)
def fresh():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.fixture
def image() -> torch.Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


TARGET = torch.tensor([0, 2])

checks_in_graph = pytest.mark.skipif(
    torch.__version__ < (2, 10), reason="the tests' checks of shapes fail when PyTorch 2.9 compiles them"
)


def model(name: str = "test_resnet") -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model(name, num_classes=3).eval()


WITHOUT_GRAPH_BREAK = """
import timm, torch
from lookright import Classifier
from lookright.attribution import class_map

image, target = torch.randn(2, 3, 64, 64), torch.tensor([0, 2])
classifier = Classifier(timm.create_model("test_resnet", num_classes=3).eval())
compiled = torch.compile(classifier, backend="aot_eager", fullgraph=True)
gradients = []
for edit in (None, torch.tanh):
    for called in (classifier, compiled):
        output = called(image, edit)
        classifier.zero_grad()
        class_map(classifier, output, target).square().mean().backward()
        gradients.append([output.logits, output.embedding, output.features, *(p.grad for p in classifier.parameters())])
    for plain, found in zip(*gradients[-2:]):
        expected = torch.zeros_like(found) if plain is None else plain  # Of the bias, which no map depends on.
        assert torch.allclose(found, expected, rtol=1e-3, atol=1e-5 * expected.abs().max().item() + 1e-7)
assert not torch.allclose(gradients[0][0], gradients[2][0])
"""


def test_no_graph_break_where_no_hook_is_needed():
    # In another process: here every signature is checked, which breaks graphs.
    subprocess.run([sys.executable, "-c", WITHOUT_GRAPH_BREAK], check=True)


@checks_in_graph
def test_gradient_maps_of_a_compiled_classifier_have_a_second_derivative(image):
    classifier = Classifier(model("test_convnext"))
    assert classifier.route.methods
    assert not classifier.cam_is_exact
    compiled = torch.compile(classifier, backend="aot_eager")
    for map in ("grad_cam", "grad_cam_plus_plus", "hires_cam", "layer_cam"):
        gradients = []
        for called in (classifier, compiled):
            classifier.zero_grad()
            find_map(map)(classifier, called(image), TARGET).square().sum().backward()
            gradients.append({name: p.grad for name, p in classifier.named_parameters() if p.grad is not None})
        assert gradients[0].keys() == gradients[1].keys()
        for name, gradient in gradients[0].items():
            assert torch.allclose(gradients[1][name], gradient, rtol=1e-3, atol=1e-6), (map, name)


@checks_in_graph
def test_hooks_run_outside_the_graph(image):
    classifier = Classifier(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 62 * 62, 3)))
    expected = classifier(image)
    output = torch.compile(classifier, backend="eager")(image)
    assert torch.equal(output.logits, expected.logits)
    assert torch.equal(output.features, expected.features)


def compiled_whole(plain: nn.Module) -> nn.Module:
    return torch.compile(plain, backend="eager")


def compiled_in_place(plain: nn.Module) -> nn.Module:
    plain.compile(backend="eager")
    return plain


def compiled_part(plain: nn.Module) -> nn.Module:
    plain.global_pool = torch.compile(plain.global_pool, backend="eager")
    plain.layer4.compile(backend="eager")
    return plain


@pytest.mark.parametrize("compiled", [compiled_whole, compiled_in_place, compiled_part])
def test_a_model_compiled_before_wrapping(image, compiled):
    expected = Classifier(model())(image)
    user = compiled(model())
    user(image)  # Compiled now, so that hooks that are registered later would be ignored.
    output = Classifier(user)(image)
    assert torch.equal(output.features, expected.features)
    assert torch.equal(output.logits, expected.logits)
    assert torch.allclose(user(image), expected.logits, rtol=1e-5, atol=1e-6)
