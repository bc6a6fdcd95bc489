"""DICOM: folders of classes with images, and segmentations (SEG) anywhere in the tree that refer to them.

Numbers are rescaled, seen through the file's own window (without one, from the least to the largest), and turned over
where 0 is white (MONOCHROME1). Each frame is an image.
"""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped, UInt8

from lookright.data.formats.annotated import Annotated, Format, require_size, union
from lookright.errors import InputError

SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
SUFFIXES = ("", ".dcm", ".dicom", ".ima")
SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")  # segments, and label maps


def read(folder: Path) -> Iterator[Annotated]:
    """The images of a folder `[split/]class/image.dcm`, or `image.dcm` alone, whose labels are then what is marked.

    In a class's folder all segments are evidence; else each is marked under its name.

    Raises:
        InputError: a file that cannot be read.
    """
    headers = {path: _read(path, header=True) for path in _files(folder)}
    segmentations: dict[str, list[Any]] = defaultdict(list)
    for path, header in headers.items():
        if header.get("SOPClassUID") in SEGMENTATIONS:
            segmentation = _segmentation(path)
            for *_, source in segmentation.get_source_image_uids():
                segmentations[source].append(segmentation)
    for path, header in headers.items():
        if header.get("SOPClassUID") in SEGMENTATIONS:
            continue
        *outer, label = path.relative_to(folder).parent.parts or (None,)
        split = SPLITS.get(str(outer[0]).lower()) if outer else None
        frames = pictures(path)
        marks = [mark for each in segmentations[header.SOPInstanceUID] for mark in _marks(each, header, len(frames))]
        for number, pixels in enumerate(frames):
            marked: dict[str, np.ndarray] = {}
            for name, masks in marks:
                marked = union(marked, label or name, masks[number])
            name = f"{path.stem}.png" if len(frames) == 1 else f"{path.stem}-{number + 1}.png"
            yield Annotated(path.with_name(name), marked, label=label, split=split, pixels=pixels)


def pictures(path: Path) -> list[UInt8[np.ndarray, "H W *C"]]:
    """The frames of a file as they are meant to be seen, 0 black and 255 white.

    Raises:
        InputError: no DICOM image.
    """
    from pydicom.pixels import apply_color_lut, apply_modality_lut, pixel_array

    dataset = _read(path)
    require_size(int(dataset.get("Rows", 0)), int(dataset.get("Columns", 0)))
    require_size(int(dataset.get("NumberOfFrames") or 1), dataset.Rows * dataset.Columns)
    try:
        stored = pixel_array(dataset)  # colours as RGB
    except Exception as error:  # whatever pydicom's decoders meet
        raise InputError(f"Cannot decode {str(path)!r}: {error}") from error
    frames = stored if int(dataset.get("NumberOfFrames") or 1) > 1 else stored[None]
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        frames = apply_color_lut(frames, dataset)
    if frames.ndim == 4:
        return [(frame >> 8 * (frame.itemsize - 1)).astype(np.uint8) for frame in frames]
    values = apply_modality_lut(frames, dataset).astype(float)
    low, high = _window(dataset, values)
    shares = np.clip((values - low) / max(high - low, 1e-9), 0, 1)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        shares = 1 - shares
    return list((255 * shares).round().astype(np.uint8))


def _window(dataset: Any, values: np.ndarray) -> tuple[float, float]:
    """Black and white: DICOM PS3.3, C.11.2.1.2 and C.11.2.1.3.2."""
    centre, width = dataset.get("WindowCenter"), dataset.get("WindowWidth")
    if centre is None or width is None:
        return float(values.min()), float(values.max())
    centre, width = (float(each if isinstance(each, float | int) else each[0]) for each in (centre, width))
    if dataset.get("VOILUTFunction") == "LINEAR_EXACT":
        return centre - width / 2, centre + width / 2
    return centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2


def _marks(segmentation: Any, header: Any, frames: int) -> list[tuple[str, Shaped[np.ndarray, "F H W"]]]:
    """Each segment's name and its masks on the frames of an image."""
    numbers = [number for number in segmentation.segment_numbers if number > 0]  # of a label map, 0 is background
    given = {"segment_numbers": numbers, "assert_missing_frames_are_empty": True}
    if frames > 1:
        masks = segmentation.get_pixels_by_source_frame(header.SOPInstanceUID, list(range(1, frames + 1)), **given)
    else:
        masks = segmentation.get_pixels_by_source_instance([header.SOPInstanceUID], **given)
    names = [str(segmentation.get_segment_description(number).segment_label) for number in numbers]
    is_soft = np.issubdtype(masks.dtype, np.floating)
    return [(name, masks[..., place] if is_soft else masks[..., place] > 0) for place, name in enumerate(names)]


def _segmentation(path: Path) -> Any:
    try:
        import highdicom
    except ImportError:
        raise InputError(
            "Segmentations in DICOM need the package highdicom: pip install 'lookright[formats]'."
        ) from None
    try:
        return highdicom.seg.segread(path)
    except Exception as error:  # whatever is wrong with the file
        raise InputError(f"Cannot read the segmentation {str(path)!r}: {error}") from error


def _read(path: Path, header: bool = False) -> Any:
    try:
        import pydicom
    except ImportError:
        raise InputError("DICOM needs the package pydicom: pip install 'lookright[formats]'.") from None
    try:
        return pydicom.dcmread(path, stop_before_pixels=header)
    except Exception as error:  # whatever is wrong with the file
        raise InputError(f"Cannot read {str(path)!r} as DICOM: {error}") from error


def _files(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and path.is_file() and not path.name.startswith(".") and _is_dicom(path)
    )


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        return path.suffix.lower() == ".dcm" or file.read(132)[128:] == b"DICM"


FORMAT = Format(
    "dicom",
    "a folder of DICOM images in folders of classes, or with segmentations",
    lambda path: path.is_dir() and any(_is_dicom(file) for file in path.rglob("*.dcm")),
    read,
)
