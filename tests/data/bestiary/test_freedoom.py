import math
import sys
from contextlib import closing

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookright.data.bestiary.freedoom import RADIUS, Level, Photograph, Plan
from lookright.errors import InputError


@given(st.floats(1, 99), st.floats(1, 49), st.floats(0, 360))
def test_clearance_in_a_rectangular_room(x, y, heading):
    corners = [(0, 0), (100, 0), (100, 50), (0, 50)]
    walls = np.array([(*a, *b) for a, b in zip(corners, corners[1:] + corners[:1], strict=True)], dtype=float)
    room = Plan(np.zeros((1, 2)), walls, ())
    cosine, sine = math.cos(math.radians(heading)), math.sin(math.radians(heading))
    to_side = math.inf if abs(cosine) < 1e-12 else ((100 if cosine > 0 else 0) - x) / cosine
    to_end = math.inf if abs(sine) < 1e-12 else ((50 if sine > 0 else 0) - y) / sine
    assert room.clearance(np.array([x, y]), heading) == pytest.approx(min(to_side, to_end), rel=1e-6)


def test_clearance_counts_only_walls_ahead():
    plan = Plan(np.zeros((1, 2)), np.array([[-5.0, -1.0, -5.0, 1.0]]), ())
    assert plan.clearance(np.zeros(2), 0) == math.inf
    assert plan.clearance(np.zeros(2), 180) == pytest.approx(5)


@pytest.fixture(scope="module")
def level():
    pytest.importorskip("vizdoom")
    with closing(Level("MAP30", height=120)) as level:
        yield level


def next_photograph(level: Level, creature: str, random: np.random.Generator) -> Photograph:
    while True:
        photograph = level.photograph(creature, random)
        if photograph is not None:
            return photograph


@pytest.mark.parametrize("creature", RADIUS)
def test_every_creature_stands_in_the_middle_of_the_photograph(level, creature):
    random = np.random.default_rng(1)
    for _ in range(3):
        photograph = next_photograph(level, creature, random)
        assert photograph.image.shape == (120, 160, 3)
        columns = np.flatnonzero(photograph.mask.any(0))
        assert columns.min() - 8 <= 80 <= columns.max() + 8


@pytest.mark.parametrize("height", [80, 150])
def test_the_view_is_the_same_at_every_size(level, height):
    with closing(Level("MAP30", height)) as other:
        photographs = [next_photograph(each, "Revenant", np.random.default_rng(5)) for each in (level, other)]
    assert photographs[1].image.shape == (height, round(4 / 3 * height), 3)
    assert photographs[1].mask.mean() == pytest.approx(photographs[0].mask.mean(), rel=0.1)


def test_the_mask_is_exactly_what_changes_when_the_creature_goes(level):
    random = np.random.default_rng(2)
    for _ in range(10):
        photograph = next_photograph(level, "Revenant", random)
        level._wait(1, render=True)  # the creature's removal is due
        changed = (level._game.get_state().screen_buffer != photograph.image).any(-1)
        assert not (changed & ~photograph.mask).any()
        assert (changed & photograph.mask).sum() >= 0.95 * photograph.mask.sum()  # some colours are the scenery's own


def test_a_second_creature_spoils_the_photograph(level, monkeypatch):
    look, views = level._look, []
    monkeypatch.setattr(level, "_look", lambda *view: views.append(view) or look(*view))
    next_photograph(level, "DoomImp", np.random.default_rng(4))
    assert look(*views[-1]) is not None
    level._game.send_game_command("summon Demon")
    assert look(*views[-1]) is None
    level._game.send_game_command("remove Demon")
    assert look(*views[-1]) is not None


def test_a_place_that_the_player_does_not_reach_is_not_photographed(level, monkeypatch):
    monkeypatch.setattr("lookright.data.bestiary.freedoom._warp", lambda place: "warp 0 0")
    random = np.random.default_rng(3)
    assert [level.photograph("DoomImp", random) for _ in range(10)] == [None] * 10


def test_nothing_is_left_in_the_working_directory(tmp_path, monkeypatch):
    pytest.importorskip("vizdoom")
    monkeypatch.chdir(tmp_path)
    Level("MAP30", height=120).close()
    assert not any(tmp_path.iterdir())


def test_unknown_level():
    with pytest.raises(InputError, match=r"No level 'MAP33'. Expected one of MAP01 to MAP32"):
        Level("MAP33", height=120)


def test_too_many_pixels():
    pytest.importorskip("vizdoom")
    with pytest.raises(InputError, match=r"Cannot render 2000 pixels high. Expected at most 768"):
        Level("MAP01", height=2000)


def test_without_vizdoom(monkeypatch):
    monkeypatch.setitem(sys.modules, "vizdoom", None)
    with pytest.raises(InputError, match=r'pip install "lookright\[demo\]"'):
        Level("MAP01", height=120)
