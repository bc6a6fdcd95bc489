"""Where people looked: points with durations, made into soft masks.

A mask is the density of dwell time, each fixation a Gaussian of as much mass as it took time, over its maximum.
`fixations.csv` has a row for each fixation; what its columns mean is known for EyeGaze (PhysioNet egd-cxr) and REFLACX,
or said in `fixations.yaml` beside it: the keys of `Layout`. CUB-GHA's `Fixation.txt` has a line for each image.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float
from torchvision.datasets.folder import IMG_EXTENSIONS

from lookright.data.formats import dicom
from lookright.data.formats.annotated import Annotated, Format, require_size
from lookright.data.images import read_header
from lookright.errors import InputError, require_between, require_one_of
from lookright.yaml_file import read_yaml


@dataclass(frozen=True)
class Layout:
    """What the columns of a table of fixations mean: names of columns, or numbers that hold for all rows.

    Attributes:
        image: the file, by its path, its name, or its name without an ending.
        label: of the image; without such a column `labels.csv` names it.
        split: likewise, where there is one.
        x: to the right.
        y: down.
        duration: weighs a fixation; without such a column all weigh alike.
        start: with `end` in place of the duration.
        end: likewise.
        shortest: duration below which fixations are left out.
        unit: of x and y: pixels of the `image` or of the `screen`, or a `fraction` of the image.
        left: of the image on the screen, in the screen's pixels.
        top: likewise.
        shown_width: width that the image had on the screen.
        shown_height: likewise.
        kernel: standard deviation of the Gaussian.
        kernel_unit: `image` pixels, `screen` pixels, or `degrees` of the visual field.
        pixels_per_degree: in the unit of x and y; or two, for x and y.
        window: four columns, x0 y0 x1 y1, of the part of the image that was to be seen, in its pixels.
    """

    image: str = "image"
    label: str = "label"
    split: str = "split"
    x: str = "x"
    y: str = "y"
    duration: str = "duration"
    start: str = ""
    end: str = ""
    shortest: float = 0.0
    unit: Literal["image", "screen", "fraction"] = "image"
    left: str | float = 0.0
    top: str | float = 0.0
    shown_width: str | float = 0.0
    shown_height: str | float = 0.0
    kernel: float = 0.0
    kernel_unit: Literal["image", "screen", "degrees"] = "image"
    pixels_per_degree: str | float | list = 0.0
    window: tuple[str, ...] | list = ()


EYE_GAZE = Layout(image="DICOM_ID", x="X_ORIGINAL", y="Y_ORIGINAL", duration="FPOGD", kernel=150)
REFLACX = Layout(
    x="x_position",
    y="y_position",
    start="timestamp_start_fixation",
    end="timestamp_end_fixation",
    kernel=1,
    kernel_unit="degrees",
    pixels_per_degree=["angular_resolution_x_pixels_per_degree", "angular_resolution_y_pixels_per_degree"],
    window=tuple(f"{side}_shown_from_image" for side in ("xmin", "ymin", "xmax", "ymax")),
)
TINY = 1e-12
CUB_GHA_KERNEL = 75
"""Pixels of the screen, as in the authors' `generate_heatmap.py`."""


class Gaze(NamedTuple):
    """The fixations on an image, a row each, in its pixels.

    Attributes:
        points: x and y.
        weight: the time that each took.
        kernel: standard deviations along x and y.
        window: x0 y0 x1 y1 of what was to be seen; None: all.
    """

    points: Float[np.ndarray, "n 2"]
    weight: Float[np.ndarray, " n"]
    kernel: Float[np.ndarray, "n 2"]
    window: Float[np.ndarray, "n 4"] | None = None


def density(gaze: Gaze, height: int, width: int) -> Float[np.ndarray, "H W"]:
    """Dwell time about each pixel, over its maximum; zeros where nobody looked at the image.

    >>> one = Gaze(np.array([[1.5, 0.5]]), np.ones(1), np.array([[0.5, 0.5]]))
    >>> density(one, 1, 3).round(2).tolist()
    [[0.14, 1.0, 0.14]]
    """
    require_size(height, width)
    total = np.zeros((height, width))
    x, y = np.arange(width) + 0.5, np.arange(height) + 0.5
    for row, ((centre_x, centre_y), weight, (wide, high)) in enumerate(
        zip(gaze.points, gaze.weight, gaze.kernel, strict=True)
    ):
        right, down = np.exp(-(((x - centre_x) / wide) ** 2) / 2), np.exp(-(((y - centre_y) / high) ** 2) / 2)
        if gaze.window is not None:
            x0, y0, x1, y1 = gaze.window[row]
            right, down = right * ((x > x0) & (x < x1)), down * ((y > y0) & (y < y1))
        total += weight / (wide * high) * down[:, None] * right
    return total / max(total.max(), TINY)


