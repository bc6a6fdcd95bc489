"""The agent's network: a classifier of frames into actions, with a critic on its embedding."""

import math

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from lookright.classifier import Classifier, Output


class NatureCNN(nn.Module):
    """Frames to action logits.

    Mnih et al., "Human-level control through deep reinforcement learning", Nature 2015, with the initialisation of
    CleanRL's `ppo_atari.py`.

    Args:
        actions: number of logits.
        frames: how many grey frames, 84×84, are stacked as channels.
    """

    def __init__(self, actions: int, frames: int = 4) -> None:
        super().__init__()
        self.input_size = (frames, 84, 84)
        self.features = nn.Sequential(
            _initialised(nn.Conv2d(frames, 32, 8, stride=4)),
            nn.ReLU(),
            _initialised(nn.Conv2d(32, 64, 4, stride=2)),
            nn.ReLU(),
            _initialised(nn.Conv2d(64, 64, 3, stride=1)),
            nn.ReLU(),
        )
        self.hidden = nn.Sequential(nn.Flatten(), _initialised(nn.Linear(64 * 7 * 7, 512)), nn.ReLU())
        self.actor = _initialised(nn.Linear(512, actions), gain=0.01)

    def forward(self, image: Float[Tensor, "B frames 84 84"]) -> Float[Tensor, "B actions"]:
        """Frames in [0, 1] to logits."""
        return self.actor(self.hidden(self.features(image)))


def _initialised(layer: nn.Conv2d | nn.Linear, gain: float = math.sqrt(2)) -> nn.Module:
    nn.init.orthogonal_(layer.weight, gain)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class Policy(nn.Module):
    """Actor and critic share everything up to the embedding.

    Attributes:
        classifier: of frames into actions; its last convolution gives the 7×7 attention maps.
        critic: value of the state.
    """

    def __init__(self, model: NatureCNN) -> None:
        super().__init__()
        self.classifier = Classifier(model, features="features", input_size=model.input_size)
        self.critic = _initialised(nn.Linear(512, 1), gain=1.0)

    def forward(self, image: Float[Tensor, "B frames 84 84"]) -> tuple[Output, Float[Tensor, " B"]]:
        """Action logits (with embedding and features) and value."""
        output = self.classifier(image)
        return output, self.critic(output.embedding).squeeze(1)


def as_image(frames: UInt8[Tensor, "..."]) -> Float[Tensor, "..."]:
    """What the network takes: 0 to 255 becomes 0 to 1."""
    return frames.to(torch.float32) / 255
