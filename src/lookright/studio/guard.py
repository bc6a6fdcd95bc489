"""Who may ask the page for something: a browser on this machine that was given the address."""

import hmac

from werkzeug.exceptions import Forbidden, MethodNotAllowed, NotFound, RequestURITooLarge, UnsupportedMediaType
from werkzeug.wrappers import Request

LARGEST_BODY = 2**20
LONGEST_ADDRESS = 4096
HOSTS = ("127.0.0.1", "localhost")


def require_allowed(request: Request, token: str, port: int) -> str:
    """The part of the path behind the token.

    A page of another origin can make the browser ask, but knows neither the token, nor can it name another host (as one
    with a name of its own that leads to this machine would), send JSON, or leave out its origin.

    Raises:
        HTTPException: the request is refused.
    """
    hosts = {f"{host}:{port}" for host in HOSTS}
    if request.environ.get("HTTP_HOST", "") not in hosts:
        raise Forbidden("The address names another host.")
    origin = request.headers.get("Origin")
    if origin is not None and origin not in {f"http://{host}" for host in hosts}:
        raise Forbidden("The request comes from a page of another origin.")
    if request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
        raise Forbidden("The request comes from a page of another origin.")
    if len(request.path) + len(request.query_string) > LONGEST_ADDRESS:
        raise RequestURITooLarge()
    first, slash, rest = request.path.removeprefix("/").partition("/")
    if not hmac.compare_digest(first.encode(), token.encode()) or not slash:
        raise NotFound("The address lacks its token. Take the one that 'lookright studio' printed.")
    if request.method not in ("GET", "POST"):
        raise MethodNotAllowed(["GET", "POST"])
    if request.method == "POST":
        if origin is None:
            raise Forbidden("The request does not say which page it comes from.")
        if request.mimetype != "application/json":
            raise UnsupportedMediaType("Expected JSON.")
    return rest
