"""What the page asks for, and what it gets."""

import io
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from werkzeug.exceptions import BadRequest, HTTPException, NotFound
from werkzeug.wrappers import Request, Response

from lookright.data.images import read_header
from lookright.errors import InputError, said_by_system
from lookright.methods import ALIGN
from lookright.studio.annotations import Annotation, Annotations, Outdated, codes_of
from lookright.studio.colours import difference, heat
from lookright.studio.drawing import EVIDENCE, IGNORE, NUISANCE, Codes, drawn, painted
from lookright.studio.findings import Findings
from lookright.studio.folder import LARGEST_PICTURE, NotShown, StudioFolder
from lookright.studio.guard import LARGEST_BODY, require_allowed
from lookright.studio.places import Places
from lookright.studio.proposals import SHAPES, Proposals
from lookright.studio.scores import RunScores, Score, disagreement, grown
from lookright.studio.teaching import ENOUGH, choose
from lookright.studio.trainer import Trainer, change
from lookright.training.run import TrainedRun

PAGE = Path(__file__).parent / "page"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".txt": "text/plain"}
LEAST_PICTURE = 16
MOST_ASKED_FOR = 200
COLOURS = {EVIDENCE: (27, 158, 119, 150), IGNORE: (150, 150, 150, 150), NUISANCE: (217, 95, 2, 150)}
"""Red, green, blue and opacity of a mask's parts."""

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

Answer = Callable[[Request], Response]


