"""One small member of each family: logits, features, embedding and map are what they are said to be."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest
import timm
import torch
import torchvision.models as tv
from timm.models.mlp_mixer import MlpMixer
from torch import Tensor, nn
from torchvision.models.densenet import DenseNet
from torchvision.models.efficientnet import MBConvConfig
from torchvision.models.resnet import BasicBlock, Bottleneck
from torchvision.models.swin_transformer import PatchMergingV2, SwinTransformerBlockV2
from torchvision.models.vgg import VGG, make_layers

from lookright import Classifier, Output
from lookright.attribution import cam, class_map

CLASSES = 5


@dataclass(frozen=True)
class Family:
    """A model and what is to be found in it: the map, its grid, the tokens before the patches, the embedding."""

    build: Callable[[], nn.Module]
    size: int | tuple[int, int]
    map: str
    grid: tuple[int, int]
    embedding: int
    prefix: int = 0


def tiny_timm(name: str, **arguments: object) -> Callable[[], nn.Module]:
    return partial(timm.create_model, name, num_classes=CLASSES, **arguments)


def tiny_vit(name: str = "vit_tiny_patch16_224", **arguments: object) -> Callable[[], nn.Module]:
    return tiny_timm(name, **{"img_size": 64, "embed_dim": 32, "depth": 2, "num_heads": 2} | arguments)


def hugging_face(name: str, **arguments: object) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        transformers = pytest.importorskip("transformers")
        config = getattr(transformers, f"{name}Config")(num_labels=CLASSES, **arguments)
        return getattr(transformers, f"{name}ForImageClassification")(config)

    return build


TRANSFORMER = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}


def vgg() -> nn.Module:
    model = VGG(make_layers([8, "M", 8, "M", 8, "M"]), num_classes=CLASSES)
    model.avgpool = nn.AdaptiveAvgPool2d(2)
    model.classifier[0], model.classifier[3] = nn.Linear(32, 16), nn.Linear(16, 16)
    model.classifier[6] = nn.Linear(16, CLASSES)
    return model


def alexnet() -> nn.Module:
    with torch.device("meta"):  # Its own classifier has 54 million parameters.
        model = tv.alexnet(num_classes=CLASSES)
    model.classifier = nn.Sequential(nn.Dropout(), nn.Linear(9216, 16), nn.ReLU(inplace=True), nn.Linear(16, CLASSES))
    return model.to_empty(device="cpu")


def squeezed(expansion: int, channels: int) -> MBConvConfig:
    return MBConvConfig(expansion, 3, 2, channels, channels, 1)


class Patches(nn.Module):
    """`nn.TransformerEncoder` on patches, their mean, a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 16, 8, 8)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 2)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.encoder(self.embed(image).flatten(2).transpose(1, 2)).mean(1))


class Functional(nn.Module):
    """In-place ReLU and pooling outside any module."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, 2, padding=1)
        self.second = nn.Conv2d(8, 16, 3, 2, padding=1)
        self.fc = nn.Linear(16, CLASSES)

    def forward(self, image: Tensor) -> Tensor:
        return self.fc(self.second(self.first(image).relu_()).relu_().mean((2, 3)))


class OwnHead(nn.Module):
    """A head of parameters, without a module."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 3, 2, padding=1)
        self.act = nn.ReLU()
        self.weight = nn.Parameter(torch.randn(CLASSES, 8))

    def forward(self, image: Tensor) -> Tensor:
        embedding = self.act(self.convolution(image)).mean((2, 3))
        return nn.functional.normalize(embedding) @ nn.functional.normalize(self.weight).T


def sequential(*head: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True), *head)


