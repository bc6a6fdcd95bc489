"""Reading an image, its mask or its box."""

import struct
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Shaped
from PIL import Image, ImageChops, ImageSequence, UnidentifiedImageError
from torchvision import tv_tensors

from lookright.data.encoding import Encoding, find_encoding, of_values
from lookright.data.mask_pixels import FILE, Pixels, pixels_of
from lookright.data.masks import planes, shares, united, with_polarity
from lookright.errors import InputError

ORIENTATION = 0x0112
PHOTOMETRIC, SOFTWARE = 262, 305  # tags of TIFF
ORIENTATION_BLOCKS = {"exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"}
"""Where Pillow finds it."""
_TRANSPOSED = (5, 6, 7, 8)
CONVERSIONS = {
    ".dcm": "a DICOM file: convert it with 'lookright data convert'",
    ".nii": "a NIfTI volume: convert its slices with 'lookright data convert'",
    ".gz": "compressed: unpack it or, if it is a NIfTI volume, convert its slices with 'lookright data convert'",
    ".npy": "a NumPy array: convert it to PNG, for example with PIL.Image.fromarray",
    ".npz": "NumPy arrays: convert them to PNG, for example with PIL.Image.fromarray",
    ".json": "an annotation, not an image: convert it (COCO, LabelMe, Label Studio) with 'lookright data convert'",
    ".xml": "an annotation, not an image: convert it (CVAT, VOC) with 'lookright data convert'",
    ".txt": "an annotation, not an image: convert it (YOLO) with 'lookright data convert'",
    ".heic": "HEIC, which is not supported: convert it to JPEG or PNG",
    ".heif": "HEIF, which is not supported: convert it to JPEG or PNG",
}
"""What to do with files that are no images for Pillow, by suffix."""


