"""What of a decision is guided, by which mask, and with what weight."""

from dataclasses import replace
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lookright.classifier import Output

Guided = Literal["action", "advantage", "value"]
"""Whose map is guided. `action`: that of the action taken. `advantage`: the same, weighed by how much better than the
others of the mini-batch the action turned out; maps of worse ones are left alone. `value`: that of the critic."""

MaskControl = Literal["shifted", "random", "empty"]
"""Wrong masks on purpose, see `controlled`."""


def decision(
    guided: Guided, output: Output, value: Float[Tensor, " B"], action: Int[Tensor, " B"]
) -> tuple[Output, Int[Tensor, " B"]]:
    """What a method explains of each decision: an output, and which of its logits.

    The value is the one logit of a classifier that shares everything up to the embedding with the policy. Its map is of
    what speaks for the sign that it has.
    """
    if guided == "value":
        return replace(output, logits=value[:, None]), (value > 0).long()
    return output, action


def guided_weight(in_sight: Bool[Tensor, " B"], advantage: Float[Tensor, " B"], guided: Guided) -> Float[Tensor, " B"]:
    """The weight of each decision's mask: 0 where no target is in sight, an absent mask and not an empty one.

    Args:
        in_sight: whether the mask shows a target.
        advantage: of the action taken, over what is usual.
        guided: with `advantage` the weight is the positive part of the advantage, 1 in the mean of what it guides.

    >>> guided_weight(torch.tensor([True, False, True]), torch.tensor([3.0, 2.0, 1.0]), "advantage")
    tensor([1.5000, 0.0000, 0.5000])
    """
    weight = in_sight.float()
    if guided == "advantage":
        weight = weight * advantage.clamp_min(0)
        weight = weight / (weight.sum() / (weight > 0).sum().clamp_min(1)).clamp_min(torch.finfo(weight.dtype).tiny)
    return weight


def controlled(
    mask: Float[Tensor, "B H W"], in_sight: Bool[Tensor, " B"], control: MaskControl | None
) -> Float[Tensor, "B H W"]:
    """Wrong masks: what guidance gains must vanish with them, or it is not owed to the masks.

    Args:
        mask: as it is.
        in_sight: whether it shows a target.
        control: `shifted`: moved sideways by half the frame, what leaves on one side comes in on the other. `random`:
            that of another decision of the mini-batch with a target in sight. `empty`: it says that nothing matters.
    """
    if control == "shifted":
        return mask.roll(mask.shape[2] // 2, 2)
    if control == "random":
        donors = in_sight.nonzero()[:, 0]
        return mask.index_copy(0, donors, mask[donors.roll(1)])
    if control == "empty":
        return torch.zeros_like(mask)
    return mask
