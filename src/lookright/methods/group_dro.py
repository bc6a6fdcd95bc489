"""GroupDRO: the task where it is worst."""

import math

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor

from lookright.attribution.precision import at_least_float32
from lookright.batch import Batch
from lookright.classifier import Classifier, Output
from lookright.errors import InputError, require_between
from lookright.methods.method import Method, require_classes
from lookright.tasks import cross_entropy


class GroupDRO(Method):
    """Weighs the groups by how badly they do: L = Σ_g q_g L_g, q_g ← q_g · exp(η (L_g + C / √n_g)), q normalised.

    Sagawa, Koh, Hashimoto, Liang, "Distributionally Robust Neural Networks for Group Shifts", ICLR 2020 (arXiv
    1911.08731), algorithm 1. L_g is the mean of the task over the images of group g in the batch, and 0 where there are
    none; q begins uniform over the groups that have training images. It needs no masks, but to know of each training
    image to which group it belongs: a label in a domain, or what the data call `group`.

    What q follows is the cross-entropy, whatever the task is. In several processes the L_g are those of the whole
    batch. The authors draw the groups equally often (`balance: group` in a run's settings) and stress that a large
    model has to be regularised strongly, or stopped early: where every group is fitted, no weight makes a difference.

    Args:
        step_size: η; the authors' 0.01.
        adjustment: C, their generalisation adjustment for small groups, 0 to 5 in the paper.
        sizes: n_g, how many training images each group has, by group index. None: the training run counts them.

    Raises:
        InputError: an argument out of range; in a step, sizes that nobody told, a batch without groups, or a task
            without classes.
    """

    needs = frozenset({"group", "label"})

    def __init__(self, step_size: float = 0.01, adjustment: float = 0.0, sizes: list[int] | None = None) -> None:
        super().__init__()
        require_between("step_size", step_size)
        require_between("adjustment", adjustment)
        self.step_size = step_size
        self.adjustment = adjustment
        self.sizes: list[int] | None = None
        self.log_weight: Tensor | None
        self.register_buffer("log_weight", None)
        if sizes is not None:
            self.count(sizes)

    def count(self, sizes: list[int]) -> None:
        """Say how many training images each group has; q begins anew."""
        self.sizes = sizes
        self.log_weight = torch.tensor([0.0 if size else -math.inf for size in sizes])

    @property
    def group_weight(self) -> Float[Tensor, " G"]:
        """q."""
        if self.log_weight is None:
            raise InputError(
                "GroupDRO does not know the groups: give GroupDRO(sizes=[...]), how many training images each has."
            )
        return self.log_weight.softmax(0)

    def weigh(self, classifier: Classifier, output: Output, batch: Batch) -> Float[Tensor, " B"]:
        """q_g B / n of each image, n of the batch's B images being in its group; in training, q moves first."""
        require_classes(self, output, batch["label"])
        if "group" not in batch:
            raise InputError("GroupDRO and a batch without groups; expected the key `group` in it.")
        group, groups = batch["group"], len(self.group_weight)
        logits = at_least_float32(output.logits.detach())
        membership = torch.nn.functional.one_hot(group, groups).to(logits)
        summed = torch.stack([membership.sum(0), cross_entropy(logits, batch["label"]) @ membership])
        processes = 1
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(summed)
            processes = dist.get_world_size()
        count, loss = summed[0], summed[1] / summed[0].clamp_min(1)
        if self.training:
            self._move(loss)
        weight = self.group_weight.to(logits) * processes * len(group) / count.clamp_min(1)
        return super().weigh(classifier, output, batch) * weight[group]

    def _move(self, loss: Float[Tensor, " G"]) -> None:
        assert self.log_weight is not None
        assert self.sizes is not None
        size = torch.tensor(self.sizes, device=loss.device, dtype=loss.dtype)
        moved = self.log_weight.to(loss) + self.step_size * (loss + self.adjustment / size.clamp_min(1).sqrt())
        self.log_weight = (moved - moved.amax()).to(torch.float32)


def count_groups(method: Method, sizes: list[int]) -> None:
    """Say to every part of a method that asks how many training images each group has."""
    for part in method.modules():
        if isinstance(part, GroupDRO) and part.sizes is None:
            part.count(sizes)