class Header(NamedTuple):
    """What an image file says before it is decoded: width and height as stored, and how it is to be turned (1: not).

    The last two are the width and height to which it is decoded, smaller where a reduced one was asked for.
    """

    width: int
    height: int
    orientation: int
    decoded_width: int
    decoded_height: int

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height once turned."""
        return self._turned(self.width, self.height)

    @property
    def decoded(self) -> tuple[int, int]:
        """Width and height once decoded and turned."""
        return self._turned(self.decoded_width, self.decoded_height)

    def _turned(self, width: int, height: int) -> tuple[int, int]:
        return (height, width) if self.orientation in _TRANSPOSED else (width, height)


def read_header(path: Path, least_side: int | None = None) -> Header:
    """Size and orientation of an image, without decoding it.

    Args:
        path: of the file.
        least_side: as in `read_image`.

    Raises:
        InputError: the file is missing or no image.
    """
    with opened(path) as image:
        size = image.size
        _reduce(image, least_side)
        return Header(*size, _orientation(image), *image.size)


def _reduce(image: Image.Image, least_side: int | None) -> None:
    if least_side is not None and min(image.size) >= 2 * least_side:
        image.draft(None, (least_side, least_side))  # JPEG alone can do it


def _orientation(image: Image.Image) -> int:
    # Parsed only where there may be one: that takes longer than all the rest.
    may_tell = image.format in ("TIFF", "MPO") or not ORIENTATION_BLOCKS.isdisjoint(image.info)
    turn = image.getexif().get(ORIENTATION, 1) if may_tell else 1
    return turn if turn in range(1, 9) else 1


def read_image(path: Path, span: tuple[float, float] | None = None, least_side: int | None = None) -> tv_tensors.Image:
    """An image as uint8 (3, H, W), turned upright as its EXIF orientation says, transparent pixels white.

    Args:
        path: of the file.
        span: the numbers that are black and white where a channel has more than 8 bits; None: 0 and 65535 (integers)
            or 1 (floats).
        least_side: decode a JPEG to a half, a quarter or an eighth of its size where both sides keep so many pixels,
            which is the faster, the smaller; None: decode it whole.

    Raises:
        InputError: the file is missing, truncated, no image, has several pages, or more than 8 bits of which it is not
            clear what is white.
    """
    return read_upright(path, span, least_side)[0]


def read_upright(
    path: Path, span: tuple[float, float] | None = None, least_side: int | None = None
) -> tuple[tv_tensors.Image, Header]:
    """As `read_image`, with what the file says of itself.

    Raises:
        InputError: as `read_image`.
    """
    with opened(path) as image:
        pages = getattr(image, "n_frames", 1) if image.format == "TIFF" else 1
        if pages > 1:
            raise InputError(
                f"{str(path)!r} has {pages} pages. Expected an image of one page: convert the file "
                "with 'lookright data convert', which writes every page as an image of its own."
            )
        size = image.size
        _reduce(image, least_side)
        image.load()  # a PNG may have its EXIF block after the pixels
        header = Header(*size, _orientation(image), *image.size)
        pixels = _rgb(turned(image, header.orientation), path, span)
        return tv_tensors.Image(torch.from_numpy(pixels).permute(2, 0, 1)), header


def _rgb(image: Image.Image, path: Path, span: tuple[float, float] | None) -> np.ndarray:
    if image.mode == "F" or image.mode.startswith("I"):
        values = np.array(image).astype(np.float64)
        low, high = span or _span(values, image.mode == "F", path)
        grey = (np.clip((values - low) / (high - low), 0, 1) * 255).round().astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        layer = image.convert("RGBA")
        if np.array(layer.getchannel("A")).min() < 255:
            return np.array(Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB"))
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def _span(values: np.ndarray, is_float: bool, path: Path) -> tuple[float, float]:
    top = 1.0 if is_float else 65535.0
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and top / 16 < high <= top):
        raise InputError(
            f"{str(path)!r} has values from {low:g} to {high:g} in {'floats' if is_float else '16 or 32 bits'}, which "
            f"does not tell what is white. Say so in {FILE} beside labels.csv, such as 'image_range: [0, 4095]'."
        )
    return 0.0, top


def read_mask(
    path: Path | Sequence[Path], encoding: Encoding | None = None, value: str = "", turn: int = 1, ignored: str = ""
) -> tv_tensors.Mask:
    """A mask as float (1, H, W) in [0, 1], or (2, H, W) where pixels are to be ignored: the second plane says which.

    Arguments and errors are those of `read_planes`.
    """
    return tv_tensors.Mask(torch.from_numpy(shares(read_planes(path, encoding, value, turn, ignored))))


def read_planes(
    path: Path | Sequence[Path], encoding: Encoding | None = None, value: str = "", turn: int = 1, ignored: str = ""
) -> Shaped[np.ndarray, "P H W"]:
    """A mask as in `lookright.data.masks`. Several files, and several pages of one, are united.

    Args:
        path: of the file or files.
        encoding: what the numbers mean; None: found out from these files alone.
        value: the numbers that are evidence in these files, with spaces between; empty: as the encoding says.
        turn: an EXIF orientation by which to turn a mask that has none of its own.
        ignored: the numbers that are to be ignored, where `value` says those that are evidence.

    Raises:
        InputError: a file is missing, truncated or no image, or it is not clear what its numbers mean.
    """
    encoding = encoding or Encoding()
    found = []
    for name, page in _pages(path, turn):
        pixels = pixels_of(page, name, encoding.channel)
        kind = of_values(value, encoding.values, ignored) if value else encoding.kind(pixels, name)
        found.append(planes(pixels, kind, name))
    if any(one.shape[1:] != found[0].shape[1:] for one in found):
        raise InputError(f"The masks of {_named(path)} differ in size; expected one size for all that are united.")
    return with_polarity(united(found), encoding.polarity)


def mask_pixels(path: Path | Sequence[Path], encoding: Encoding) -> list[tuple[str, Pixels]]:
    """The numbers of a mask's files and pages, each with the file's name, to find out what they mean.

    Raises:
        InputError: as `read_mask`.
    """
    return [(name, pixels_of(page, name, encoding.channel)) for name, page in _pages(path)]


def read_mask_pages(path: Path) -> list[Float[np.ndarray, "_ H W"]]:
    """The masks of a file's pages, each as `read_mask` gives a mask.

    Raises:
        InputError: as `read_mask`.
    """
    found = mask_pixels(path, Encoding())
    encoding = find_encoding(Encoding(), found)
    return [shares(planes(pixels, encoding.kind(pixels, name), name)) for name, pixels in found]


def _pages(path: Path | Sequence[Path], turn: int = 1) -> Iterator[tuple[str, Image.Image]]:
    for file in [path] if isinstance(path, Path) else path:
        with opened(file) as image:
            image.load()  # a PNG may have its EXIF block after the pixels
            own = _orientation(image)
            writer = str(getattr(image, "tag_v2", {}).get(SOFTWARE, ""))  # of the first page alone
            for page in ImageSequence.Iterator(image) if image.format == "TIFF" else [image]:
                yield file.name, turned(_as_meant(page, writer), own if own > 1 else turn)


def _as_meant(page: Image.Image, writer: str) -> Image.Image:
    """A boolean mask of tifffile or imageio says "0 is white", and is meant, and read by them, the other way."""
    is_turned = page.mode == "1" and "tifffile" in writer and getattr(page, "tag_v2", {}).get(PHOTOMETRIC) == 0
    return ImageChops.invert(page) if is_turned else page


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """An image turned as an EXIF orientation says, whatever its own says."""
    method = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }.get(orientation)
    return image.transpose(method) if method is not None else image


def read_box(
    box: str, height: int, width: int, path: Path, encoding: Encoding | None = None, turn: int = 1
) -> tv_tensors.Mask:
    """A box as a mask (1, H, W) of ones inside and zeros outside; several, with semicolons between, are united.

    A box of pixels `x0 y0 x1 y1` includes both its corners. One of width and height, or in fractions or percent, covers
    the pixels whose centres lie in it.

    >>> read_box("1 0 2 0", 2, 4, Path("cat.png"))[0].tolist()
    [[0.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]]

    Args:
        box: the cell of the table.
        height: of the image as it was when the box was drawn, in pixels.
        width: likewise.
        path: of the image.
        encoding: says the format and the unit of boxes, and whether they mark evidence.
        turn: the EXIF orientation by which to turn the mask.

    Raises:
        InputError: not four numbers, or not a box within the image.
    """
    encoding = encoding or Encoding()
    mask = Image.new("L", (width, height))
    for one in box.split(";"):
        x0, y0, x1, y1 = _corners(one, height, width, path, encoding)
        mask.paste(1, (x0, y0, x1, y1))
    plane = np.array(turned(mask, turn)).astype(np.float32)[None]
    return tv_tensors.Mask(torch.from_numpy(with_polarity(plane, encoding.polarity)))


def _corners(box: str, height: int, width: int, path: Path, encoding: Encoding) -> tuple[int, int, int, int]:
    """The first pixels and those behind the last ones."""
    form = "x0 y0 x1 y1" if encoding.box_format == "xyxy" else "x y width height"
    try:
        x0, y0, x1, y1 = (float(number) for number in box.split())
    except ValueError:
        raise InputError(
            f"Box {box!r} of {str(path)!r}; expected four numbers {form!r} in {encoding.box_unit}."
        ) from None
    if encoding.box_format == "xywh":
        x1, y1 = x0 + x1, y0 + y1
    scale = {"pixels": (1, 1), "fractions": (width, height), "percent": (width / 100, height / 100)}[encoding.box_unit]
    x0, x1, y0, y1 = x0 * scale[0], x1 * scale[0], y0 * scale[1], y1 * scale[1]
    slack = 1e-3 * max(width, height)  # fractions are rounded when they are written
    if not (-slack <= x0 <= x1 <= width + slack and -slack <= y0 <= y1 <= height + slack):
        raise InputError(
            f"Box {box!r} of {str(path)!r} does not fit its image of {width} by {height} pixels; "
            f"expected {form!r} in {encoding.box_unit}, within the image. Other kinds of box: box_format and box_unit "
            f"in {FILE} beside labels.csv."
        )
    left, top, right, bottom = (round(number) for number in (x0, y0, x1, y1))
    if encoding.box_format == "xyxy" and encoding.box_unit == "pixels":
        right, bottom = right + 1, bottom + 1
    return max(left, 0), max(top, 0), min(right, width), min(bottom, height)


def _named(path: Path | Sequence[Path]) -> str:
    return ", ".join(repr(str(one)) for one in ([path] if isinstance(path, Path) else path))


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """An image file; whatever is wrong with it while it is read is said in a sentence."""
    try:
        if not path.is_file():  # opening a pipe or a device may never end
            if path.exists():
                raise InputError(f"{str(path)!r} is a folder, a pipe or a device. Expected an image file.")
            raise InputError(f"No file {str(path)!r}.{_similar(path)}")
        with Image.open(path) as image:
            yield image
    except Image.DecompressionBombError as error:
        raise InputError(f"{str(path)!r} is too large: {error} Cut it into tiles, or make it smaller.") from None
    except InputError:
        raise
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError, struct.error) as error:
        if path.suffix.lower() in CONVERSIONS and not path.is_dir():
            raise InputError(f"{str(path)!r} is {CONVERSIONS[path.suffix.lower()]}.") from None
        raise InputError(
            f"Cannot read {str(path)!r} as an image: {_reason(error)}. Expected a whole image file."
        ) from error


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "it is in no format that Pillow knows"
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


def _similar(path: Path) -> str:
    """What the user may have meant: paths from other systems."""
    if "\\" in str(path):
        return " It has backslashes, as paths have on Windows; write '/' instead."
    for form in ("NFC", "NFD"):
        if Path(unicodedata.normalize(form, str(path))).is_file():
            return (
                " A file of that name is there whose accents are encoded otherwise (Unicode "
                f"{form}); write its name in that form, or rename the file."
            )
    return ""
