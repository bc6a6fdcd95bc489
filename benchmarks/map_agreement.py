"""How well our maps agree with those of pytorch-grad-cam and captum, before any resizing.

Ten architectures with random weights explain two noise images each. The peers are given the layer that `Classifier`
finds, as a module that hands it out as (B, C, h, w), since they find no layer themselves and captum averages over the
wrong axis of tokens. An eleventh row shows that DenseNet differs for its in-place ReLU alone. The figure is the
smallest Pearson correlation over the images. A map that varies by no more than rounding has none: it is called flat.

    pip install grad-cam captum
    python benchmarks/map_agreement.py
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import timm
import torch
import torchvision
from captum.attr import LayerGradCam
from pytorch_grad_cam import GradCAM, GradCAMPlusPlus, HiResCAM, LayerCAM
from torch import Tensor, nn

from lookright import Classifier
from lookright.attribution import grad_cam, grad_cam_plus_plus, hires_cam, layer_cam
from lookright.classifier.tap import tapped

CLASSES = 10
SIZE = 64
IMAGES = 2
SCALE = 1000.0  # Of the logits, so that the constant in the peer's Grad-CAM++ no longer weighs.
FLAT = 1e-4  # Standard deviation of a map, as a share of that of the products it sums.


def densenet_with_relu_module() -> nn.Module:
    """torchvision's ends in an in-place ReLU that is no module and overwrites what a hook before it has seen."""
    model = torchvision.models.densenet121(num_classes=CLASSES)
    return nn.Sequential(model.features, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), model.classifier)


ARCHITECTURES: dict[str, Callable[[], nn.Module]] = {
    "torchvision resnet18": lambda: torchvision.models.resnet18(num_classes=CLASSES),
    "torchvision densenet121": lambda: torchvision.models.densenet121(num_classes=CLASSES),
    "torchvision densenet121, ReLU as a module": densenet_with_relu_module,
    "torchvision vgg11_bn": lambda: torchvision.models.vgg11_bn(num_classes=CLASSES),
    "torchvision mobilenet_v3_small": lambda: torchvision.models.mobilenet_v3_small(num_classes=CLASSES),
    "torchvision shufflenet_v2_x0_5": lambda: torchvision.models.shufflenet_v2_x0_5(num_classes=CLASSES),
    "timm efficientnet_b0": lambda: timm.create_model("efficientnet_b0", num_classes=CLASSES),
    "timm convnext_atto": lambda: timm.create_model("convnext_atto", num_classes=CLASSES),
    "timm regnety_002": lambda: timm.create_model("regnety_002", num_classes=CLASSES),
    "timm vit_tiny_patch16_224": lambda: timm.create_model("vit_tiny_patch16_224", num_classes=CLASSES, img_size=SIZE),
    "timm swin_tiny_patch4_window7_224": lambda: timm.create_model(
        "swin_tiny_patch4_window7_224", num_classes=CLASSES, img_size=SIZE
    ),
}


class WithFeatures(nn.Module):
    """The plain model, with its features passing an `nn.Identity` as (B, C, h, w) for the peers to hook."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.model, self.route, self.features = classifier.model, classifier.route, nn.Identity()

    def forward(self, image: Tensor) -> Tensor:
        """The logits."""

        def through(tensor: Tensor) -> Tensor:
            features = self.route.grid.features(tensor)
            return self.route.grid.restore(self.features(features), tensor)

        with tapped(self.model, [(self.route.features, through)]):
            return self.model(image)


def peer_map(kind: type, model: WithFeatures, image: Tensor, target: Tensor, scale: float = 1.0) -> np.ndarray:
    """The map of pytorch-grad-cam before its ReLU, min-max and resizing."""
    with kind(model, [model.features]) as cam:
        targets = [lambda logits, label=label: scale * logits[label] for label in target.tolist()]
        cam(image, targets)
        read = cam.activations_and_grads
        features, gradient = read.activations[0].numpy(), read.gradients[0].numpy()
        return cam.get_cam_image(image, model.features, targets, features, gradient, eigen_smooth=False)


def correlation(ours: Tensor, theirs: np.ndarray, terms: Tensor) -> float:
    """The smallest over the images; NaN where one of the maps is flat."""
    pairs = list(zip(ours.detach().double().numpy(), theirs.astype(float), terms.detach(), strict=True))
    if any(map.std() <= FLAT * float(products.std()) for own, their, products in pairs for map in (own, their)):
        return float("nan")
    return min(float(np.corrcoef(own.ravel(), their.ravel())[0, 1]) for own, their, _ in pairs)


def compare(make: Callable[[], nn.Module], size: int = SIZE) -> dict[str, float]:
    """Correlations of each map with each peer's, for one architecture."""
    torch.manual_seed(0)
    classifier = Classifier(make().eval(), input_size=(3, size, size))
    image = torch.randn(IMAGES, 3, size, size)
    target = torch.arange(IMAGES) % CLASSES
    with torch.no_grad():  # A torchvision ViT starts with a head of zeros, and attention with nothing to attend to.
        for parameter in classifier.parameters():
            if parameter.ndim > 1:
                parameter += 0.02 * torch.randn_like(parameter)
    output = classifier(image)
    model = WithFeatures(classifier)
    products = (
        output.features
        * torch.autograd.grad(output.logits.gather(1, target[:, None]).sum(), output.features, retain_graph=True)[0]
    )
    captum = LayerGradCam(model, model.features).attribute(image, target=target)[:, 0].detach().numpy()
    result = {
        "grad_cam, captum": correlation(grad_cam(classifier, output, target), captum, products),
    }
    for map, kind in ((grad_cam, GradCAM), (hires_cam, HiResCAM), (layer_cam, LayerCAM)):
        theirs = peer_map(kind, model, image, target)
        result[map.__name__] = correlation(map(classifier, output, target), theirs, products)
    for name, scale in (("grad_cam_plus_plus", 1.0), (f"grad_cam_plus_plus, logits × {SCALE:g}", SCALE)):
        scaled = replace(output, logits=scale * output.logits)
        theirs = peer_map(GradCAMPlusPlus, model, image, target, scale)
        result[name] = correlation(grad_cam_plus_plus(classifier, scaled, target), theirs, products)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "map_agreement.csv")
    arguments = parser.parse_args()
    rows = []
    for name, make in ARCHITECTURES.items():
        rows.append({"architecture": name, **compare(make)})
        print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    temporary = arguments.out.with_suffix(".tmp")
    table.to_csv(temporary, index=False, float_format="%.7f", na_rep="flat")
    temporary.replace(arguments.out)


if __name__ == "__main__":
    main()
