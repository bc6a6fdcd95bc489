"""Masks for the images that have none, learned from those that have one."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim.lr_scheduler import OneCycleLR

from lookright.batch import mask_on_grid
from lookright.data.dataset import Augmentation, ImageDataset
from lookright.data.mask_controls import full_value
from lookright.data.samples import Samples, read_samples
from lookright.errors import InputError, require_between
from lookright.methods.graft import Graft
from lookright.methods.masker import FeatureMasker, UNetMasker
from lookright.time_left import with_time_left
from lookright.training.masks import readable_table, soft_masks, write_copy
from lookright.training.model import build_model
from lookright.training.preprocessing import Preprocessing

BATCH, PEAK_RATE, TRAINED_RATE, DECAY = 32, 4e-3, 4e-4, 0.01
MISSED = 0.7
"""Weight of evidence that a mask misses; of what it wrongly marks, 1 − MISSED. Salehi et al.'s."""
UNSURE = 0.5
"""What an ignored pixel of a given mask becomes, where masks are shades."""


class Filled(NamedTuple):
    """What was done.

    Attributes:
        table: of the new folder; its column `filled` says which masks were made.
        given: masks that there were.
        held_out: how many of these were not learned from.
        iou: the mean of their intersection over union with what is made of their images.
    """

    table: pd.DataFrame
    given: int
    held_out: int
    iou: float


