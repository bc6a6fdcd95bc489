"""One forward of any classifier gives logits, embedding and features."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn


@dataclass(frozen=True)
class Output:
    """What one forward gives, all in the autograd graph.

    Attributes:
        logits: (B, K).
        embedding: (B, D), the input of the final linear layer, before dropout.
        features: (B, C, h, w), the last spatial feature map, on the path to the logits.
        whole: where these are some rows of a forward over more images, what that forward gave: a slice of the features
            is not on the path to the logits, so a gradient is taken with respect to `whole.features`.
        start: the first of these rows in `whole`.
    """

    logits: Float[Tensor, "B K"]
    embedding: Float[Tensor, "B D"]
    features: Float[Tensor, "B C h w"]
    whole: "Output | None" = None
    start: int = 0

    def rows(self, start: int, stop: int) -> "Output":
        """The output of the images from `start` to before `stop`."""
        return Output(
            self.logits[start:stop],
            self.embedding[start:stop],
            self.features[start:stop],
            self.whole or self,
            self.start + start,
        )


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module into eval mode, and every submodule back into its own mode afterwards.

    >>> block = nn.Sequential(nn.Dropout(), nn.BatchNorm2d(3).eval())
    >>> with evaluating(block):
    ...     block.training
    False
    >>> block.training, block[0].training, block[1].training
    (True, True, False)
    """
    modes = [(submodule, submodule.training) for submodule in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for submodule, mode in modes:
            submodule.training = mode


class Classifier(nn.Module):
    """Wraps the user's own classifier, which stays `classifier.model`, unchanged.

    >>> import timm
    >>> classifier = Classifier(timm.create_model("resnet18", num_classes=10))
    >>> output = classifier(torch.zeros(2, 3, 64, 64))
    >>> output.logits.shape, output.embedding.shape, output.features.shape
    (torch.Size([2, 10]), torch.Size([2, 512]), torch.Size([2, 512, 2, 2]))
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    @property
    def head(self) -> nn.Linear:
        """The final linear layer."""
        return [module for module in self.model.modules() if isinstance(module, nn.Linear)][-1]

    def has_linear_map(self, output: Output) -> bool:
        """Whether the head is average pooling + Linear, so that the class activation map is exact."""
        pooled = output.features.mean((2, 3))
        return pooled.shape == output.embedding.shape and torch.allclose(pooled, output.embedding, rtol=1e-2, atol=1e-3)

    def forward(self, image: Float[Tensor, "B C H W"]) -> Output:
        """Run the model once."""
        captured: dict[str, Tensor] = {}
        pool = self.model.global_pool if hasattr(self.model, "global_pool") else self.model.avgpool  # type: ignore
        hooks = [
            pool.register_forward_pre_hook(lambda _, args: captured.update(features=args[0])),
            self.head.register_forward_pre_hook(lambda _, args: captured.update(embedding=args[0])),
        ]
        try:
            logits = self.model(image)
        finally:
            for hook in hooks:
                hook.remove()
        return Output(logits, captured["embedding"], captured["features"])