FAMILIES = {
    "torchvision ResNet": Family(lambda: tv.ResNet(BasicBlock, [1, 1, 1, 1], CLASSES), 64, "cam", (2, 2), 512),
    "torchvision ResNeXt": Family(
        lambda: tv.ResNet(Bottleneck, [1, 1, 1, 1], CLASSES, groups=8, width_per_group=4), 64, "cam", (2, 2), 2048
    ),
    "torchvision DenseNet": Family(lambda: DenseNet(4, (2, 2, 2, 2), 8, num_classes=CLASSES), 64, "cam", (2, 2), 16),
    "torchvision EfficientNet": Family(
        lambda: tv.EfficientNet([squeezed(1, 16), squeezed(2, 16)], 0.2, num_classes=CLASSES), 32, "cam", (4, 4), 64
    ),
    "torchvision MobileNet v2": Family(
        lambda: tv.mobilenet_v2(num_classes=CLASSES, width_mult=0.25), 64, "cam", (2, 2), 1280
    ),
    "torchvision MobileNet v3": Family(
        lambda: tv.mobilenet_v3_small(num_classes=CLASSES), 64, "grad_cam", (2, 2), 1024
    ),
    "torchvision ShuffleNet": Family(lambda: tv.shufflenet_v2_x0_5(num_classes=CLASSES), 64, "cam", (2, 2), 1024),
    "torchvision RegNet": Family(lambda: tv.regnet_x_400mf(num_classes=CLASSES), 64, "cam", (2, 2), 400),
    "torchvision ConvNeXt": Family(
        lambda: tv.ConvNeXt([tv.convnext.CNBlockConfig(16, None, 2)], num_classes=CLASSES), 32, "grad_cam", (8, 8), 16
    ),
    "torchvision VGG": Family(vgg, 64, "grad_cam", (2, 2), 16),
    "torchvision AlexNet": Family(alexnet, 224, "grad_cam", (6, 6), 16),
    "torchvision SqueezeNet": Family(lambda: tv.squeezenet1_1(num_classes=CLASSES), 64, "grad_cam", (3, 3), 512),
    "torchvision MNASNet": Family(lambda: tv.mnasnet0_5(num_classes=CLASSES), 64, "cam", (2, 2), 1280),
    "torchvision Inception v3": Family(
        lambda: tv.inception_v3(num_classes=CLASSES, init_weights=False), 128, "cam", (2, 2), 2048
    ),
    "torchvision GoogLeNet": Family(
        lambda: tv.googlenet(num_classes=CLASSES, init_weights=False), 64, "cam", (2, 2), 1024
    ),
    "torchvision ViT": Family(
        lambda: tv.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=CLASSES), 32, "grad_cam", (4, 4), 16, prefix=1
    ),
    "torchvision Swin": Family(
        lambda: tv.SwinTransformer([4, 4], 8, [1, 1], [1, 2], [4, 4], num_classes=CLASSES), 64, "cam", (8, 8), 16
    ),
    "torchvision Swin v2": Family(
        lambda: tv.SwinTransformer(
            *([4, 4], 8, [1, 1], [1, 2], [4, 4]),
            num_classes=CLASSES,
            block=SwinTransformerBlockV2,
            downsample_layer=PatchMergingV2,
        ),
        *(64, "cam", (8, 8), 16),
    ),
    "torchvision MaxViT": Family(
        lambda: tv.MaxVit((64, 64), 8, 4, [8, 16], [1, 1], 8, 0.0, num_classes=CLASSES), 64, "grad_cam", (8, 8), 16
    ),
    "timm ResNet": Family(tiny_timm("test_resnet"), 64, "cam", (2, 2), 96),
    "timm ConvNeXt": Family(tiny_timm("test_convnext"), 64, "grad_cam", (2, 2), 64),
    "timm EfficientNet": Family(tiny_timm("test_efficientnet"), 64, "cam", (2, 2), 256),
    "timm MaxViT": Family(tiny_timm("test_maxvit", img_size=64), 64, "cam", (2, 2), 128),
    "timm Swin": Family(
        tiny_timm(
            "swin_tiny_patch4_window7_224", img_size=64, window_size=4, embed_dim=8, depths=(1, 1), num_heads=(1, 2)
        ),
        *(64, "cam", (8, 8), 16),
    ),
    "timm ViT": Family(tiny_vit(), 64, "grad_cam", (4, 4), 32, prefix=1),
    "timm ViT, not square": Family(tiny_vit(img_size=(32, 96)), (32, 96), "grad_cam", (2, 6), 32, prefix=1),
    "timm ViT with registers": Family(tiny_vit(reg_tokens=4), 64, "grad_cam", (4, 4), 32, prefix=5),
    "timm ViT, distilled": Family(tiny_vit("deit_tiny_distilled_patch16_224"), 64, "grad_cam", (4, 4), 64, prefix=2),
    "timm ViT without class token": Family(
        tiny_vit(class_token=False, global_pool="avg", fc_norm=False), 64, "cam", (4, 4), 32
    ),
    "timm ViT, average": Family(tiny_vit(global_pool="avg", fc_norm=False), 64, "cam", (4, 4), 32, prefix=1),
    "timm ViT, average and norm": Family(tiny_vit(global_pool="avg"), 64, "grad_cam", (4, 4), 32, prefix=1),
    "timm hybrid ViT": Family(
        tiny_timm("vit_tiny_r_s16_p8_224", img_size=64, embed_dim=32, depth=2, num_heads=2),
        *(64, "grad_cam", (2, 2), 32, 1),
    ),
    "timm Mixer": Family(
        lambda: MlpMixer(CLASSES, 64, patch_size=32, embed_dim=16, num_blocks=2), 64, "cam", (2, 2), 16
    ),
    "Hugging Face ViT": Family(hugging_face("ViT", **TRANSFORMER), 32, "grad_cam", (4, 4), 16, prefix=1),
    "Hugging Face DeiT": Family(hugging_face("DeiT", **TRANSFORMER), 32, "grad_cam", (4, 4), 16, prefix=2),
    "Hugging Face DINOv2": Family(hugging_face("Dinov2", **TRANSFORMER), 32, "grad_cam", (4, 4), 32, prefix=1),
    "Hugging Face Swin": Family(
        hugging_face("Swin", embed_dim=8, depths=[1, 1], num_heads=[1, 2], window_size=4, image_size=64, patch_size=4),
        *(64, "cam", (8, 8), 16),
    ),
    "Hugging Face ResNet": Family(
        hugging_face("ResNet", embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic"),
        *(32, "cam", (4, 4), 16),
    ),
    "Hugging Face ConvNeXt": Family(
        hugging_face("ConvNext", hidden_sizes=[8, 16], depths=[1, 1], num_stages=2), 32, "grad_cam", (4, 4), 16
    ),
    "Hugging Face MobileNet": Family(hugging_face("MobileNetV2", depth_multiplier=0.25), 64, "cam", (2, 2), 1280),
    "sequential": Family(
        lambda: sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(), nn.Linear(8, CLASSES)),
        *(16, "cam", (8, 8), 8),
    ),
    "sequential, hidden layer": Family(
        lambda: sequential(nn.Flatten(), nn.Linear(512, 16), nn.ReLU(), nn.Linear(16, CLASSES)),
        *(16, "grad_cam", (8, 8), 16),
    ),
    "sequential, convolution for a head": Family(
        lambda: sequential(nn.Conv2d(8, CLASSES, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()), 16, "cam", (8, 8), 8
    ),
    "own network of patches": Family(Patches, 32, "cam", (4, 4), 16),
    "own network of functions": Family(Functional, 16, "cam", (4, 4), 16),
    "own network without a head": Family(OwnHead, 16, "grad_cam", (8, 8), 8),
}


