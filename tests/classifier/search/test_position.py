"""Each cell of the features lies where the image was changed, however patches are cut and wherever other tokens are."""

import warnings

import pytest
import timm
import torch
from torch import Tensor, nn

from lookright import Classifier, InputError


class Vit(nn.Module):
    """Patches of any size and stride, other tokens before, behind or amid them, either order of the axes."""

    def __init__(self, size, patch=8, stride=None, extra=0, where="before", batch_first=True, depth=2):
        super().__init__()
        self.cut = nn.Conv2d(3, 16, patch, stride or patch)
        self.grid = tuple(self.cut(torch.zeros(1, 3, *size)).shape[2:])
        cells = self.grid[0] * self.grid[1]
        self.place = nn.Parameter(torch.randn(cells, 16) * 0.02)
        self.token, self.extra = nn.Parameter(torch.randn(1, 1, 16)), nn.Parameter(torch.randn(1, extra, 16))
        layer = nn.TransformerEncoderLayer(16, 2, 16, batch_first=batch_first, norm_first=True)
        self.blocks = nn.Sequential(
            *(nn.TransformerEncoder(layer, 1, enable_nested_tensor=False) for _ in range(depth))
        )
        self.head = nn.Linear(16, 4)
        self.where, self.batch_first, self.half = where, batch_first, cells // 2

    def forward(self, image: Tensor) -> Tensor:
        x = self.cut(image).flatten(2).transpose(1, 2) + self.place
        token, extra = (tokens.expand(len(x), -1, -1) for tokens in (self.token, self.extra))
        if self.where == "amid":
            x = torch.cat([x[:, : self.half], token, x[:, self.half :]], 1)
        else:
            x = torch.cat([token, extra, x] if self.where == "before" else [x, extra, token], 1)
        x = self.blocks(x) if self.batch_first else self.blocks(x.transpose(0, 1)).transpose(0, 1)
        return self.head(x[:, {"before": 0, "behind": -1, "amid": self.half}[self.where]])


def made(build, *arguments, **named):
    torch.manual_seed(0)
    return build(*arguments, **named).eval()


def assert_cells_lie_where_they_say(classifier: Classifier, size: tuple[int, int]) -> None:
    image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        plain = classifier(image).features
        rows, columns = plain.shape[2:]
        height, width = size[0] // rows, size[1] // columns
        for row in range(rows):
            column = row % columns
            changed = image.clone()
            changed[:, :, row * height : (row + 1) * height, column * width : (column + 1) * width] += 5
            moved = (classifier(changed).features - plain).abs().sum((0, 1))
            assert divmod(int(moved.argmax()), columns) == (row, column)


@pytest.mark.parametrize(
    ("size", "arguments", "prefix", "suffix"),
    [
        ((64, 64), {"patch": (8, 16)}, 1, 0),
        ((48, 96), {"patch": (16, 8)}, 1, 0),
        ((64, 128), {"patch": (16, 4)}, 1, 0),
        ((40, 40), {"extra": 4}, 5, 0),
        ((40, 40), {"extra": 10, "where": "behind"}, 0, 11),
        ((40, 56), {"batch_first": False}, 1, 0),
        ((40, 40), {"extra": 40}, 41, 0),
    ],
)
def test_patches_are_found_among_the_tokens(size, arguments, prefix, suffix):
    model = made(Vit, size, **arguments)
    classifier = Classifier(model, input_size=(3, *size))
    grid = classifier.route.grid
    assert (grid.size, grid.prefix, grid.suffix) == (model.grid, prefix, suffix)
    assert classifier.route.features.module.startswith("blocks.1")
    assert_cells_lie_where_they_say(classifier, size)


def test_patches_that_overlap():
    model = made(Vit, (64, 32), patch=16, stride=6)
    classifier = Classifier(model, input_size=(3, 64, 32))
    assert classifier(torch.randn(2, 3, 64, 32)).features.shape[2:] == model.grid == (9, 3)


def test_tokens_amid_the_patches_are_refused():
    with pytest.raises(InputError, match=r"Vit has other tokens amid its \(5, 5\) patches"):
        Classifier(made(Vit, (40, 40), where="amid"), input_size=(3, 40, 40))


