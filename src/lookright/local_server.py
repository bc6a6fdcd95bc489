"""The server of a page on this machine."""

import socket
from collections.abc import Callable
from typing import Any

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

SECONDS = 60


class _Handler(WSGIRequestHandler):
    timeout = SECONDS

    def log(self, type: str, message: str, *args: Any) -> None:
        """Nothing: an address may hold a token."""


def listening(host: str, port: int, build: Callable[[int], Callable[..., Any]]) -> BaseWSGIServer:
    """A server that waits for `serve_forever`.

    Args:
        host: the address of this machine to listen at.
        port: 0 takes a free one.
        build: makes the WSGI application of the port.

    Raises:
        OSError: the address is not this machine's, or the port is taken.
    """
    # Werkzeug ends the process where a port is taken; a socket of our own tells.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family) as bound:
        app = build(bound.getsockname()[1])
        return make_server(host, port, app, threaded=True, request_handler=_Handler, fd=bound.fileno())
