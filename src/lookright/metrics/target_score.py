"""What a classifier says of a class while pixels are away: the one engine behind all faithfulness metrics.

What is followed is a score of the target (`Score`):
- `probability`: softmax of several logits. A single logit z speaks for label 1: sigmoid(z) for target 1, sigmoid(−z)
  for target 0.
- `sigmoid`: of the target's own logit, for labels that do not exclude each other.
- `logit`: the target's logit itself (a single logit: z for target 1, −z for target 0), which over-confidence does not
  bend and whose range differs between models.
"""

from collections.abc import Callable
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lookright.classifier import Classifier, evaluating
from lookright.errors import InputError, require_one_of
from lookright.perturb import Perturbation

Score = Literal["probability", "sigmoid", "logit"]


class TargetScore:
    """The score of the target of any of the images, with any of its pixels kept, as often as it is asked.

    The classifier runs in eval mode without gradients and gets its modes back; `chunk_size` images go through it at a
    time, whatever images they are views of, so that memory does not grow with what is asked.

    Args:
        classifier: gives the logits.
        image: (B, C, H, W), the normalised model input.
        target: (B), the class that is followed.
        fill: what stands in for pixels that are away.
        score: what of the class is followed.
        generator: for a random `fill`.
        chunk_size: how many images go through the classifier at a time.

    Raises:
        InputError: shapes that do not fit, a chunk below 1; when called, a target that is no class of the model.
    """

    @torch.no_grad()
    def __init__(
        self,
        classifier: Classifier,
        image: Tensor,
        target: Tensor,
        *,
        fill: Perturbation,
        score: Score = "probability",
        generator: torch.Generator | None = None,
        chunk_size: int = 128,
    ) -> None:
        require_one_of("score", score, get_args(Score))
        if image.ndim != 4 or target.shape != image.shape[:1] or target.is_floating_point():
            raise InputError(
                f"image has shape {tuple(image.shape)} and target {tuple(target.shape)} of {target.dtype}: "
                "expected (B, C, H, W) and whole numbers (B,), one class for each image"
            )
        if chunk_size < 1:
            raise InputError(f"chunk_size={chunk_size}; expected 1 or more.")
        self.classifier, self.image, self.target = classifier, image, target
        self.fill, self.score, self.generator, self.chunk_size = fill, score, generator, chunk_size
        self.filled = None if fill.reads_keep or not len(image) else fill(image, generator=generator)

    @torch.no_grad()
    def __call__(
        self, index: Int[Tensor, " n"], keep: Callable[[Int[Tensor, " m"]], Bool[Tensor, "m H W"]]
    ) -> Float[Tensor, " n"]:
        """Scores of n views.

        Args:
            index: of which image each is a view.
            keep: which pixels the views of given numbers, 0 to n − 1, keep.
        """
        scores = [self.image.new_empty(0, dtype=torch.float32)]
        with evaluating(self.classifier):
            for view in torch.arange(len(index), device=index.device).split(self.chunk_size):
                if len(view) == 0:  # Not every model takes an empty batch.
                    continue
                of, kept = index[view], keep(view)
                image = self.image[of]
                if self.filled is None:
                    removed = self.fill(image, kept.to(image.dtype), self.generator)
                else:
                    removed = self.filled[of]
                logits = self.classifier(torch.where(kept.unsqueeze(1), image, removed)).logits
                scores.append(_score(logits.float(), self.target[of], self.score))
        return torch.cat(scores)


def _score(logits: Float[Tensor, "B K"], target: Int[Tensor, " B"], score: Score) -> Float[Tensor, " B"]:
    classes = max(logits.shape[1], 2)
    if not 0 <= target.min() <= target.max() < classes:
        raise InputError(f"target reaches from {target.min()} to {target.max()}: expected 0 to {classes - 1}")
    if logits.shape[1] == 1:
        own = torch.where(target == 1, logits[:, 0], -logits[:, 0])
        return own if score == "logit" else own.sigmoid()
    if score == "probability":
        logits = logits.softmax(1)
    own = logits.gather(1, target.unsqueeze(1))[:, 0]
    return own.sigmoid() if score == "sigmoid" else own
