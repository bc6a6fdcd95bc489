"""What the page proposes to mark: where a run looks, regions of one colour, what a user's segmenter says."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Int
from PIL import Image

from lookright.errors import InputError, require_between, require_one_of
from lookright.import_path import imported
from lookright.studio.folder import StudioFolder
from lookright.studio.scores import RunScores, marked_by

SHAPES = ("map", "superpixels", "segmenter")
MOST_REGIONS = 300
_SIDE = 512
_KEPT = 8

Segmenter = Callable[[np.ndarray, int, int], np.ndarray]


class Proposals:
    """Marks what an operation of the page names.

    Args:
        folder: of the images.
        runs: whose maps are proposed.
        segmenter: the import path of a function `segment(image, x, y)` that gives the object at a pixel of an image
            (H, W, 3) uint8 as an array (H, W) of booleans; None: there is none.

    Raises:
        InputError: the segmenter cannot be imported.
    """

    def __init__(self, folder: StudioFolder, runs: Sequence[RunScores], segmenter: str | None) -> None:
        self._folder = folder
        self._runs = runs
        self._regions: OrderedDict[str, Int[np.ndarray, "H W"]] = OrderedDict()
        self._lock = threading.Lock()
        self.segmenter: Segmenter | None = imported(segmenter, "segmenter") if segmenter else None
        if segmenter and not callable(self.segmenter):
            raise InputError(
                f"segmenter {segmenter!r} is no function; expected the import path of segment(image, x, y)."
            )

    def marked(self, image: str, operation: Mapping[str, Any], height: int, width: int) -> Bool[np.ndarray, "H W"]:
        """The pixels that an operation marks.

        Args:
            image: of the folder.
            operation: `shape` is `map`, with `run` (its number), `source` (`map`, or `masker` of a run of ALIGN) and
                `threshold` in [0, 1]; `superpixels`, with `regions`, a list of numbers; or `segmenter`, with `point`.
            height: of the image.
            width: of the image.

        Raises:
            InputError: anything else, or what is needed for it is missing.
        """
        shape = operation.get("shape")
        require_one_of("shape", shape, SHAPES)
        if shape == "map":
            threshold = operation.get("threshold")
            if isinstance(threshold, bool) or not isinstance(threshold, int | float):
                raise InputError("threshold has to be a number.")
            require_between("threshold", threshold, 0, 1)
            return marked_by(self.map(image, operation.get("run"), operation.get("source")), height, width, threshold)
        if shape == "superpixels":
            wanted = operation.get("regions")
            if not isinstance(wanted, list) or not all(type(number) is int for number in wanted):
                raise InputError("regions has to be a list of whole numbers.")
            found = self.regions(image)
            regions = np.isin(found, [number for number in wanted if 0 <= number <= found.max()])
            return np.array(Image.fromarray(regions).resize((width, height), Image.Resampling.NEAREST))
        if self.segmenter is None:
            raise InputError("There is no segmenter. Name one with --segmenter my.module.segment.")
        x, y = self._pixel(operation.get("point"), height, width)
        pixels = self._folder.sample(image).image.permute(1, 2, 0).numpy()
        segment = np.asarray(self.segmenter(pixels, x, y))
        if segment.shape != (height, width):
            raise InputError(f"The segmenter gave an array of shape {segment.shape}; expected {(height, width)}.")
        return segment.astype(bool)

    def map(self, image: str, run: object, source: object = "map") -> np.ndarray:
        """Where a run looks, or what its masker marks, in [0, 1] on a grid of its own.

        Raises:
            InputError: no such run, or it has no masker.
        """
        require_one_of("source", source, ("map", "masker"))
        scores = self.run(run)
        return scores.of(image).map if source == "map" else scores.learned_mask(image).numpy()

    def run(self, number: object) -> RunScores:
        """A run by its number.

        Raises:
            InputError: there is none.
        """
        if type(number) is not int or not 0 <= number < len(self._runs):
            raise InputError(f"There is no run {str(number)[:20]!r}. Name one with --run.")
        return self._runs[number]

    def regions(self, image: str) -> Int[np.ndarray, "h w"]:
        """Superpixels (SLIC), numbered from 0, of the image at most 512 pixels high and wide.

        Achanta et al., "SLIC superpixels compared to state-of-the-art superpixel methods", TPAMI 2012.

        Raises:
            InputError: scikit-image is not installed.
        """
        with self._lock:
            if image not in self._regions:
                try:
                    from skimage.segmentation import slic
                except ModuleNotFoundError as error:
                    raise InputError("Superpixels need scikit-image: pip install 'lookright[studio]'.") from error
                picture = Image.fromarray(self._folder.sample(image).image.permute(1, 2, 0).numpy())
                picture.thumbnail((_SIDE, _SIDE))
                pixels = np.asarray(picture)
                self._regions[image] = slic(pixels, n_segments=MOST_REGIONS, compactness=12, start_label=0)
                while len(self._regions) > _KEPT:
                    self._regions.popitem(last=False)
            return self._regions[image]

    @staticmethod
    def _pixel(point: object, height: int, width: int) -> tuple[int, int]:
        numbers = isinstance(point, list) and len(point) == 2 and all(type(value) in (int, float) for value in point)
        if not (numbers and isinstance(point, list) and 0 <= point[0] < width and 0 <= point[1] < height):
            raise InputError(f"point {str(point)[:60]} is none of the image; expected [x, y].")
        return int(point[0]), int(point[1])
