"""What the page asks for, and what it gets."""

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from werkzeug.exceptions import BadRequest, HTTPException, NotFound
from werkzeug.wrappers import Request, Response

from lookright.errors import InputError, said_by_system
from lookright.studio.annotations import Annotation, Annotations, Outdated, codes_of
from lookright.studio.drawing import EVIDENCE, IGNORE, NUISANCE, Codes, drawn
from lookright.studio.folder import LARGEST_PICTURE, NotShown, StudioFolder
from lookright.studio.guard import LARGEST_BODY, require_allowed
from lookright.studio.places import Places

PAGE = Path(__file__).parent / "page"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".txt": "text/plain"}
LEAST_PICTURE = 16
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
    """

    def __init__(self, folder: StudioFolder, token: str, port: int, annotator: str) -> None:
        self.folder = folder
        self.token = token
        self.port = port
        self.annotator = annotator
        self.annotations = Annotations(folder)
        self.places = Places(folder)
        self.page = {path.name: path for path in PAGE.iterdir() if path.suffix in TYPES}
        self.answers: dict[tuple[str, str], Answer] = {
            ("GET", "api/folder"): self._folder,
            ("GET", "api/thumbnail"): self._thumbnail,
            ("GET", "api/picture"): self._picture,
            ("GET", "api/annotation"): self._annotation,
            ("GET", "api/mask"): self._mask,
            ("POST", "api/draw"): self._draw,
            ("POST", "api/undo"): self._undo,
            ("POST", "api/place"): self._place,
        }

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
        return Response(_coloured(codes, _side(request)), mimetype="image/png")

    def _draw(self, request: Request) -> Response:
        image, annotator, version, body = _asked(request)
        operation = body.get("operation")
        if not isinstance(operation, dict):
            raise BadRequest("Expected an operation.")
        found = self.annotations.change(image, annotator, version, lambda codes: drawn(codes, operation))
        return _json(_described(found))

    def _undo(self, request: Request) -> Response:
        image, annotator, version, _ = _asked(request)
        return _json(_described(self.annotations.undo(image, annotator, version)))

    def _place(self, request: Request) -> Response:
        image, annotator, _, _ = _asked(request)
        self.places.write(annotator, image)
        return _json({})


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


def _coloured(codes: Codes, side: int) -> bytes:
    palette = np.zeros((256, 4), np.uint8)
    for code, colour in COLOURS.items():
        palette[code] = colour
    image = Image.fromarray(codes)
    scale = min(side / max(codes.shape), 1)
    size = (max(round(image.width * scale), 1), max(round(image.height * scale), 1))
    image = image.resize(size, Image.Resampling.NEAREST)
    image = Image.fromarray(palette[np.asarray(image)])
    file = io.BytesIO()
    image.save(file, "png", compress_level=1)
    return file.getvalue()


def _kept(response: Response) -> Response:
    """Pictures that the browser need not ask for again while the page is open."""
    response.headers["Cache-Control"] = "private, max-age=3600"
    return response


def _json(content: Mapping[str, Any], status: int = 200) -> Response:
    return Response(json.dumps(content, separators=(",", ":")), status, mimetype="application/json")
