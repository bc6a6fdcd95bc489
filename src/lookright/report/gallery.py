"""The same test images seen by each method: image, mask outline, attention maps, predictions."""

import base64
import io
from dataclasses import dataclass

import numpy as np
from contourpy import LineType, contour_generator
from matplotlib import colormaps
from PIL import Image

from lookright.report.comparison import Section
from lookright.report.directory import Evaluation

MAXIMUM = 24
LARGEST_SIDE = 224
# No map that is kept has more cells; the browser enlarges it bilinearly.
LARGEST_OVERLAY = 64
LEVELS = 64


@dataclass(frozen=True)
class Picture:
    """One method's map over a test image, with what the method said."""

    name: str
    series: int
    overlay: str
    prediction: str
    confidence: float
    correct: bool
    alignment: float


@dataclass(frozen=True)
class Card:
    """One test image.

    Attributes:
        file: the image's name in the data set.
        label: its class.
        domain: where it comes from, or "".
        width: of the picture in pixels, as height.
        photo: the image as data URI.
        outline: path of the mask's outline in pixels; "" where the image has no mask.
        pictures: one per method.
    """

    file: str
    label: str
    domain: str
    width: int
    height: int
    photo: str
    outline: str
    pictures: list[Picture]

    @property
    def gap(self) -> float:
        """Best minus worst alignment among the methods; NaN where fewer than two are defined."""
        defined = [picture.alignment for picture in self.pictures if not np.isnan(picture.alignment)]
        return max(defined) - min(defined) if len(defined) > 1 else np.nan


def cards(section: Section, evaluations: dict[str, Evaluation], maximum: int = MAXIMUM) -> list[Card]:
    """The gallery of one split.

    Args:
        section: gives the order of the methods.
        evaluations: per method the evaluation of one run on the split.
        maximum: most images shown, taken evenly from those that every method has.
    """
    stored = {name: _rows(evaluation) for name, evaluation in evaluations.items() if "gallery_map" in evaluation.arrays}
    if not stored:
        return []
    first = next(iter(stored.values()))
    shared = [file for file in first if all(file in rows for rows in stored.values())]
    if len(shared) > maximum:
        shared = [shared[index] for index in np.linspace(0, len(shared) - 1, maximum).round().astype(int)]
    return [
        _card(section, file, {name: (evaluations[name], rows[file]) for name, rows in stored.items()})
        for file in shared
    ]


def _rows(evaluation: Evaluation) -> dict[str, int]:
    """File name to position in the gallery arrays."""
    rows = evaluation.arrays["gallery_row"]
    return {evaluation.images["image"].iloc[row]: position for position, row in enumerate(rows)}


def _card(section: Section, file: str, methods: dict[str, tuple[Evaluation, int]]) -> Card:
    evaluation, position = next(iter(methods.values()))
    arrays = evaluation.arrays
    about = evaluation.images.iloc[arrays["gallery_row"][position]]
    photo = Image.fromarray(arrays["gallery_image"][position])
    photo.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    has_mask = "gallery_mask" in arrays and arrays.get("gallery_mask_weight", np.ones(position + 1))[position] > 0
    pictures = []
    for name in section.names:
        if name not in methods:
            continue
        evaluation, position = methods[name]
        row = evaluation.images.iloc[evaluation.arrays["gallery_row"][position]]
        pictures.append(
            Picture(
                name,
                section.names.index(name),
                _overlay(evaluation.arrays["gallery_map"][position], photo.size),
                str(row.get("prediction", "")),
                float(row.get("confidence", np.nan)),
                bool(row.get("correct", 0) == 1),
                float(row.get("energy_in_mask", np.nan)),
            )
        )
    return Card(
        file,
        str(about.get("label", "")),
        str(about.get("domain", "")),
        *photo.size,
        _data_uri(photo, "JPEG", quality=88, subsampling=0),
        _outline(arrays["gallery_mask"][position], photo.size) if has_mask else "",
        pictures,
    )


def _overlay(attention: np.ndarray, size: tuple[int, int]) -> str:
    """The map, resized bilinearly, in a perceptually uniform colour map; where it is low the image shows through."""
    map = Image.fromarray(np.nan_to_num(attention.astype(np.float32)))
    share = min(1.0, LARGEST_OVERLAY / max(size))
    size = (max(1, round(size[0] * share)), max(1, round(size[1] * share)))
    level = np.asarray(map.resize(size, Image.Resampling.BILINEAR)).clip(0, 1)
    picture = Image.fromarray((level * (LEVELS - 1)).round().astype(np.uint8), mode="P")
    colour = (colormaps["inferno"](np.linspace(0, 1, LEVELS))[:, :3] * 255).round().astype(np.uint8)
    alpha = np.linspace(0, 1, LEVELS) ** 0.8 * 255
    picture.putpalette(colour.tobytes())
    return _data_uri(picture, "PNG", optimize=True, transparency=alpha.round().astype(np.uint8).tobytes())


def colour_bar() -> str:
    """The overlay's colours as a CSS gradient, for the legend."""
    stops = (colormaps["inferno"](np.linspace(0, 1, 9))[:, :3] * 255).round().astype(int)
    return f"linear-gradient(to right, {', '.join(f'rgb({red} {green} {blue})' for red, green, blue in stops)})"


def _outline(mask: np.ndarray, size: tuple[int, int]) -> str:
    """SVG path where the mask reaches half of its maximum, in the picture's pixels."""
    if mask.max() == 0:
        return ""
    height, width = mask.shape
    # A border of zeros closes the outline of an object that leaves the image.
    lines = contour_generator(z=np.pad(mask.astype(float), 1), line_type=LineType.Separate).lines(float(mask.max()) / 2)
    scale = np.array([size[0] / width, size[1] / height])
    paths = []
    for line in lines:
        points = ((np.asarray(line) - 0.5) * scale).clip(0, size).round(1)
        paths.append("M" + "L".join(f"{x:g} {y:g}" for x, y in points) + "Z")
    return "".join(paths)


def _data_uri(image: Image.Image, format: str, **options: object) -> str:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return f"data:image/{format.lower()};base64,{base64.b64encode(stream.getvalue()).decode()}"
