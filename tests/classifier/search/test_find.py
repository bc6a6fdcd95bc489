from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from lookright import Classifier, InputError
from lookright.classifier.route import Route, Site
from lookright.classifier.search import find_route


def convolution(channels: int = 3) -> nn.Module:
    return nn.Conv2d(channels, 8, 3, 2, padding=1)


class Averaged(nn.Module):
    """Two linear layers on one embedding, averaged, as distilled models do."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = convolution()
        self.head, self.head_distilled = nn.Linear(8, 4), nn.Linear(8, 4)

    def forward(self, image: Tensor) -> Tensor:
        embedding = self.convolution(image).mean((2, 3))
        return (self.head(embedding) + self.head_distilled(embedding)) / 2


class Residual(nn.Module):
    """The last block adds to what it was given, so that its inside knows only a part."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.block, self.head = convolution(), nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8, 4)

    def forward(self, image: Tensor) -> Tensor:
        features = self.stem(image)
        return self.head((features + self.block(features)).mean((2, 3)))


class TwoOutputs(nn.Module):
    """A module hands out its map twice, and only the second is read."""

    class Both(nn.Module):
        def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
            return features, features

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.both, self.head = convolution(), self.Both(), nn.Linear(8, 4)

    def forward(self, image: Tensor) -> Tensor:
        _, features = self.both(self.stem(image))
        return self.head(features.mean((2, 3)))


class UnusedReturn(nn.Module):
    """An in-place module is called for its effect alone."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.act, self.head = convolution(), nn.ReLU(inplace=True), nn.Linear(8, 4)

    def forward(self, image: Tensor) -> Tensor:
        features = self.stem(image)
        self.act(features)
        return self.head(features.mean((2, 3)))


class Twice(nn.Module):
    """One block is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.block, self.head = convolution(), nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8, 4)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.block(self.block(self.stem(image)).tanh()).mean((2, 3)))


class Branches(nn.Module):
    """Two branches over two images' worth of channels meet in the head only."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.head = convolution(), convolution(), nn.Linear(16, 4)

    def forward(self, image: Tensor) -> Tensor:
        left, right = self.left(image).tanh().mean((2, 3)), self.right(image).tanh().mean((2, 3))
        return self.head(torch.cat([left, right], 1))


class ByValue(nn.Module):
    """Chooses by a value, which only a model with weights can."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = convolution(), nn.Linear(8, 4)

    def forward(self, image: Tensor) -> Tensor:
        features = self.stem(image)
        return self.head((-features if features.sum().item() > 1e9 else features).mean((2, 3)))


def found(model: nn.Module, **named: str) -> Route:
    return find_route(model, (3, 16, 16), **named)


def carries(model: nn.Module, **named: str) -> bool:
    """Whether other features make the logits that they should."""
    classifier = Classifier(model.eval(), input_size=(3, 16, 16), **named)
    image = torch.randn(2, 3, 16, 16)
    cut = classifier(image, edit=lambda features: features.detach().roll(1, 0)).logits
    return torch.allclose(cut, classifier(image).logits.roll(1, 0), atol=1e-6)


@pytest.mark.parametrize("model", [Averaged, Residual, TwoOutputs, UnusedReturn, Twice, ByValue])
def test_features_carry_everything(model):
    assert carries(model())


def test_several_heads_are_none():
    route = found(Averaged())
    assert route.head is None
    assert not route.linear
    output = Classifier(Averaged())(torch.randn(2, 3, 16, 16))
    assert output.embedding.shape == (2, 16)


def test_a_residual_is_not_mistaken_for_the_sum():
    route = found(Residual())
    assert route.features == Site("stem", "output")
    assert not route.linear


def test_the_second_use_of_a_block_is_meant():
    assert found(Twice()).features == Site("block", "output", call=1)


def test_in_place_changes_are_part_of_the_features():
    image = torch.randn(2, 3, 16, 16)
    output = Classifier(UnusedReturn())(image)
    assert (output.features >= 0).all()
    assert output.features.any()


