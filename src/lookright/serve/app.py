"""What the page asks for, and what it gets."""

import base64
import io
import json
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

from PIL import Image
from werkzeug.exceptions import (
    BadRequest,
    Forbidden,
    HTTPException,
    LengthRequired,
    MethodNotAllowed,
    NotFound,
    RequestEntityTooLarge,
)
from werkzeug.wrappers import Request, Response

from lookright.data.images import read_header, read_image
from lookright.errors import InputError
from lookright.predict import laid_over, predict_image
from lookright.training.run import TrainedRun

PAGE = Path(__file__).parent / "page"
PAGES = {"/": "index.html", "/serve.css": "serve.css", "/serve.js": "serve.js"}
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
LARGEST_BODY = 20 * 2**20
"""Bytes of a picture's file."""
MOST_PIXELS = 40_000_000
"""Of a picture; more are not decoded, however small the file."""
SHOWN = 768
"""Longest side of the picture under its map, in pixels."""
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Server:
    """The page and its endpoint as a WSGI application.

    `POST /explain` with a picture's bytes as the body answers with JSON: `class`, `confidence`, `box` (`[x0, y0, x1,
    y1]` in pixels of the picture, corners included, or null), `map` (rows of the map's grid) and `overlay` (the picture
    under its map, as a data address). What is refused gets a status of 400 or more and `{"error": "a sentence"}`.

    Args:
        run: a trained run.
        map: a map's name or import path; None: the one of the run's settings.
        hosts: that a request may name, with their ports; None: any.
    """

    def __init__(self, run: TrainedRun, map: str | None = None, hosts: frozenset[str] | None = None) -> None:
        self.run, self.map, self.hosts = run, map, hosts
        self.one_at_a_time = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer a request."""
        try:
            response = self._answer(Request(environ))
        except HTTPException as error:
            response = _json({"error": error.description}, error.code or 500)
        response.headers.update(HEADERS)
        return response(environ, start_response)

    def _answer(self, request: Request) -> Response:
        self._require_allowed(request)
        if request.path == "/explain":
            if request.method != "POST":
                raise MethodNotAllowed(["POST"], "Send a picture's bytes by POST.")
            return _json(self._explain(_body(request)))
        if request.path not in PAGES:
            raise NotFound(f"No page {request.path!r}. Expected / or /explain.")
        if request.method not in ("GET", "HEAD"):
            raise MethodNotAllowed(["GET"], "Pictures go to /explain.")
        path = PAGE / PAGES[request.path]
        return Response(path.read_bytes(), mimetype=TYPES[path.suffix])

    def _require_allowed(self, request: Request) -> None:
        """Refuse a page of another origin, and a host of another name that leads here."""
        host = request.environ.get("HTTP_HOST", "")
        if self.hosts is not None and host not in self.hosts:
            raise Forbidden("The address names another host.")
        origin = request.headers.get("Origin")
        elsewhere = origin is not None and urlsplit(origin).netloc != host
        if elsewhere or request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
            raise Forbidden("The request comes from a page of another origin.")

    def _explain(self, body: bytes) -> dict[str, Any]:
        with TemporaryDirectory() as folder:
            path = Path(folder, "picture")
            path.write_bytes(body)
            try:
                header = read_header(path)
                if header.width * header.height > MOST_PIXELS:
                    raise RequestEntityTooLarge(
                        f"The picture has {header.width} x {header.height} pixels; expected {MOST_PIXELS:,} at most."
                    )
                picture = read_image(path)
                with self.one_at_a_time:
                    found, map = predict_image(self.run, picture, self.map)
            except InputError as error:
                sentence = " ".join(str(error).replace(repr(str(path)), "the picture").split())
                raise BadRequest(sentence[:1].upper() + sentence[1:]) from error
        overlay = laid_over(picture, map)
        overlay.thumbnail((SHOWN, SHOWN))
        return {
            "class": found["class"],
            "confidence": float(found["confidence"]),
            "box": [int(corner) for corner in found["box"].split()] or None,
            "map": [[round(value, 6) for value in row] for row in map.tolist()],
            "overlay": _address(overlay),
        }


def _body(request: Request) -> bytes:
    if request.content_length is None:
        raise LengthRequired("The request does not say how long it is.")
    if request.content_length > LARGEST_BODY:
        raise RequestEntityTooLarge(f"The file has {request.content_length} bytes; expected {LARGEST_BODY} at most.")
    if request.content_length == 0:
        raise BadRequest("The request is empty. Expected the bytes of a picture.")
    return request.get_data(cache=False)


def _address(picture: Image.Image) -> str:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _json(content: object, status: int = 200) -> Response:
    return Response(json.dumps(content, ensure_ascii=False), status, mimetype="application/json")
