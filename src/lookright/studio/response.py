"""What the page gets: JSON, or a picture."""

import io
import json
from collections.abc import Callable, Mapping
from typing import Any

from PIL import Image
from werkzeug.wrappers import Request, Response

Answer = Callable[[Request], Response]
Answers = dict[tuple[str, str], Answer]
"""By the request's method and path."""


def as_json(content: Mapping[str, Any], status: int = 200) -> Response:
    """A mapping as JSON."""
    return Response(json.dumps(content, separators=(",", ":")), status, mimetype="application/json")


def as_png(image: Image.Image) -> Response:
    """A picture, none of whose pixels is changed."""
    file = io.BytesIO()
    image.save(file, "png", compress_level=1)
    return Response(file.getvalue(), mimetype="image/png")


def as_jpeg(content: bytes) -> Response:
    """A picture that was encoded before."""
    return Response(content, mimetype="image/jpeg")


def kept(response: Response) -> Response:
    """A picture that the browser need not ask for again while the page is open."""
    response.headers["Cache-Control"] = "private, max-age=3600"
    return response