def read(folder: Path) -> Iterator[Annotated]:
    """The images of a folder that were looked at; of several readings of an image, the mean.

    Raises:
        InputError: a column or a kernel is missing, or an image or its label.
    """
    images, labels = _images(folder), _labels(folder)
    readings: dict[str, list[tuple[pd.DataFrame, Layout]]] = defaultdict(list)
    for name, table, layout in _readings(folder):
        readings[name].append((table, layout))
    for name, found in readings.items():
        keys = (name, Path(name).name, Path(name).stem)
        path = next((images[key] for key in keys if key in images), None)
        if path is None:
            raise InputError(f"No image {name!r} below {str(folder)!r}, on which fixations lie.")
        pixels = dicom.pictures(path)[0] if path.suffix.lower() == ".dcm" else None
        height, width = read_header(path).upright[::-1] if pixels is None else pixels.shape[:2]
        table, layout = found[0]
        known = next((labels[key] for key in (*keys, path.name) if key in labels), {})
        own = {key: str(table[column].iloc[0]) for key, column in _named(layout).items() if column in table}
        label = own.get("label") or known.get("label")
        if not label:
            raise InputError(
                f"No label of {name!r}: write labels.csv into {str(folder)!r}, with the columns image and label."
            )
        mask = np.mean([density(_gaze(table, layout, height, width), height, width) for table, layout in found], axis=0)
        yield Annotated(
            path if pixels is None else path.with_suffix(".png"),
            {label: mask / max(mask.max(), TINY)},
            label=label,
            split=own.get("split") or known.get("split"),
            pixels=pixels,
        )


def _readings(folder: Path) -> Iterator[tuple[str, pd.DataFrame, Layout]]:
    """For each reading of an image its name, its fixations, and what their columns mean."""
    if (folder / "Fixation.txt").is_file():
        yield from _cub_gha(folder)
        return
    for path in sorted((folder / "main_data").glob("metadata_phase_*.csv")):
        for row in pd.read_csv(path).to_dict("records"):
            if str(row.get("eye_tracking_data_discarded")).lower() != "true":
                image = str(row.get("dicom_id") or row["image"])
                yield Path(image).stem, pd.read_csv(folder / "main_data" / str(row["id"]) / "fixations.csv"), REFLACX
    table = folder / "fixations.csv"
    if table.is_file():
        fixations = pd.read_csv(table, skipinitialspace=True)
        layout = _layout(folder, fixations)
        if layout.image not in fixations:
            raise InputError(f"No column {layout.image!r} in {str(table)!r}; it has {', '.join(fixations.columns)}.")
        for name, part in fixations.groupby(layout.image, sort=False):
            yield str(name), part, layout


def _layout(folder: Path, table: pd.DataFrame) -> Layout:
    path = folder / "fixations.yaml"
    if not path.is_file():
        for layout in (EYE_GAZE, REFLACX):
            if {layout.x, layout.y} <= set(table):
                return layout
        raise InputError(
            f"Nothing says how wide a fixation is. Write {str(path)!r} with lines such as 'unit: image', 'kernel: 30'."
        )
    content, keys = read_yaml(path), [entry.name for entry in fields(Layout)]
    unknown = [key for key in content or () if key not in keys]
    if not isinstance(content, dict) or unknown:
        raise InputError(f"Unknown key {(unknown or [content])[0]!r} in {str(path)!r}; expected {', '.join(keys)}.")
    layout = Layout(**content)
    require_one_of("unit", layout.unit, ("image", "screen", "fraction"))
    require_one_of("kernel_unit", layout.kernel_unit, ("image", "screen", "degrees"))
    return layout