class LinearPatches(nn.Module):
    """No convolution: patches are cut by reshaping, with sides that the image's proportions do not tell."""

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.rows, self.columns = rows, columns
        self.embed = nn.Linear(3 * (32 // rows) * (32 // columns), 16)
        self.encoder = nn.TransformerEncoderLayer(16, 2, 16, batch_first=True, norm_first=True)
        self.head = nn.Linear(16, 4)

    def forward(self, image: Tensor) -> Tensor:
        cut = image.unflatten(3, (self.columns, -1)).unflatten(2, (self.rows, -1))
        return self.head(self.encoder(self.embed(cut.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2))).mean(1))


def test_without_a_convolution_the_proportions_are_tried_on_the_image():
    assert Classifier(made(LinearPatches, 4, 4), input_size=(3, 32, 32)).route.grid.size == (4, 4)
    with pytest.raises(InputError, match="No layer of LinearPatches hands out a feature map"):
        Classifier(made(LinearPatches, 2, 8), input_size=(3, 32, 32))


def test_the_user_says_the_grid():
    classifier = Classifier(made(LinearPatches, 2, 8), input_size=(3, 32, 32), grid=(2, 8), prefix=0)
    assert_cells_lie_where_they_say(classifier, (32, 32))
    with pytest.raises(InputError, match=r"prefix=1 and grid=None"):
        Classifier(made(LinearPatches, 2, 8), prefix=1)
    with pytest.raises(InputError, match=r"\(0, 8\) for grid=\(h, w\)"):
        Classifier(made(LinearPatches, 2, 8), grid=(0, 8))


class OverTime(nn.Module):
    """A CNN, the mean over frequencies, a layer over time: nothing after the mean is a map of the image."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, width, 3, 4, 1), nn.ReLU())
        self.time, self.head = nn.Conv1d(width, width, 3, 1, 1), nn.Linear(width, 4)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.time(self.body(image).mean(2)).relu().mean(2))


@pytest.mark.parametrize(("width", "size"), [(64, (64, 64)), (16, (64, 64)), (24, (64, 100))])
def test_a_sequence_is_not_taken_for_patches(width, size):
    classifier = Classifier(made(OverTime, width), input_size=(1, *size))
    assert classifier.route.features.module.startswith("body")
    assert classifier(torch.randn(1, 1, *size)).features.shape[2:] == (size[0] // 4, size[1] // 4)


@pytest.mark.parametrize(("strides", "size"), [([(2, 2), (2, 1)], (32, 96)), ([(2, 1), (2, 1)], (64, 100))])
def test_sides_that_are_strided_unevenly(strides, size):
    layers = [nn.Sequential(nn.Conv2d(c, 8, 3, s, 1), nn.ReLU()) for c, s in zip((3, 8), strides)]
    body = nn.Sequential(*layers)
    model = nn.Sequential(body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)).eval()
    for named in ({}, {"features": "0"}):
        classifier = Classifier(model, input_size=(3, *size), **named)
        assert classifier.cam_is_exact
        assert classifier(torch.zeros(1, 3, *size)).features.shape[2:] == body(torch.zeros(1, 3, *size)).shape[2:]


@pytest.mark.parametrize("layer", ["blocks.1", "blocks.1.norm2", "norm"])
def test_a_layer_after_which_the_class_token_is_read_alone_is_refused(layer):
    model = timm.create_model("vit_tiny_patch16_224", img_size=32, embed_dim=16, depth=2, num_heads=2, num_classes=4)
    with pytest.raises(InputError, match=rf"After features='{layer}' .* only the class token.*name 'blocks\.0'"):
        Classifier(model, features=layer)


class Hidden(nn.Module):
    """Flattens its map early, in a way that no layer can be read after."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 4, 4)
        self.layers = nn.ModuleList(nn.Conv1d(8, 8, 3, 1, 1) for _ in range(6))
        self.head = nn.Linear(8, 4)

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image).flatten(2)[:, :, ::2]
        for layer in self.layers:
            x = layer(x).relu()
        return self.head(x.mean(2))


def test_features_before_most_layers_are_told():
    with pytest.warns(UserWarning, match="The features of Hidden are taken at 'stem', before most of its layers"):
        Classifier(Hidden(), input_size=(3, 32, 32))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Classifier(timm.create_model("test_resnet"))
