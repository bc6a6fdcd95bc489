"""Reading an image, its mask or its box."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torchvision import tv_tensors

from lookright.errors import InputError


def read_image(path: Path) -> tv_tensors.Image:
    """An image as uint8 (3, H, W), turned upright as its EXIF orientation says.

    Raises:
        InputError: the file is missing, truncated or no image.
    """
    return tv_tensors.Image(torch.from_numpy(np.array(_open(path).convert("RGB"))).permute(2, 0, 1))


def read_mask(path: Path) -> tv_tensors.Mask:
    """A mask as float (1, H, W) in [0, 1], scaled from the file's type: 128 of 255 in a trimap is a half.

    Modes: binary, grey of 8 or 16 bits, float (already in [0, 1]), colour (its luminance), palette (its colours'
    luminance where they are greys, otherwise 1 for every index but 0).

    Raises:
        InputError: the file is missing, truncated or no image, or its values do not lie in [0, 1].
    """
    image = _open(path)
    if image.mode == "P":
        colours = np.array(image.convert("RGB"))
        is_grey = (colours == colours[..., :1]).all()
        values = colours[..., 0] / 255 if is_grey else (np.array(image) > 0).astype(np.float32)
    elif image.mode in ("I", "I;16", "I;16L", "I;16B", "I;16N"):
        values = np.array(image).astype(np.float32) / 65535
    elif image.mode == "F":
        values = np.array(image)
    else:
        values = np.array(image.convert("L")) / 255
    if not (values.min() >= 0 and values.max() <= 1):
        raise InputError(
            f"Mask {str(path)!r} of mode {image.mode} has values from {values.min():g} to {values.max():g}; expected "
            "0 to 255 in 8 bits, 0 to 65535 in 16 bits, or 0 to 1 in floating point."
        )
    return tv_tensors.Mask(torch.from_numpy(values.astype(np.float32))[None])


def read_box(box: str, height: int, width: int, path: Path) -> tv_tensors.Mask:
    """A box `x0 y0 x1 y1` (pixels, corners included) as a mask (1, H, W) of ones inside and zeros outside.

    >>> read_box("1 0 2 0", 2, 4, Path("cat.png"))[0].tolist()
    [[0.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]]

    Raises:
        InputError: not four numbers, or not a box within the image.
    """
    try:
        x0, y0, x1, y1 = (round(float(number)) for number in box.split())
    except ValueError:
        raise InputError(f"Box {box!r} of {str(path)!r}; expected four numbers 'x0 y0 x1 y1' in pixels.") from None
    if not (0 <= x0 <= x1 <= width and 0 <= y0 <= y1 <= height):
        raise InputError(
            f"Box {box!r} of {str(path)!r} does not fit its image of {width} by {height} pixels; "
            "expected 'x0 y0 x1 y1' with x0 <= x1 and y0 <= y1."
        )
    mask = torch.zeros(1, height, width)
    mask[:, y0 : y1 + 1, x0 : x1 + 1] = 1
    return tv_tensors.Mask(mask)


def _open(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            return ImageOps.exif_transpose(image)
    except FileNotFoundError:
        raise InputError(f"No file {str(path)!r}, which labels.csv names.") from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise InputError(
            f"Cannot read {str(path)!r}: {error}. Expected a whole image file; repair or remove it, "
            "or go on without such files with --skip-unreadable."
        ) from error
