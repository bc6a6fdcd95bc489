"""NIfTI: volumes whose axial slices are images.

Either folders of classes, `class/case.nii.gz` and `class/case_seg.nii.gz`; or `imagesTr` and `labelsTr` with
`dataset.json` that names the labels (the Medical Segmentation Decathlon, nnU-Net), where a slice on which nothing is
marked is `background`.

Slices are shown as radiologists do: front above, the patient's right on the left. From the volume's 0.5 % to its 99.5 %
quantile they run from black to white.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Shaped, UInt8

from lookright.data.formats.annotated import Annotated, Format, require_size, union
from lookright.data.formats.json_file import read_json
from lookright.data.formats.suffixes import looks_like, masked_images
from lookright.errors import InputError

ENDINGS = (".nii.gz", ".nii")


def read(folder: Path) -> Iterator[Annotated]:
    """The slices of all volumes of a folder.

    Raises:
        InputError: a volume cannot be read, or its mask lies on another grid or has numbers without a name.
    """
    if not (folder / "labelsTr").is_dir():
        for path, masks, label, split in masked_images(folder, ENDINGS):
            for image, pixels, marked in _slices(path, masks, {0: "background", 1: label, 255: label}):
                yield Annotated(image, marked, label=label, split=split, pixels=pixels)
        return
    names = _names(folder / "dataset.json")
    for mask in (path for path in sorted((folder / "labelsTr").glob("[!.]*")) if path.name.endswith(ENDINGS)):
        case = _case(mask)
        places = [folder / "imagesTr" / f"{case}{part}{ending}" for part in ("", "_0000") for ending in ENDINGS]
        volume = next((place for place in places if place.is_file()), None)
        if volume is None:
            raise InputError(f"No volume of {str(mask)!r} in {str(folder / 'imagesTr')!r}.")
        for image, pixels, marked in _slices(volume, [mask], names):
            found = {name: where for name, where in marked.items() if where.any()}
            if not found:
                yield Annotated(image, {names[0]: np.zeros(pixels.shape, bool)}, label=names[0], pixels=pixels)
            else:
                yield Annotated(image, found, pixels=pixels)


def _slices(
    path: Path, masks: list[Path], names: dict[int, str]
) -> Iterator[tuple[Path, UInt8[np.ndarray, "H W"], dict[str, Bool[np.ndarray, "H W"]]]]:
    values, affine = _volume(path)
    labels = []
    for mask in masks:
        numbers, place = _volume(mask)
        if numbers.shape != values.shape or not np.allclose(place, affine, atol=1e-3):
            raise InputError(
                f"{str(mask)!r} lies on another grid than {path.name!r}: {numbers.shape} against {values.shape}, "
                "or another affine. Resample it to its volume."
            )
        labels.append(np.rint(numbers).astype(int))  # label maps that were stored with a factor are not quite whole
        unknown = set(np.unique(labels[-1]).tolist()) - set(names)
        if unknown:
            known = ", ".join(map(str, sorted(names)))
            raise InputError(f"{str(mask)!r} has the number {min(unknown)}, which has no name; expected {known}.")
    low, high = np.quantile(values, [0.005, 0.995])
    shown = (np.clip((values - low) / max(high - low, 1e-9), 0, 1) * 255).round().astype(np.uint8)
    for z in range(values.shape[2]):
        marked: dict[str, np.ndarray] = {}
        for numbers in labels:
            for number, name in names.items():
                if number:
                    marked = union(marked, name, _seen(numbers[..., z] == number))
        yield path.with_name(f"{_case(path)}-{z + 1}.png"), _seen(shown[..., z]), marked


def _volume(path: Path) -> tuple[Float[np.ndarray, "X Y Z"], Float[np.ndarray, "4 4"]]:
    """Values along the patient's right, front and head, and where they lie in millimetres."""
    try:
        import nibabel
    except ImportError:
        raise InputError("NIfTI needs the package nibabel: pip install 'lookright[formats]'.") from None
    try:
        image = nibabel.load(path)
        if len(image.shape) != 3:
            raise InputError(f"{str(path)!r} has {len(image.shape)} dimensions; expected a volume of 3.")
        require_size(image.shape[2], image.shape[0] * image.shape[1])
        image = nibabel.as_closest_canonical(image)
        return np.nan_to_num(image.get_fdata(dtype=np.float32)), image.affine
    except InputError:
        raise
    except Exception as error:  # whatever is wrong with the file
        raise InputError(f"Cannot read {str(path)!r} as NIfTI: {error}") from error


def _seen(values: Shaped[np.ndarray, "X Y"]) -> Shaped[np.ndarray, "H W"]:
    """A slice as it is shown: front above, the patient's right on the left."""
    return np.ascontiguousarray(values[::-1, ::-1].T)


def _names(path: Path) -> dict[int, str]:
    """Of `{"0": "background", "1": "liver"}` (Decathlon) and of `{"background": 0, "liver": 1}` (nnU-Net)."""
    labels = read_json(path, ("labels",))["labels"]
    pairs = [(name, number) if isinstance(number, int) else (number, name) for name, number in labels.items()]
    names = {int(number): str(name) for name, number in pairs}
    return {0: "background"} | names


def _case(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".nii")


FORMAT = Format(
    "nifti",
    "volumes of NIfTI in folders of classes with masks (_seg) beside them, or imagesTr and labelsTr",
    lambda path: (path / "labelsTr").is_dir() or looks_like(path, ENDINGS),
    read,
)