def fill_masks(
    data: Path,
    out: Path,
    size: int = 128,
    steps: int = 1000,
    seed: int = 0,
    model: str | None = None,
    weights: str | None = None,
) -> Filled:
    """Write a folder in which every training image has a mask: its own, or what a network makes of it.

    The network learns from four fifths of the masks that there are, half of them grafted into the scenery of others
    (`Graft`), by `mask_loss`; the last fifth tells how good it is. It is a small U-Net, from its first weights on, or a
    `model` with trained weights and a `FeatureMasker` above it, which photographs need. Where the
    table has splits, only masks of `train` are learned from and only its images are filled: made masks are no truth to
    measure with. Without, every image is one to train on; write the splits down where a protocol is to draw them. All
    masks become shades; what was ignored in one becomes half evidence. Given masks keep their weight, made ones have 1.

    Args:
        data: folder with labels.csv, some of whose images have a mask.
        out: folder to write; must not exist. Images are hard links where the file system has such.
        size: side of the square on which the network looks at images, in pixels.
        steps: of training, of 32 images each.
        seed: of weights, batches and of what is held out.
        model: a timm architecture such as `resnet18`; None: the U-Net.
        weights: of the model, as `build_model` takes them; None: first ones.

    Raises:
        InputError: fewer than five masks, no image to fill, an argument out of its range, a folder that cannot be read,
            a model that cannot be built or has no scales, weights without a model, or `out` exists.
    """
    require_between("size", size, 32, 8192)
    require_between("steps", steps, 1)
    require_between("seed", seed, 0, 2**32 - 1)
    if weights and model is None:
        raise InputError(f"weights={weights!r} without a model; expected the model that they are of.")
    table, samples, _ = read_samples(data, readable_table(data, out))
    table = table.reset_index(drop=True)
    is_training = table["split"].eq("train") if "split" in table else pd.Series(True, table.index)
    has_mask = table["mask_weight"] > 0
    given, missing = (np.flatnonzero(rows & is_training).tolist() for rows in (has_mask, ~has_mask))
    if len(given) < 5:
        raise InputError(
            f"{len(given)} training images of {str(data)!r} have a mask; expected five or more to learn from."
        )
    if len(missing) == 0:
        raise InputError(f"Every training image of {str(data)!r} has a mask; there is nothing to fill.")
    for row in given:
        mask = samples[row].mask
        if mask is not None and len(mask) > 1 and not mask[0].any():
            raise InputError(
                f"The mask of {table['image'][row]!r} says what must not matter, and not what the evidence is; "
                "expected masks of the evidence to learn from."
            )
    order = np.random.default_rng(seed).permutation(given).tolist()
    held_out, learned = order[: len(given) // 5], order[len(given) // 5 :]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        masker, preprocessing = _masker(size, model, weights, samples[learned[0]].image)
    _learn(masker, table, samples, learned, preprocessing, steps, seed)

    def masks() -> Iterator[Tensor | None]:
        filled = set(missing)
        for row in range(len(table)):
            image, mask = samples[row]
            if row in filled:
                yield soft_masks(masker, preprocessing, [image])[0]
            else:
                yield None if mask is None or not has_mask[row] else _shades(mask)

    overlap = [_iou(soft_masks(masker, preprocessing, [samples[row].image])[0], samples[row].mask) for row in held_out]
    is_filled = pd.Series("", table.index)
    is_filled.iloc[missing] = "1"
    table = table.assign(filled=is_filled, mask_weight=table["mask_weight"].mask(is_filled == "1", 1.0))
    table = write_copy(data, table, masks(), out)
    return Filled(table, len(given), len(held_out), float(np.mean(overlap)))


def _masker(
    size: int, model: str | None, weights: str | None, image: Tensor
) -> tuple[UNetMasker | FeatureMasker, Preprocessing]:
    if model is None:
        return UNetMasker(), Preprocessing(size)
    trained, (mean, std) = build_model(model, 1, weights)
    preprocessing = Preprocessing(size, mean, std)
    return FeatureMasker(trained, preprocessing([image.as_subclass(Tensor)])), preprocessing


def _learn(
    masker: UNetMasker | FeatureMasker,
    table: pd.DataFrame,
    samples: Samples,
    rows: list[int],
    preprocessing: Preprocessing,
    steps: int,
    seed: int,
) -> None:
    dataset = ImageDataset(table.iloc[rows], samples.of_rows(rows), [], [], preprocessing.size, Augmentation(), seed)
    collate, generator = preprocessing.collate(), torch.Generator().manual_seed(seed)
    graft = Graft(share=0.5, seed=seed)
    trained = set(masker.model.parameters()) if isinstance(masker, FeatureMasker) else set()
    groups = [{"params": [p for p in masker.parameters() if p not in trained]}, {"params": list(trained)}]
    optimizer = torch.optim.AdamW(groups, weight_decay=DECAY)
    schedule = OneCycleLR(optimizer, [PEAK_RATE, TRAINED_RATE], total_steps=steps)
    masker.train()
    for step in with_time_left(range(steps), "masks", steps):
        drawn = torch.randint(len(rows), (BATCH,), generator=generator).tolist()
        batch = graft.alter(collate([dataset[step, row] for row in drawn]))
        inside, outside = mask_on_grid(batch, (preprocessing.size, preprocessing.size))
        optimizer.zero_grad()
        mask_loss(masker(batch["image"]), inside, outside).backward()
        optimizer.step()
        schedule.step()
    masker.eval()


def mask_loss(
    mask: Float[Tensor, "B H W"], inside: Float[Tensor, "B H W"], outside: Float[Tensor, "B H W"]
) -> Float[Tensor, ""]:
    """Cross-entropy over known pixels and the Tversky loss, both with more weight on evidence that is missed.

    2 w Σ I −log M + 2 (1 − w) Σ O −log(1 − M), over Σ (I + O), plus the mean over images of
    1 − (Σ M I + ½) / (Σ M I + w Σ (1 − M) I + (1 − w) Σ M O + ½), w = 0.7: masks that are too wide harm less than
    those that are too small. Salehi, Erdogmus, Gholipour, "Tversky loss function for image segmentation using 3D fully
    convolutional deep networks", MLMI 2017 (arXiv 1706.05721), equation 3; the weights of the cross-entropy are ours.

    Args:
        mask: M, what was made, in (0, 1).
        inside: I, how much of each pixel is evidence.
        outside: O, how much of it is not.
    """
    mask = mask.clamp(1e-6, 1 - 1e-6)
    missed, wrong = MISSED * inside, (1 - MISSED) * outside
    entropy = -2 * (missed * mask.log() + wrong * (1 - mask).log()).sum() / (inside + outside).sum().clamp_min(1)
    shared = (mask * inside).sum((1, 2))
    total = shared + (missed * (1 - mask)).sum((1, 2)) + (wrong * mask).sum((1, 2))
    return entropy + (1 - (shared + 0.5) / (total + 0.5)).mean()


def _shades(mask: Tensor) -> Float[Tensor, "H W"]:
    planes = mask.as_subclass(Tensor).to(torch.float32) / full_value(mask)
    evidence = planes[0]
    return evidence if len(planes) == 1 else torch.where(planes[1] > 0, UNSURE, evidence)


def _iou(made: Float[Tensor, "H W"], mask: Tensor | None) -> float:
    assert mask is not None
    one, other = made >= 0.5, _shades(mask) >= 0.5
    union = (one | other).sum().item()
    return (one & other).sum().item() / union if union else 1.0
