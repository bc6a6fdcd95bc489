"""What a request of the page names."""

import json
from collections.abc import Mapping
from typing import Any

from werkzeug.exceptions import BadRequest
from werkzeug.wrappers import Request

from lookright.studio.folder import LARGEST_PICTURE

LEAST_PICTURE = 16


def image_of(request: Request) -> str:
    """The image that is asked for; empty where none is."""
    return request.args.get("image", "")


def side_of(request: Request) -> int:
    """Pixels of the longer side of a picture.

    Raises:
        BadRequest: too few or too many.
    """
    side = request.args.get("side", LARGEST_PICTURE, type=int)
    if not LEAST_PICTURE <= side <= LARGEST_PICTURE:
        raise BadRequest(f"side is {side}; expected {LEAST_PICTURE} to {LARGEST_PICTURE} pixels.")
    return side


def run_of(request: Request) -> int:
    """The number of a run; the first where none is named."""
    return request.args.get("run", 0, type=int)


def body_of(request: Request) -> tuple[str, str, str, Mapping[str, Any]]:
    """Image, annotator, version and everything else of a request to change something.

    Raises:
        BadRequest: no JSON object, or one of the three is no text.
    """
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
