"""A network that trains from scratch in a minute on two CPU cores, for demonstrations and tests."""

from torch import Tensor, nn


class SmallCNN(nn.Module):
    """Five 3×3 convolutions with BatchNorm and ReLU, average pooling and a linear head; stride 8.

    Args:
        num_classes: number of logits.
        width: channels of the first layer; the last has four times as many.
        in_chans: channels of the images.
    """

    def __init__(self, num_classes: int, width: int = 32, in_chans: int = 3) -> None:
        super().__init__()
        channels = [in_chans, width, 2 * width, 2 * width, 4 * width, 4 * width]
        strides = [2, 2, 1, 2, 1]
        layers: list[nn.Module] = []
        for inputs, outputs, stride in zip(channels[:-1], channels[1:], strides, strict=True):
            layers += [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(channels[-1], num_classes)

    def forward(self, image: Tensor) -> Tensor:
        """(B, in_chans, H, W) to logits (B, K)."""
        return self.fc(self.flatten(self.avgpool(self.features(image))))
