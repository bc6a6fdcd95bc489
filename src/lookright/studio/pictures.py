"""The images, and what is laid over them: masks, maps, their difference, regions."""

import numpy as np
from PIL import Image
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Request, Response

from lookright.data.images import read_header
from lookright.studio.annotations import Annotations, codes_of
from lookright.studio.colours import difference, heat, parts
from lookright.studio.folder import StudioFolder
from lookright.studio.proposals import Proposals
from lookright.studio.request import image_of, run_of, side_of
from lookright.studio.response import Answers, as_jpeg, as_png, kept
from lookright.studio.scores import grown


class Pictures:
    """Answers with pictures.

    Args:
        folder: that is shown.
        annotations: whose masks are shown.
        proposals: with the maps of the runs.
    """

    def __init__(self, folder: StudioFolder, annotations: Annotations, proposals: Proposals) -> None:
        self._folder = folder
        self._annotations = annotations
        self._proposals = proposals
        self.answers: Answers = {
            ("GET", "api/thumbnail"): self._thumbnail,
            ("GET", "api/picture"): self._picture,
            ("GET", "api/mask"): self._mask,
            ("GET", "api/map"): self._map,
            ("GET", "api/difference"): self._difference,
            ("GET", "api/regions"): self._regions,
        }

    def _thumbnail(self, request: Request) -> Response:
        return kept(as_jpeg(self._folder.thumbnail(image_of(request), side_of(request))))

    def _picture(self, request: Request) -> Response:
        return kept(as_jpeg(self._folder.picture(image_of(request))))

    def _mask(self, request: Request) -> Response:
        """The mask in colours: an annotator's, or the one that the table names."""
        image, side = image_of(request), side_of(request)
        if "annotator" in request.args:
            codes = self._annotations.read(image, request.args["annotator"]).codes
        else:
            codes = codes_of(self._planes(image))
        height, width = _within(side, *codes.shape)
        return as_png(Image.fromarray(parts(codes)).resize((width, height), Image.Resampling.NEAREST))

    def _map(self, request: Request) -> Response:
        """Where a run looks, in colours that are clear where it does not; `plain`: in grey, to choose a threshold."""
        image, side = image_of(request), side_of(request)
        map = self._proposals.map(image, run_of(request), request.args.get("source", "map"))
        values = grown(map, *self._shape(image, side))
        if "plain" in request.args:
            return as_png(Image.fromarray((values * 255).astype(np.uint8)))
        return kept(as_png(Image.fromarray(heat(values))))

    def _difference(self, request: Request) -> Response:
        """Orange where the run looks and no evidence is, blue where evidence is and the run does not look."""
        image, side = image_of(request), side_of(request)
        planes = self._planes(image)
        height, width = self._shape(image, side)
        inside, ignored = (
            np.asarray(Image.fromarray(plane.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR))
            for plane in (planes[0], planes[1] if len(planes) > 1 else np.zeros_like(planes[0]))
        )
        values = grown(self._proposals.map(image, run_of(request)), height, width)
        return as_png(Image.fromarray(difference(values, inside, ignored)))

    def _regions(self, request: Request) -> Response:
        """Superpixels: the number of each pixel's in red and green."""
        regions = self._proposals.regions(image_of(request))
        return as_png(Image.fromarray(np.stack([regions % 256, regions // 256, 0 * regions], -1).astype(np.uint8)))

    def _planes(self, image: str) -> np.ndarray:
        """The mask that the table names, in [0, 1]: evidence and, where there is such, what is ignored."""
        mask = self._folder.sample(image).mask
        if mask is None:
            raise NotFound("This image has no mask.")
        return mask.numpy() / (1 if mask.is_floating_point() else 255)

    def _shape(self, image: str, side: int) -> tuple[int, int]:
        width, height = read_header(self._folder.path(image)).upright
        return _within(side, height, width)


def _within(side: int, height: int, width: int) -> tuple[int, int]:
    """Height and width, at most `side`."""
    scale = min(side / max(height, width), 1)
    return max(round(height * scale), 1), max(round(width * scale), 1)
