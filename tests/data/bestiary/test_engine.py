import multiprocessing
import os
from pathlib import Path

import pytest

from lookright.data.bestiary import engine
from lookright.data.bestiary.engine import in_own_process, start
from lookright.errors import InputError


@pytest.fixture
def forked(monkeypatch):
    """Work that is defined here: a server that forks could not import it."""
    monkeypatch.setattr(engine, "start_method", lambda preload: "fork")


def start_game(program: str) -> None:
    vizdoom = pytest.importorskip("vizdoom")
    game = vizdoom.DoomGame()
    game.load_config(str(Path(vizdoom.scenarios_path, "basic.cfg")))
    game.set_doom_config_path(os.devnull)
    game.set_vizdoom_path(program)
    start(game)


def die_at_first(folder: Path, times: int) -> int:
    attempts = len(list(folder.iterdir())) + 1
    (folder / str(attempts)).touch()
    if attempts <= times:
        os._exit(1)
    return attempts


def complain() -> None:
    raise InputError("no such level")


def test_engine_that_does_not_answer_ends_its_process_with_a_message(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(engine, "PATIENCE", 0.5)
    silent = tmp_path / "silent"
    silent.write_text("#!/bin/sh\nexec sleep 5\n")
    silent.chmod(0o755)
    process = multiprocessing.get_context("fork").Process(target=start_game, args=(str(silent),))
    process.start()
    process.join(60)
    assert process.exitcode == 1
    assert capfd.readouterr().err == "lookright: ViZDoom's engine has not started within 0.5 seconds.\n"


def test_engine_that_dies_is_reported(forked):
    with pytest.raises(InputError, match="died or did not start, 3 times in a row"):
        in_own_process(start_game, "/bin/false")


def test_work_is_done_again_if_its_process_dies(forked, tmp_path):
    assert in_own_process(die_at_first, tmp_path, engine.ATTEMPTS - 1) == engine.ATTEMPTS


def test_errors_of_the_work_are_its_own(forked):
    with pytest.raises(InputError, match="no such level"):
        in_own_process(complain)


def test_work_is_done_in_another_process():
    assert in_own_process(os.getpid) not in (os.getpid(), in_own_process(os.getpid))
