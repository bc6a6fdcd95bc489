"""Serves a run until the process is interrupted."""

import ipaddress
import warnings

from werkzeug.serving import BaseWSGIServer

from lookright.errors import InputError
from lookright.local_server import listening
from lookright.serve.app import LOOPBACK, Server
from lookright.training.run import TrainedRun


def server_of(
    run: TrainedRun, map: str | None = None, host: str = "127.0.0.1", port: int = 0
) -> tuple[BaseWSGIServer, str]:
    """A server that waits for `serve_forever`, and the address of its page.

    Args:
        run: a trained run.
        map: a map's name or import path; None: the one of the run's settings.
        host: the address of this machine to listen at. Any but 127.0.0.1 lets others ask, with a warning.
        port: 0 takes a free one.

    Raises:
        InputError: `host` is no address.
        OSError: the address is not this machine's, or the port is taken.
    """
    try:
        is_own = ipaddress.ip_address(host).is_loopback
    except ValueError as error:
        raise InputError(f"host = {host!r}; expected an address, such as 127.0.0.1.") from error
    if not is_own:
        warnings.warn(f"Whoever reaches {host} can ask this run; there is no password.", stacklevel=2)

    def build(port: int) -> Server:
        return Server(run, map, frozenset(f"{name}:{port}" for name in LOOPBACK) if is_own else None)

    server = listening(host, port, build)
    return server, f"http://{host}:{server.port}/"
