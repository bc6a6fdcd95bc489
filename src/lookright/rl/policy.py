"""The agent's network: a classifier of frames into actions, with a critic on its embedding."""

import math
from typing import ClassVar, TypeVar

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from lookright.classifier import Classifier, Output

Layer = TypeVar("Layer", nn.Conv2d, nn.Linear)


class _Layers(nn.Sequential):
    """Layers that may work in bfloat16, all but the last one."""

    def __init__(self, *layers: nn.Module, half: bool) -> None:
        super().__init__(*layers)
        self.autocast = half

    def forward(self, input: Tensor) -> Tensor:
        *layers, last = self
        with torch.autocast(input.device.type, torch.bfloat16, enabled=self.autocast):
            for layer in layers:
                input = layer(input)
        return last(input.float())


class NatureCNN(nn.Module):
    """Frames to action logits.

    Mnih et al., "Human-level control through deep reinforcement learning", Nature 2015, with the initialisation of
    CleanRL's `ppo_atari.py`.

    Args:
        actions: number of logits.
        frames: how many grey frames are stacked as channels.
        size: their height and width, 44 or more.
        half: multiply in bfloat16; features, embedding and logits are float32 all the same.
    """

    convolutions: ClassVar[tuple[tuple[int, int, int], ...]] = ((32, 8, 4), (64, 4, 2), (64, 3, 1))
    """Channels, kernel and stride of each."""
    width: ClassVar[int] = 512

    def __init__(self, actions: int, frames: int = 4, size: int = 84, half: bool = False) -> None:
        super().__init__()
        self.input_size = (frames, size, size)
        layers: list[nn.Module] = []
        before, side = frames, size
        for channels, kernel, stride in self.convolutions:
            layers += [_initialised(nn.Conv2d(before, channels, kernel, stride=stride)), nn.ReLU()]
            before, side = channels, (side - kernel) // stride + 1
        self.features = _Layers(*layers, half=half)
        self.hidden = _Layers(nn.Flatten(), _initialised(nn.Linear(before * side**2, self.width)), nn.ReLU(), half=half)
        self.actor = _initialised(nn.Linear(self.width, actions), gain=0.01)

    def forward(self, image: Float[Tensor, "B frames size size"]) -> Float[Tensor, "B actions"]:
        """Frames in [0, 1] to logits."""
        return self.actor(self.hidden(self.features(image)))


class SmallCNN(NatureCNN):
    """The smaller network before it, a third of the multiplications, whose last convolution is finer: 9×9 for 84×84.

    Mnih et al., "Playing Atari with Deep Reinforcement Learning", 2013, arXiv 1312.5602.
    """

    convolutions: ClassVar[tuple[tuple[int, int, int], ...]] = ((16, 8, 4), (32, 4, 2))
    width: ClassVar[int] = 256


NETWORKS = {"nature": NatureCNN, "small": SmallCNN}


def _initialised(layer: Layer, gain: float = math.sqrt(2)) -> Layer:
    nn.init.orthogonal_(layer.weight, gain)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class Policy(nn.Module):
    """Actor and critic share everything up to the embedding.

    Kernels lie in memory with their channels last, which makes a step on the CPU shorter by a quarter to a half.

    Attributes:
        classifier: of frames into actions; its last convolution gives the attention maps, 7×7 of the Nature network.
        critic: value of the state.
    """

    def __init__(self, model: NatureCNN) -> None:
        super().__init__()
        self.classifier = Classifier(model, features="features", input_size=model.input_size)
        self.critic = _initialised(nn.Linear(model.actor.in_features, 1), gain=1.0)
        self.to(memory_format=torch.channels_last)

    def forward(self, image: Float[Tensor, "B frames size size"]) -> tuple[Output, Float[Tensor, " B"]]:
        """Action logits (with embedding and features) and value."""
        output = self.classifier(image)
        return output, self.critic(output.embedding).squeeze(1)


def as_image(frames: UInt8[Tensor, "..."]) -> Float[Tensor, "..."]:
    """What the network takes: 0 to 255 becomes 0 to 1."""
    return frames.to(torch.float32) / 255
