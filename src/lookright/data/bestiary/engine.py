"""Starts ViZDoom's game engine, a process that may die or fall silent before the game has begun."""

import multiprocessing
import os
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from threading import Timer
from typing import Any, TypeVar

from lookright.errors import InputError

PATIENCE = 120.0
"""Seconds after which an engine that has not answered is given up."""

ATTEMPTS = 3

Result = TypeVar("Result")


def start(game: Any) -> None:
    """`game.init()` that ends this process, with a message, rather than wait for ever.

    ViZDoom cannot be made to stop waiting from inside its process, and it brings its process down (a segmentation
    fault) when the engine dies before it has answered. What must survive that starts games in other processes.

    Args:
        game: a `vizdoom.DoomGame`.
    """
    if multiprocessing.parent_process() is not None:
        _keep_pipes_from_games()
    watchdog = Timer(PATIENCE, _give_up)
    watchdog.daemon = True
    watchdog.start()
    try:
        game.init()
    finally:
        watchdog.cancel()


def _keep_pipes_from_games() -> None:
    # A game that inherits the pipes of its process holds them open after the process has died.
    if os.path.isdir("/dev/fd"):
        for descriptor in map(int, os.listdir("/dev/fd")):
            with suppress(OSError):
                os.set_inheritable(descriptor, descriptor <= 2)


def _give_up() -> None:
    print(f"lookright: ViZDoom's engine has not started within {PATIENCE:g} seconds.", file=sys.stderr, flush=True)
    os._exit(1)


def start_method(preload: str) -> str:
    """How processes that play games begin: as copies of a server that has done the slow imports and runs no threads.

    Args:
        preload: the module that the server imports.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return "spawn"
    multiprocessing.set_forkserver_preload([preload])
    return "forkserver"


def in_own_process(work: Callable[..., Result], *arguments: Any) -> Result:
    """Do work that starts games in a process of its own, and again if that process dies.

    Args:
        work: importable by name.
        arguments: of `work`, which can be pickled like its result.

    Raises:
        InputError: the process died every time.
    """
    context = multiprocessing.get_context(start_method(__name__))
    for _ in range(ATTEMPTS):
        with ProcessPoolExecutor(1, context) as pool:
            try:
                return pool.submit(work, *arguments).result()
            except BrokenProcessPool:
                continue
    raise InputError(
        f"ViZDoom's engine died or did not start, {ATTEMPTS} times in a row. Free memory and processors, and do the "
        "same again."
    )