@dataclass(frozen=True)
class Case:
    family: Family
    classifier: Classifier
    image: Tensor
    output: Output


@pytest.fixture(scope="module", params=FAMILIES)
def case(request: pytest.FixtureRequest) -> Case:
    family = FAMILIES[request.param]
    if request.param == "timm MaxViT" and not timm.is_model("test_maxvit"):
        pytest.skip("this timm is older than its small MaxViT")
    generator = torch.Generator().manual_seed(0)
    model = family.build().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
    with torch.no_grad():  # Zeros of an initialisation, as in residual scales, would hide the rest.
        for parameter in model.parameters():
            fan = parameter[0].numel() if parameter.ndim > 1 else 16
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * fan**-0.5)
    size = family.size if isinstance(family.size, tuple) else (family.size, family.size)
    image = torch.randn(2, 3, *size, generator=generator)
    classifier = Classifier(model)
    return Case(family, classifier, image, classifier(image))


def test_logits_are_those_of_the_plain_model(case):
    plain = case.classifier.model(case.image)
    plain = getattr(plain, "logits", plain)
    if case.classifier.cam_is_exact:
        assert torch.equal(case.output.logits, plain)
    else:  # Attention after the features runs with another kernel.
        assert torch.allclose(case.output.logits, plain, rtol=1e-5, atol=1e-6)


def test_features_and_embedding_are_the_expected_ones(case):
    assert case.output.features.shape[2:] == case.family.grid
    assert case.output.embedding.shape == (2, case.family.embedding)
    assert case.classifier.route.grid.prefix == case.family.prefix
    assert case.classifier.cam_is_exact == (case.family.map == "cam")


def test_logits_follow_the_features(case):
    gradient = torch.autograd.grad(case.output.logits.sum(), case.output.features, retain_graph=True)[0]
    assert (gradient.flatten(1) != 0).any(1).all()
    changed = case.classifier(case.image, edit=torch.zeros_like).logits
    assert not torch.allclose(changed, case.output.logits)


def test_nothing_but_features_and_prefix_tokens_carries_the_image(case):
    if case.family.prefix and not case.classifier.route.methods:
        return  # The class token goes on beside the features.
    image = case.image.clone().requires_grad_()
    cut = case.classifier(image, edit=Tensor.detach).logits
    gradient = torch.autograd.grad(cut.sum(), image, allow_unused=True)[0]
    assert gradient is None or not gradient.any()


def test_an_edit_that_changes_nothing_changes_nothing(case):
    assert torch.equal(case.classifier(case.image, edit=torch.clone).logits, case.output.logits)


def test_embedding_is_what_enters_the_head(case):
    if case.classifier.head is None:
        return
    entered = []
    hook = case.classifier.head.register_forward_pre_hook(lambda _, args: entered.append(args[0]))
    output = case.classifier(case.image)
    hook.remove()
    assert torch.equal(output.embedding, entered[0].flatten(1))


def test_the_closed_form_map_adds_up_to_the_logit(case):
    target = torch.tensor([1, 3])
    map = class_map(case.classifier, case.output, target)
    assert map.isfinite().all()
    assert map.shape == (2, *case.family.grid)
    if case.classifier.cam_is_exact:
        bias = case.classifier.model.get_submodule(case.classifier.route.head).bias
        logit = case.output.logits.gather(1, target[:, None])[:, 0]
        total = cam(case.classifier, case.output, target).mean((1, 2)) + bias[target]
        assert torch.allclose(total, logit, rtol=1e-4, atol=1e-4 * logit.abs().max().item())