def test_embedding_is_read_before_dropout():
    model = nn.Sequential(convolution(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(8, 4))
    classifier = Classifier(model.train(), input_size=(3, 16, 16))
    image = torch.randn(2, 3, 16, 16)
    output = classifier(image)
    assert torch.allclose(output.embedding, output.features.mean((2, 3)), atol=1e-6)


class Multilayer(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(768, 12), nn.ReLU(), nn.Linear(12, 4))


def message(model: nn.Module, **named: str) -> str:
    with pytest.raises(InputError) as error:
        found(model, **named)
    return str(error.value)


def test_a_model_without_a_map_is_told_what_lies_on_its_path():
    text = message(Multilayer())
    assert text.startswith("No layer of Multilayer hands out a feature map")
    assert "\n  3  (B, 4)\n  2  (B, 12)\n  1  (B, 12)\n  0  (B, 768)\n" in text
    assert "Classifier(model, features='map')" in text


def test_branches_are_told_their_maps():
    text = message(Branches())
    assert text.startswith("Branches has no feature map through which everything passes on the way to the logits.")
    assert "\n  right  (B, 8, 8, 8)\n  left   (B, 8, 8, 8)\n" in text
    assert text.endswith("Name one: Classifier(model, features='right').")
    assert found(Branches(), features="right").features.module == "right"


def test_a_named_layer_that_is_no_map_is_answered_with_those_that_are():
    text = message(Residual(), features="head")
    assert text.startswith("features='head' of Residual is no feature map on the path to the logits.")
    assert "\n  block  (B, 8, 8, 8)\n  stem   (B, 8, 8, 8)\n" in text


def test_a_named_head_that_takes_no_embedding_is_answered_with_those_that_do():
    text = message(Residual(), head="stem")
    assert text.startswith("head='stem' of Residual is no layer on the path to the logits that takes an embedding")
    assert text.endswith("\n  head  (B, 8)\nName one: Classifier(model, head='head').")


class NoLogits(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution = convolution()

    def forward(self, image: Tensor) -> Tensor:
        return self.convolution(image)


def test_a_model_without_logits_is_told_what_is_expected():
    assert message(NoLogits()).startswith("The model returned a tensor of shape (2, 8, 8, 8). Expected logits of shape")


class Detached(Residual):
    def forward(self, image: Tensor) -> Tensor:
        return super().forward(image.detach())


def test_logits_that_do_not_depend_on_the_image_are_refused():
    assert message(Detached()) == "The logits do not depend on the image in a way that can be differentiated."


class Function(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


@pytest.mark.parametrize(
    ("tail", "linear"),
    [
        ((Function(lambda x: x.mean((2, 3))), nn.Linear(8, 4)), True),
        ((Function(lambda x: x.mean((2, 3)).view(-1, 2, 4).mT.flatten(1)), nn.Linear(8, 4)), False),  # Shuffled.
        ((Function(lambda x: x.mean(1).flatten(1)), nn.Linear(64, 4)), False),  # Over the channels.
        ((nn.Conv2d(8, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()), True),
        ((nn.Conv2d(8, 4, 1, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten()), False),  # Most cells are never read.
    ],
)
def test_cam_is_exact_where_numbers_say_so(tail, linear):
    assert found(nn.Sequential(convolution(), nn.ReLU(), *tail)).linear == linear


def test_a_head_that_peft_keeps_has_its_closed_form():
    peft = pytest.importorskip("peft")
    model = nn.Sequential(convolution(), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    config = peft.LoraConfig(r=2, target_modules=["0"], modules_to_save=["4"])
    model = peft.get_peft_model(model, config)
    classifier = Classifier(model.eval(), input_size=(3, 16, 16))
    assert classifier.cam_is_exact
    assert classifier.head is model.base_model.model[4].modules_to_save["default"]
