"""One creature at a time in a level of the free game Freedoom, photographed by the game engine ViZDoom."""

import tempfile
from contextlib import closing
from math import atan, cos, degrees, exp, log, radians, sin
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8

from lookright.data.bestiary.engine import start
from lookright.errors import InputError

LEVEL_NAMES = tuple(f"MAP{number:02d}" for number in range(1, 33))
RADIUS = {
    "Arachnotron": 64,
    "Archvile": 20,
    "BaronOfHell": 24,
    "Cacodemon": 31,
    "ChaingunGuy": 20,
    "Demon": 30,
    "DoomImp": 20,
    "Fatso": 48,
    "HellKnight": 24,
    "PainElemental": 31,
    "Revenant": 20,
    "Zombieman": 20,
}
"""The creatures that can be summoned, with the engine's radius of each in map units."""

_PLAYER_RADIUS, _PLAYER_HEIGHT = 16, 56
_RESOLUTIONS = ((160, 120), (200, 150), (256, 192), (320, 240), (400, 300), (512, 384), (640, 480), (1024, 768))
_TINTING_ITEMS = ("Berserk", "BlurSphere", "Infrared", "InvulnerabilitySphere", "Megasphere", "RadSuit")
_BODIES = {"Gibs", "Gore", "Monster"}  # the engine's categories of what may be taken for a second creature
# Without these sections, or with gl_cachenodes, the engine leaves a folder in the working directory.
_SETTINGS = "".join(f"[{game}.AutoExec]\nPath=\n" for game in ("Doom", "Heretic", "Hexen", "Strife", "Chex"))
_SETTLING_TICS = (12, 24)  # a summoned creature starts in the air


class Photograph(NamedTuple):
    """What the player sees, and which of it is the creature."""

    image: UInt8[np.ndarray, "H W 3"]
    mask: Bool[np.ndarray, "H W"]


class Plan(NamedTuple):
    """A level seen from above, in map units."""

    objects: Float[np.ndarray, "n 2"]
    """x y of everything that the level's author put somewhere."""
    walls: Float[np.ndarray, "m 4"]
    """x1 y1 x2 y2 of every line that ends a walk: solid walls, and the edges of places too low to stand in."""
    bodies: tuple[str, ...]
    """The engine's names of the dead that lie and hang about."""

    def clearance(self, place: Float[np.ndarray, "2"], heading: float) -> float:
        """The distance from `place` to the first wall in the direction `heading` (degrees, counter-clockwise)."""
        x, y = _direction(heading)
        start, edge = self.walls[:, :2] - place, self.walls[:, 2:] - self.walls[:, :2]
        # place + t (x, y) = start + s edge, solved for t along the ray and s along the wall.
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            determinant = x * edge[:, 1] - y * edge[:, 0]
            t = (start[:, 0] * edge[:, 1] - start[:, 1] * edge[:, 0]) / determinant
            s = (start[:, 0] * y - start[:, 1] * x) / determinant
        return float(t[(t > 0) & (s >= 0) & (s <= 1)].min(initial=np.inf))


