"""The masks that ALIGN learned, as a data set that any other method can train on."""

import os
import shutil
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

import pandas as pd
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from lookright.data.encoding import read_encoding, write_encoding
from lookright.data.samples import read_samples
from lookright.data.table import read_table
from lookright.errors import InputError
from lookright.methods import ALIGN
from lookright.replacing import replacing
from lookright.run_directory import read_checkpoint
from lookright.training.preprocessing import Preprocessing
from lookright.training.run import TrainedRun


def write_masks(run: TrainedRun, data: Path, out: Path, batch_size: int = 64) -> pd.DataFrame:
    """Write what the masker of a run marks in each image of a folder, as a native folder of its own.

    The table is that of `data` with the new masks in place of any masks, boxes and weights. Images are hard links to
    those of `data`, or copies where the file system has no links. Masks are soft, of their image's size.

    Args:
        run: trained with `ALIGN` and learned masks.
        data: folder with labels.csv.
        out: folder to write; must not exist.
        batch_size: images that the masker sees at a time.

    Raises:
        InputError: the run has no masker or was left before it learned, the folder cannot be read or names images
            outside of it, or `out` exists.
    """
    masker = masker_of(run)
    table = readable_table(data, out)
    settings, bare = run.settings, table.assign(mask="", box="")
    table, samples, skipped = read_samples(data, bare, settings.images.skip_unreadable, settings.machine.cache)
    for message in skipped:
        warnings.warn(f"Left out: {message}", stacklevel=2)

    def made() -> Iterator[Tensor]:
        for start in range(0, len(table), batch_size):
            images = [samples[row].image for row in range(len(table))[start : start + batch_size]]
            yield from soft_masks(masker, run.preprocessing, images)

    return write_copy(data, table.drop(columns="mask_weight"), made(), out)


def readable_table(data: Path, out: Path) -> pd.DataFrame:
    """The table of a folder that is to be copied with other masks.

    Raises:
        InputError: the folder cannot be read or names images outside of it, or `out` exists.
    """
    table = read_table(data)
    if out.exists():
        raise InputError(f"{str(out)!r} exists. Name a folder that does not, or delete it.")
    for image in table["image"]:
        if Path(image).is_absolute() or ".." in Path(image).parts:
            raise InputError(f"Image {image!r} of {str(data)!r} lies outside of it; expected paths within the folder.")
    return table


def write_copy(
    data: Path, table: pd.DataFrame, masks: Iterable[Float[Tensor, "H W"] | None], out: Path
) -> pd.DataFrame:
    """A native folder with the images of another, as hard links where there are such, and other masks.

    Args:
        data: the folder.
        table: its rows; what they say of masks, but for their weight, is replaced.
        masks: of each row, from 0 to 1; None: it has none.
        out: folder to write.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    mask_names, names = _mask_names(table["image"]), []
    with replacing(out) as draft:
        for image, name, mask in zip(table["image"], mask_names, masks, strict=True):
            names.append("" if mask is None else name)
            if mask is not None:
                (draft / name).parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray((mask * 255).round().byte().numpy()).save(draft / name)
            (draft / image).parent.mkdir(parents=True, exist_ok=True)
            _link(data / image, draft / image)
        said = ["box", "box_format", "box_unit", "mask_value", "mask_ignore", "mask_polarity"]
        table = table.drop(columns=said, errors="ignore").assign(mask=names)
        table.to_csv(draft / "labels.csv", index=False, lineterminator="\n")
        given = read_encoding(data).image_range
        write_encoding(
            draft, channel="luminance", drawn_on="upright", **({"image_range": list(given)} if given else {})
        )
    return table


@torch.no_grad()
def soft_masks(
    masker: Callable[[Tensor], Tensor], preprocessing: Preprocessing, images: Sequence[Tensor]
) -> list[Float[Tensor, "H W"]]:
    """What a masker marks in images of any size."""
    masks = masker(preprocessing([image.as_subclass(Tensor) for image in images]))
    sizes = [image.shape[1:] for image in images]
    return [
        functional.interpolate(mask[None, None], size, mode="bilinear")[0, 0]
        for mask, size in zip(masks, sizes, strict=True)
    ]


def masker_of(run: TrainedRun) -> nn.Module:
    """What a run of `ALIGN` learned to mark evidence with: images as the run's model takes them to (B, H, W) in [0, 1].

    Raises:
        InputError: the run has no masker, or was left before it learned.
    """
    method, checkpoint = run.settings.method, run.directory / "last.ckpt"
    if not isinstance(method, ALIGN) or method.masks != "learned":
        raise InputError(
            f"The run {str(run.directory)!r} was trained with {type(method).__name__} and has no masker. "
            "Expected one trained with ALIGN and learned masks."
        )
    if not checkpoint.is_file():
        raise InputError(f"The run {str(run.directory)!r} has no last.ckpt, which keeps its masker. Train it again.")
    method.attach(run.classifier)
    method.load_state_dict(read_checkpoint(checkpoint, ("method",))["method"])
    assert method.masker is not None
    if method.step <= method.warmup:
        raise InputError(
            f"The masker of {str(run.directory)!r} has not learned: training ended after {method.step} steps, and "
            f"{method.warmup} of warmup come first. Train longer, or with a shorter warmup."
        )
    return method.masker.eval()


def _mask_names(images: Iterable[str]) -> list[str]:
    """`masks/` and the image's path, as PNG; without a leading `images/` where all have one.

    >>> _mask_names(["images/cat/1.jpg"]), _mask_names(["images/1.jpg", "1.jpg"])
    (['masks/cat/1.jpg.png'], ['masks/images/1.jpg.png', 'masks/1.jpg.png'])
    """
    paths = [PurePosixPath(image) for image in images]
    inside = "images" if all(path.is_relative_to("images") for path in paths) else ""
    return [f"masks/{path.relative_to(inside)}.png" for path in paths]


def _link(source: Path, target: Path) -> None:
    if target.exists():  # the table names an image twice
        return
    try:
        os.link(source.resolve(), target)  # a link to a relative link would point elsewhere
    except OSError:
        shutil.copy2(source, target)