class Studio:
    """The page as a WSGI application.

    Args:
        folder: that is shown.
        token: that every address begins with.
        port: that it is served at.
        annotator: the name that masks are drawn under until the page gives another.
        runs: whose maps are shown, by the name that the page gives them.
        segmenter: the import path of a user's own, see `lookright.studio.proposals`.
        config: settings of the trainings that the page starts; None: those of the first run.

    Raises:
        InputError: the segmenter cannot be imported.
    """

    def __init__(
        self,
        folder: StudioFolder,
        token: str,
        port: int,
        annotator: str,
        runs: Mapping[str, TrainedRun] | None = None,
        segmenter: str | None = None,
        config: Path | None = None,
    ) -> None:
        self.folder = folder
        self.token = token
        self.port = port
        self.annotator = annotator
        self.annotations = Annotations(folder)
        self.places = Places(folder)
        self.findings = Findings(folder)
        self.runs = [RunScores(name, run, folder) for name, run in (runs or {}).items()]
        self._between: dict[str, tuple[Score, Score, tuple[float, float]]] = {}
        self.proposals = Proposals(folder, self.runs, segmenter)
        self.trainer = Trainer(folder, self.runs[0].run if self.runs else None, config, self._trained)
        self.page = {path.name: path for path in PAGE.iterdir() if path.suffix in TYPES}
        self.answers: dict[tuple[str, str], Answer] = {
            ("GET", "api/folder"): self._folder,
            ("GET", "api/thumbnail"): self._thumbnail,
            ("GET", "api/picture"): self._picture,
            ("GET", "api/annotation"): self._annotation,
            ("GET", "api/mask"): self._mask,
            ("GET", "api/scores"): self._scores,
            ("GET", "api/map"): self._map,
            ("GET", "api/difference"): self._difference,
            ("GET", "api/regions"): self._regions,
            ("GET", "api/teach"): self._teach,
            ("GET", "api/findings"): self._findings,
            ("POST", "api/findings"): self._find,
            ("GET", "api/train"): self._training,
            ("POST", "api/train"): self._train,
            ("POST", "api/draw"): self._draw,
            ("POST", "api/undo"): self._undo,
            ("POST", "api/place"): self._place,
        }

    def start(self) -> None:
        """Begin to score the folder's images."""
        for scores in self.runs:
            scores.start()

    def stop(self) -> None:
        """End what goes on in the background."""
        self.trainer.stop()
        for scores in self.runs:
            scores.stop()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        """One request."""
        request = Request(environ)
        request.max_content_length = LARGEST_BODY
        response = self.respond(request)
        for name, value in HEADERS.items():
            response.headers[name] = value
        response.headers.setdefault("Cache-Control", "no-store")
        return response(environ, start_response)

    def respond(self, request: Request) -> Response:
        """The answer, or in a sentence why there is none."""
        try:
            path = require_allowed(request, self.token, self.port)
            if request.method == "GET" and path in ("", *self.page):
                return self._file(path or "index.html")
            answer = self.answers.get((request.method, path))
            if answer is None:
                raise NotFound("The page asks for no such thing.")
            return answer(request)
        except HTTPException as error:
            return _json({"error": error.description}, error.code or 500)
        except NotShown as error:
            return _json({"error": str(error)}, 404)
        except Outdated as error:
            return _json({"error": str(error), "version": error.version}, 409)
        except InputError as error:
            return _json({"error": " ".join(str(error).split())}, 400)
        except OSError as error:
            return _json({"error": said_by_system(error)}, 500)

    def _file(self, name: str) -> Response:
        path = self.page[name]
        return Response(path.read_bytes(), mimetype=TYPES[path.suffix])

    def _folder(self, request: Request) -> Response:
        """Everything that the grid sorts and filters by, column by column."""
        table = self.folder.table
        columns = {name: table[name].tolist() for name in ("image", "label", "split", "domain") if name in table}
        who = self.annotations.by_image()
        return _json(
            {
                "name": self.folder.root.name,
                "columns": columns
                | {
                    "has_mask": [bool(weight > 0) for weight in table["mask_weight"]],
                    "annotators": [who.get(image, []) for image in table["image"]],
                },
                "annotator": self.annotator,
                "places": self.places.read(),
                "runs": [scores.name for scores in self.runs],
                "has_masker": [isinstance(scores.run.settings.method, ALIGN) for scores in self.runs],
                "enough": ENOUGH,
                "has_segmenter": self.proposals.segmenter is not None,
            }
        )

    def _thumbnail(self, request: Request) -> Response:
        return _kept(Response(self.folder.thumbnail(_image(request), _side(request)), mimetype="image/jpeg"))

    def _picture(self, request: Request) -> Response:
        return _kept(Response(self.folder.picture(_image(request)), mimetype="image/jpeg"))

    def _annotation(self, request: Request) -> Response:
        image = _image(request)
        found = self.annotations.read(image, request.args.get("annotator", ""))
        row = self.folder.row(image)
        return _json(_described(found) | {name: row.get(name, "") for name in ("label", "split", "domain")})

    def _mask(self, request: Request) -> Response:
        """The mask in colours: an annotator's, or the one that the table names."""
        image = _image(request)
        if "annotator" in request.args:
            codes = self.annotations.read(image, request.args["annotator"]).codes
        else:
            mask = self.folder.sample(image).mask
            if mask is None:
                raise NotFound("This image has no mask.")
            codes = codes_of(mask.numpy() / (1 if mask.is_floating_point() else 255))
        return _png(_coloured(codes, _side(request)))

    def _draw(self, request: Request) -> Response:
        image, annotator, version, body = _asked(request)
        operation = body.get("operation")
        if not isinstance(operation, dict):
            raise BadRequest("Expected an operation.")

        def draw(codes: Codes) -> Codes:
            if operation.get("shape") not in SHAPES:
                return drawn(codes, operation)
            return painted(codes, self.proposals.marked(image, operation, *codes.shape), operation.get("paint"))

        found = self.annotations.change(image, annotator, version, draw)
        self._align(image)
        return _json(_described(found))

    def _undo(self, request: Request) -> Response:
        image, annotator, version, _ = _asked(request)
        found = self.annotations.undo(image, annotator, version)
        self._align(image)
        return _json(_described(found))

    def _align(self, image: str) -> None:
        for scores in self.runs:
            if image in scores.by_image:
                scores.align(image)

    def _place(self, request: Request) -> Response:
        image, annotator, _, _ = _asked(request)
        self.places.write(annotator, image)
        return _json({})

    def _scores(self, request: Request) -> Response:
        """What the runs say, in the order of the table: the class, how sure, and the share of attention in the mask."""
        images = self.folder.table["image"].tolist()
        found: list[dict[str, Any]] = []
        for scores in self.runs:
            known = [scores.by_image.get(image) for image in images]
            found.append(
                {
                    "name": scores.name,
                    "done": sum(score is not None for score in known),
                    "unreadable": len(scores.unreadable),
                    "predicted": [score and scores.run.classes[int(score.probability.argmax())] for score in known],
                    "confidence": [score and round(float(score.probability.max()), 4) for score in known],
                    "alignment": [_rounded(scores.alignment.get(image)) for image in images],
                }
            )
        between: list[tuple[float, float] | None] = []
        if len(self.runs) > 1:
            between = [self._disagreement(image) for image in images]
        return _json(
            {
                "runs": found,
                "judged": [pair and _rounded(pair[0]) for pair in between],
                "looked": [pair and _rounded(pair[1]) for pair in between],
            }
        )

    def _disagreement(self, image: str) -> tuple[float, float] | None:
        one, other = (scores.by_image.get(image) for scores in self._pair)
        if one is None or other is None:
            return None
        known = self._between.get(image)
        if known is None or known[0] is not one or known[1] is not other:
            known = self._between[image] = (one, other, disagreement(one, other))
        return known[2]

    @property
    def _pair(self) -> tuple[RunScores, RunScores]:
        """The first run and the last one."""
        return self.runs[0], self.runs[-1]

    def _run(self, request: Request) -> RunScores:
        return self.proposals.run(request.args.get("run", 0, type=int))

    def _map(self, request: Request) -> Response:
        """Where a run looks, in colours that are clear where it does not; `plain`: in grey, to choose a threshold."""
        image, side = _image(request), _side(request)
        run = request.args.get("run", 0, type=int)
        map = self.proposals.map(image, run, request.args.get("source", "map"))
        values = grown(map, *_size(self.folder, image, side))
        if "plain" in request.args:
            return _png(Image.fromarray((values * 255).astype(np.uint8)))
        return _kept(_png(Image.fromarray(heat(values))))

    def _difference(self, request: Request) -> Response:
        """Orange where the run looks and no evidence is, blue where evidence is and the run does not look."""
        image, side = _image(request), _side(request)
        mask = self.folder.sample(image).mask
        if mask is None:
            raise NotFound("This image has no mask.")
        height, width = _size(self.folder, image, side)
        planes = mask.numpy() / (1 if mask.is_floating_point() else 255)
        inside, ignored = (
            np.asarray(Image.fromarray(plane.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR))
            for plane in (planes[0], planes[1] if len(planes) > 1 else np.zeros_like(planes[0]))
        )
        values = grown(self._run(request).of(image).map, height, width)
        return _png(Image.fromarray(difference(values, inside, ignored)))

    def _regions(self, request: Request) -> Response:
        """Superpixels: the number of each pixel's in red and green."""
        regions = self.proposals.regions(_image(request))
        return _png(Image.fromarray(np.stack([regions % 256, regions // 256, 0 * regions], -1).astype(np.uint8)))

    def _teach(self, request: Request) -> Response:
        """The images that are likely to teach most."""
        table = self.folder.table
        masked = set(table["image"][table["mask_weight"] > 0])
        scores = self._run(request)
        trained = table["image"]
        if "split" in table and (table["split"] == "train").any():
            trained = table["image"][table["split"] == "train"]
        wanted = {image: scores.by_image[image] for image in trained if image in scores.by_image}
        return _json({"images": choose(wanted, scores.alignment, masked, MOST_ASKED_FOR), "enough": ENOUGH})

    def _findings(self, request: Request) -> Response:
        return _json(self.findings.read() | {"agreement": self.annotations.agreement()})

    def _find(self, request: Request) -> Response:
        _asked(request)
        self.findings.start()
        return _json({})

    def _training(self, request: Request) -> Response:
        """How far a training is, and what the last one changed."""
        found = None
        if len(self.runs) > 1:
            with suppress(InputError):  # a protocol that does not fit this folder holds out nothing that can be told
                found = change(*self._pair)
        return _json(self.trainer.read() | {"runs": [scores.name for scores in self.runs], "change": found})

    def _train(self, request: Request) -> Response:
        _asked(request)
        self.trainer.start()
        return _json(self.trainer.read())

    def _trained(self, run: TrainedRun) -> None:
        scores = RunScores(f"trained {run.directory.name}", run, self.folder)
        self.runs.append(scores)
        scores.start()


def _image(request: Request) -> str:
    return request.args.get("image", "")


def _side(request: Request) -> int:
    side = request.args.get("side", LARGEST_PICTURE, type=int)
    if not LEAST_PICTURE <= side <= LARGEST_PICTURE:
        raise BadRequest(f"side is {side}; expected {LEAST_PICTURE} to {LARGEST_PICTURE} pixels.")
    return side


def _asked(request: Request) -> tuple[str, str, str, Mapping[str, Any]]:
    """Image, annotator, version and everything else of a request to change something."""
    try:
        body = json.loads(request.get_data(cache=False))
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"Expected JSON: {error}") from error
    if not isinstance(body, dict):
        raise BadRequest("Expected a JSON object.")
    image, annotator, version = (body.get(name, "") for name in ("image", "annotator", "version"))
    if not all(isinstance(value, str) for value in (image, annotator, version)):
        raise BadRequest("Expected texts as image, annotator and version.")
    return image, annotator, version, body


def _described(annotation: Annotation) -> dict[str, Any]:
    codes = annotation.codes
    return {
        "version": annotation.version,
        "is_own": annotation.is_own,
        "can_undo": annotation.is_own,
        "height": codes.shape[0],
        "width": codes.shape[1],
        "share": float((codes == EVIDENCE).mean()),
    }


def _coloured(codes: Codes, side: int) -> Image.Image:
    palette = np.zeros((256, 4), np.uint8)
    for code, colour in COLOURS.items():
        palette[code] = colour
    image = Image.fromarray(codes)
    scale = min(side / max(codes.shape), 1)
    size = (max(round(image.width * scale), 1), max(round(image.height * scale), 1))
    image = image.resize(size, Image.Resampling.NEAREST)
    return Image.fromarray(palette[np.asarray(image)])


def _size(folder: StudioFolder, image: str, side: int) -> tuple[int, int]:
    """Height and width of an image, at most `side`."""
    width, height = read_header(folder.path(image)).upright
    scale = min(side / max(width, height), 1)
    return max(round(height * scale), 1), max(round(width * scale), 1)


def _png(image: Image.Image) -> Response:
    file = io.BytesIO()
    image.save(file, "png", compress_level=1)
    return Response(file.getvalue(), mimetype="image/png")


def _rounded(value: float | None) -> float | None:
    return None if value is None or np.isnan(value) else round(value, 4)


def _kept(response: Response) -> Response:
    """Pictures that the browser need not ask for again while the page is open."""
    response.headers["Cache-Control"] = "private, max-age=3600"
    return response


def _json(content: Mapping[str, Any], status: int = 200) -> Response:
    return Response(json.dumps(content, separators=(",", ":")), status, mimetype="application/json")
