"""What a training step receives, and how a mask-guided loss averages over it."""

from typing import NotRequired, TypedDict

import torch
import torch.distributed as dist
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from lookright.errors import InputError


class Batch(TypedDict):
    """A mini-batch; any plain dict with these keys is one.

    Keys:
        image: (B, C, H, W) float, the normalised model input.
        label: (B,) int, the class index (for a policy: the action), or what else the task takes, as (B, K) of 0 and 1.
        mask: (B, H, W) float in [0, 1], 1 where the evidence is; soft maps are allowed.
        mask_weight: (B,) float, how much the image counts in a mask-guided loss. 0 says *this image has no
            mask*, which is not the same as an empty mask (all zeros with a weight above 0: nothing here is
            evidence). Left out, every image of a batch that has `mask` weighs 1.
        ignore: (B, H, W) float in [0, 1], optional: 1 at pixels of which nobody knows whether they are evidence. They
            count neither as inside nor as outside.
        domain: (B,) int, optional: where the image comes from.
        group: (B,) int, optional: which of the groups that are to be served alike it belongs to.
    """

    image: Float[Tensor, "B C H W"]
    label: Int[Tensor, " B"] | Float[Tensor, "B K"]
    mask: NotRequired[Float[Tensor, "B H W"]]
    mask_weight: NotRequired[Float[Tensor, " B"]]
    ignore: NotRequired[Float[Tensor, "B H W"]]
    domain: NotRequired[Int[Tensor, " B"]]
    group: NotRequired[Int[Tensor, " B"]]


def check_shapes(batch: Batch) -> None:
    """Refuse a batch whose tensors do not fit together; looks at shapes only.

    Raises:
        InputError: a tensor has another shape than `Batch` says.

    >>> image, label = torch.zeros(2, 3, 8, 8), torch.tensor([0, 1])
    >>> check_shapes({"image": image, "label": label, "mask": torch.zeros(2, 1, 8, 8)})
    Traceback (most recent call last):
    lookright.errors.InputError: mask has shape (2, 1, 8, 8); expected (2, H, W), as mask.squeeze(1) gives it.
    """
    if batch["image"].ndim != 4:
        raise InputError(f"image has shape {tuple(batch['image'].shape)}; expected (B, C, H, W).")
    size = len(batch["image"])
    if len(batch["label"]) != size:
        raise InputError(f"{len(batch['label'])} labels for {size} images; expected one for each.")
    for name in ("mask", "ignore"):
        given = batch.get(name)
        if isinstance(given, Tensor) and (given.ndim != 3 or len(given) != size):
            squeeze = f", as {name}.squeeze(1) gives it" if given.ndim == 4 and given.shape[1] == 1 else ""
            raise InputError(f"{name} has shape {tuple(given.shape)}; expected ({size}, H, W){squeeze}.")
    if "ignore" in batch and "mask" in batch and batch["ignore"].shape != batch["mask"].shape:
        raise InputError(
            f"ignore has shape {tuple(batch['ignore'].shape)} and mask {tuple(batch['mask'].shape)}; expected the same."
        )
    if "mask_weight" in batch and batch["mask_weight"].shape != (size,):
        raise InputError(f"mask_weight has shape {tuple(batch['mask_weight'].shape)}; expected ({size},).")


def check_range(batch: Batch) -> None:
    """Refuse masks that leave [0, 1], where they count; waits for the device.

    Raises:
        InputError: such as masks of 0 and 255.
    """
    if "mask" not in batch:
        return
    mask, counts = batch["mask"], (mask_weight(batch) > 0)[:, None, None]
    if "ignore" in batch:
        counts = counts & (batch["ignore"] < 1)
    wrong = ((mask < 0) | (mask > 1)) & counts
    if bool(wrong.any()):
        raise InputError(
            f"mask has values such as {mask[wrong][0].item():g}; expected 0 to 1, 1 where the evidence is. Divide "
            "masks of 0 and 255 by 255, and compare class indices with the class that is meant."
        )


def mask_weight(batch: Batch) -> Float[Tensor, " B"]:
    """The weight of each image's mask: all 1 where a batch has masks but no weights, all 0 where it has no masks.

    >>> image, label = torch.zeros(2, 3, 4, 4), torch.tensor([0, 1])
    >>> mask_weight({"image": image, "label": label})
    tensor([0., 0.])
    >>> mask_weight({"image": image, "label": label, "mask": torch.ones(2, 4, 4)})
    tensor([1., 1.])
    """
    if "mask" not in batch:
        return batch["image"].new_zeros(len(batch["image"]), dtype=torch.float32)
    if "mask_weight" not in batch:
        return batch["mask"].new_ones(len(batch["mask"]))
    return batch["mask_weight"]


def mean_over_masked(loss: Float[Tensor, " B"], weight: Float[Tensor, " B"]) -> Float[Tensor, ""]:
    """Σ w·ℓ / number of images with w > 0: a scale that neither the batch size nor the annotated share changes.

    In a distributed run the number is summed over the processes and divided by their number, so that the averaged
    gradient equals that of one process on the joined batch. A loss without any masked image is a zero that still
    hangs in the graph. Entries whose weight is 0 may be anything, NaN included.

    >>> mean_over_masked(torch.tensor([1.0, 3.0, float("nan")]), torch.tensor([1.0, 0.5, 0.0]))
    tensor(1.2500)
    """
    has_mask = weight > 0
    # Processes must send the same dtype, whatever that of their losses is; and bfloat16 counts to 256 only.
    count = has_mask.sum().float()
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(count)
        count = count / dist.get_world_size()
    weighted = torch.where(has_mask, loss, 0.0) * weight
    # Below one image a process (two processes, one mask) the count is a fraction; only zero must be guarded.
    return weighted.sum() / torch.where(count > 0, count, 1.0).to(loss.dtype)


def mask_on_grid(batch: Batch, grid: tuple[int, int]) -> tuple[Float[Tensor, "B h w"], Float[Tensor, "B h w"]]:
    """How much of each cell of a grid is evidence, and how much is not: M(1 − I) and (1 − M)(1 − I), area-resized.

    I is `ignore`, of which nobody knows. A mask of what must *not* matter (a ruler, a patch) is M = 0 and I = 1 outside
    of it: nothing is inside, and only the nuisance is outside.

    >>> batch = {"image": torch.zeros(1, 3, 2, 4), "label": torch.tensor([0])}
    >>> batch["mask"] = torch.tensor([[[1.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]]])
    >>> mask_on_grid(batch, (1, 2))
    (tensor([[[0.7500, 0.0000]]]), tensor([[[0.2500, 1.0000]]]))
    >>> batch["ignore"] = torch.tensor([[[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]])
    >>> mask_on_grid(batch, (1, 2))
    (tensor([[[0.5000, 0.0000]]]), tensor([[[0.2500, 0.7500]]]))
    """
    mask = batch["mask"].to(torch.promote_types(batch["mask"].dtype, torch.float32))
    if "ignore" not in batch:
        inside = _resized(mask, grid)
        return inside, 1 - inside
    known = 1 - batch["ignore"].to(mask.dtype)
    # Where nobody knows, the mask may be anything, NaN included.
    inside = _resized(torch.where(known > 0, mask, 0.0) * known, grid)
    return inside, (_resized(known, grid) - inside).clamp_min(0)


def _resized(mask: Float[Tensor, "B H W"], grid: tuple[int, int]) -> Float[Tensor, "B h w"]:
    return mask if mask.shape[1:] == grid else functional.interpolate(mask[:, None], grid, mode="area")[:, 0]