class Level:
    """A game that runs in one level of Freedoom, without its inhabitants, until it is closed.

    Args:
        name: `MAP01` to `MAP32`.
        height: of a photograph in pixels; the width is 4/3 of the height, and spans 90 degrees.
        seed: of the engine's own chance. The same seed and calls give the same photographs.

    Raises:
        InputError: no such level, ViZDoom is not installed, or it cannot render so high.
    """

    def __init__(self, name: str, height: int, seed: int = 0) -> None:
        if name not in LEVEL_NAMES:
            raise InputError(f"No level {name!r}. Expected one of {LEVEL_NAMES[0]} to {LEVEL_NAMES[-1]}.")
        self.name = name
        self._folder = tempfile.TemporaryDirectory(prefix="lookright-")
        settings = Path(self._folder.name) / "settings.ini"
        with closing(_start(name, height, seed, settings, planning=True)) as game:
            self.plan = _read_plan(game.get_state())
        self._game = _start(name, height, seed, settings, planning=False)
        self._width, self._height = round(4 / 3 * height), height
        angle = degrees(2 * atan(self._game.get_screen_width() / self._width))
        for command in ("god", "notarget", f"fov {angle:.0f}"):
            self._game.send_game_command(command)
        for item in (*_TINTING_ITEMS, *self.plan.bodies):
            self._game.send_game_command(f"remove {item}")
        self._wait(35)  # the field of view widens slowly
        self._heading = self._game.get_state().game_variables[2]

    def close(self) -> None:
        """End the game."""
        self._game.close()
        self._folder.cleanup()

    def photograph(self, creature: str, random: np.random.Generator) -> Photograph | None:
        """Summon `creature` somewhere in the level and look at it; None if the place turns out not to be fit for it."""
        walk = random.uniform(0, 360)
        start = random.choice(self.plan.objects)
        reach = min(self.plan.clearance(start, walk), 512) - 2 * _PLAYER_RADIUS
        eye = np.rint(start + max(reach, 0) * random.uniform() * _direction(walk))

        heading = random.uniform(0, 360)
        summoning = 2 * RADIUS[creature] + _PLAYER_RADIUS  # the engine summons at this distance from the player
        nearest, farthest = 1.1 * summoning, min(self.plan.clearance(eye, heading) - RADIUS[creature], 4 * summoning)
        if farthest < nearest:
            return None
        distance = exp(random.uniform(log(nearest), log(farthest)))
        return self._look(creature, eye, heading, distance - summoning, int(random.integers(*_SETTLING_TICS)))

    def _look(
        self, creature: str, eye: Float[np.ndarray, "2"], heading: float, ahead: float, tics: int
    ) -> Photograph | None:
        """Summon from a place `ahead` of the eye, step back to the eye, wait until the creature stands."""
        self._turn(heading)
        for command in (_warp(np.rint(eye + ahead * _direction(heading))), f"summon {creature}", _warp(eye)):
            self._game.send_game_command(command)
        self._wait(tics, render=True)
        state = self._game.get_state()
        self._game.send_game_command(f"remove {creature}")
        x, y, self._heading = state.game_variables
        seen = [label for label in state.labels if label.object_category in _BODIES]
        if (x, y) != tuple(eye) or [label.object_name for label in seen] != [creature]:
            return None
        # A label's value is the object's number in this frame alone.
        mask = state.labels_buffer == seen[0].value
        top, left = (mask.shape[0] - self._height) // 2, (mask.shape[1] - self._width) // 2
        middle = np.s_[top : top + self._height, left : left + self._width]
        return Photograph(state.screen_buffer[middle], mask[middle])

    def _turn(self, heading: float) -> None:
        self._game.set_action([(self._heading - heading + 180) % 360 - 180])
        self._wait(1)
        self._game.set_action([0])

    def _wait(self, tics: int, *, render: bool = False) -> None:
        self._game.advance_action(tics, render)


def _direction(heading: float) -> Float[np.ndarray, "2"]:
    return np.array([cos(radians(heading)), sin(radians(heading))])


def _warp(place: Float[np.ndarray, "2"]) -> str:
    return f"warp {place[0]:.0f} {place[1]:.0f}"


def _start(name: str, height: int, seed: int, settings: Path, *, planning: bool) -> Any:
    try:
        import vizdoom
    except ModuleNotFoundError as error:
        raise InputError(
            'Rendering needs ViZDoom, which is not installed. Run: pip install "lookright[demo]"'
        ) from error
    resolution = next((f"RES_{w}X{h}" for w, h in _RESOLUTIONS if h >= height), None)
    if resolution is None:
        raise InputError(f"Cannot render {height} pixels high. Expected at most {_RESOLUTIONS[-1][1]}.")
    game = vizdoom.DoomGame()
    game.set_doom_game_path(str(Path(vizdoom.__file__).with_name("freedoom2.wad")))
    settings.write_text(_SETTINGS)
    game.set_doom_config_path(str(settings))
    game.set_doom_map(name)
    game.set_seed(seed)
    game.set_episode_timeout(0)
    game.add_game_args("+sv_cheats 1 +cl_showsecretmessage 0 +gl_cachenodes 0")
    game.set_window_visible(False)
    game.set_sound_enabled(False)
    game.set_screen_resolution(getattr(vizdoom.ScreenResolution, resolution))
    game.set_screen_format(vizdoom.ScreenFormat.RGB24)
    game.set_render_hud(False)
    game.set_render_weapon(False)
    game.set_render_crosshair(False)
    game.set_render_messages(False)
    game.set_render_screen_flashes(False)
    if planning:
        game.set_objects_info_enabled(True)
        game.set_sectors_info_enabled(True)
    else:
        game.add_game_args("+sv_nomonsters 1")
        game.set_labels_buffer_enabled(True)
        game.set_available_buttons([vizdoom.Button.TURN_LEFT_RIGHT_DELTA])
        game.set_available_game_variables(
            [vizdoom.GameVariable.POSITION_X, vizdoom.GameVariable.POSITION_Y, vizdoom.GameVariable.ANGLE]
        )
    start(game)
    return game


def _read_plan(state: Any) -> Plan:
    walls = {
        (line.x1, line.y1, line.x2, line.y2)
        for sector in state.sectors
        for line in sector.lines
        if line.is_blocking or sector.ceiling_height - sector.floor_height < _PLAYER_HEIGHT
    }
    objects = sorted({(thing.position_x, thing.position_y) for thing in state.objects})
    bodies = sorted({thing.name for thing in state.objects if thing.category in _BODIES - {"Monster"}})
    return Plan(np.array(objects), np.array(sorted(walls)), tuple(bodies))