def _gaze(table: pd.DataFrame, layout: Layout, height: int, width: int) -> Gaze:
    if layout.start:
        weight = _numbers(table, layout.end) - _numbers(table, layout.start)
    else:
        weight = _numbers(table, layout.duration) if layout.duration in table else np.ones(len(table))
    left, top, wide, high = 0.0, 0.0, float(width), float(height)
    if layout.unit == "screen":
        left, top, wide, high = (
            float(_numbers(table, place)[0])
            for place in (layout.left, layout.top, layout.shown_width, layout.shown_height)
        )
    elif layout.unit == "fraction":
        wide = high = 1.0
    require_between("shown_width", wide, TINY)
    require_between("shown_height", high, TINY)
    scale = np.array([width / wide, height / high])
    points = (np.stack([_numbers(table, layout.x), _numbers(table, layout.y)], 1) - (left, top)) * scale
    kernel = np.full_like(points, layout.kernel)
    if layout.kernel_unit == "degrees":
        given = layout.pixels_per_degree
        per = given if isinstance(given, list) else [given, given]
        kernel *= np.stack([_numbers(table, one) for one in per], 1)
    if layout.kernel_unit != "image":
        kernel *= scale
    window = np.stack([_numbers(table, one) for one in layout.window], 1) if layout.window else None
    kept = (weight > 0) & (weight >= layout.shortest) & np.isfinite(points).all(1)
    if not (np.isfinite(kernel[kept]).all() and (kernel[kept] > 0).all()):
        raise InputError("A fixation is 0 pixels wide; expected a kernel above 0, and pixels_per_degree for degrees.")
    return Gaze(points[kept], weight[kept], kernel[kept], None if window is None else window[kept])


def _numbers(table: pd.DataFrame, place: str | float) -> Float[np.ndarray, " n"]:
    """A column, or a number for all rows."""
    if not isinstance(place, str):
        return np.full(len(table), float(place))
    if place not in table:
        raise InputError(f"No column {place!r} of fixations; expected one of {', '.join(map(str, table.columns))}.")
    return pd.to_numeric(table[place], errors="coerce").to_numpy(float)


def _cub_gha(folder: Path) -> Iterator[tuple[str, pd.DataFrame, Layout]]:
    """A line is id, the image's size, its size and place on the screen, then x, y and milliseconds of each fixation."""
    cub = folder if (folder / "images.txt").is_file() else folder / "CUB_200_2011"
    names, training = (
        dict(line.split() for line in (cub / file).open()) for file in ("images.txt", "train_test_split.txt")
    )
    layout = Layout(
        unit="screen", left="left", top="top", shown_width="shown_width", shown_height="shown_height",
        kernel=CUB_GHA_KERNEL, kernel_unit="screen",
    )  # fmt: skip
    for line in (folder / "Fixation.txt").open():
        number, *values = line.replace(",", " ").split()
        _, _, shown_width, shown_height, left, top, *rest = (float(value) for value in values)
        points = np.array(rest[: len(rest) // 3 * 3]).reshape(-1, 3)
        table = pd.DataFrame(points, columns=["x", "y", "duration"]).assign(
            left=left, top=top, shown_width=shown_width, shown_height=shown_height,
            label=names[number].split("/")[0], split="train" if training[number] == "1" else "test",
        )  # fmt: skip
        if len(table):
            yield names[number], table, layout


def _named(layout: Layout) -> dict[str, str]:
    return {"label": layout.label, "split": layout.split}


def _labels(folder: Path) -> dict[str, dict[Hashable, str]]:
    path = folder / "labels.csv"
    if not path.is_file():
        return {}
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    return {row["image"]: row for row in table.to_dict("records")}


def _images(folder: Path) -> dict[str, Path]:
    """By path from the folder, by path from `images`, by name, and by name without an ending."""
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in (*IMG_EXTENSIONS, ".dcm"):
            place = path.relative_to(folder)
            inner = place.parts[place.parts.index("images") + 1 :] if "images" in place.parts else place.parts
            for key in (place.as_posix(), "/".join(inner), path.name, path.stem):
                found.setdefault(key, path)
    return found


FORMAT = Format(
    "fixations",
    "a folder with images and fixations.csv, or with REFLACX's main_data or CUB-GHA's Fixation.txt",
    lambda path: (
        (path / "fixations.csv").is_file()
        or (path / "Fixation.txt").is_file()
        or any((path / "main_data").glob("metadata_phase_*.csv"))
    ),
    read,
)
