"""JTT: just train twice."""

import warnings
from collections.abc import Callable, Iterable
from typing import Any

import torch

from lookright.attribution.target import predicted_class
from lookright.batch import Batch
from lookright.classifier import Classifier, evaluating
from lookright.errors import InputError, require_between
from lookright.methods.erm import ERM
from lookright.methods.method import Method


class Mistakes(ERM):
    """The first training: what it still gets wrong in the training images is to be shown more often.

    Args:
        upweight: how often each of these is shown in an epoch of the second training.
    """

    is_base = True

    def __init__(self, upweight: int) -> None:
        super().__init__()
        self.upweight = upweight

    @torch.no_grad()
    def finish(self, classifier: Classifier, batches: Callable[[str], Iterable[Batch]]) -> dict[str, Any]:
        """How often each training image is to be shown."""
        wrong = []
        with evaluating(classifier):
            for batch in batches("train"):
                if batch["label"].ndim != 1:
                    raise InputError(
                        f"Labels have shape {tuple(batch['label'].shape)}, and JTT asks whether the prediction is "
                        "right; expected one label an image."
                    )
                wrong.append(predicted_class(classifier(batch["image"]).logits) != batch["label"])
        mistakes = torch.cat(wrong).cpu()
        if not mistakes.any():
            warnings.warn(
                "JTT's first training makes no mistake on its own images: the second one is plain training. Lower "
                "first_epochs, or regularise it.",
                stacklevel=2,
            )
        return {
            "mistakes": int(mistakes.sum()),
            "images": len(mistakes),
            "repeats": torch.where(mistakes, self.upweight, 1).tolist(),
        }


class JTT(Method):
    """Trains plainly for a few epochs, and anew on images of which those still wrong are shown `upweight` times.

    Liu, Haghgoo, Chen, Raghunathan, Koh, Sagawa, Liang, Finn, "Just Train Twice: Improving Group Robustness without
    Training Group Information", ICML 2021 (arXiv 2107.09044), algorithm 1. What a shortcut gets wrong is where the
    shortcut fails. It needs no groups for training; the paper chooses both arguments by worst-group accuracy on
    validation images with groups.

    The paper shows mistakes λ_up times; its code adds λ_up copies to the image itself. The first model is the last
    step's, and has a schedule of its own here (the authors go on at a constant rate). Both begin from the same weights.
    The second training is the task's; other methods can be added to it.

    Args:
        first_epochs: T, of the first training. The paper: 1 for CelebA, 60 of 300 for Waterbirds.
        upweight: λ_up; 50 and 100 there.

    Raises:
        InputError: an argument below 1.
    """

    needs = frozenset({"label"})

    def __init__(self, first_epochs: int = 1, upweight: int = 50) -> None:
        super().__init__()
        require_between("first_epochs", first_epochs, 1)
        require_between("upweight", upweight, 1)
        self.first_epochs = first_epochs
        self.upweight = upweight

    def first(self) -> tuple[Method, int]:
        """The first training."""
        return Mistakes(self.upweight), self.first_epochs
