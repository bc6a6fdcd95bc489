"""ViZDoom scenarios that hand out, with every observation, a mask of the objects that matter."""

import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import vizdoom
from gymnasium.vector import AsyncVectorEnv, AutoresetMode
from gymnasium.vector.async_vector_env import AsyncState
from jaxtyping import UInt8

from lookright.data.bestiary.engine import PATIENCE, start, start_method
from lookright.errors import InputError
from lookright.rl.masks import Objects, TargetMasks, targets_of
from lookright.rl.resize import AreaResize
from lookright.rl.scenarios import SCENARIOS, scenario_of
from lookright.rl.shifts import Shift, write_shifted

LONGEST_EPISODE = 12_600
"""Tics, six minutes, after which an episode ends in a scenario without `episode_timeout`."""


class EngineError(InputError):
    """A game died or fell silent."""


@contextmanager
def _reporting() -> Iterator[None]:
    try:
        yield
    except (vizdoom.ViZDoomErrorException, vizdoom.ViZDoomUnexpectedExitException) as error:
        raise EngineError(f"The game died: {error}") from error


class DoomEnvironment(gymnasium.Env[dict[str, np.ndarray], int | np.integer]):
    """A ViZDoom scenario as an agent that plays from pixels sees it.

    Observation, a dict of uint8 arrays:
        image: (stack, size, size), the newest grey frames, oldest first; one frame per decision, 0 to 255.
        mask: (size, size), the share of each pixel of the newest frame that shows a target, 0 to 255.

    Actions: none of the scenario's buttons (0) or one of them. Rewards are the scenario's own, unclipped.

    A time-out (the scenario's, or `LONGEST_EPISODE`) is kept by the environment itself: `truncated` is then True,
    `terminated` False, and the observation is the frame that the agent would have acted on. (ViZDoom sets both and has
    no frame left.) When the game ends by itself, `terminated` is True, no frame exists, and the observation is the last
    one seen.

    The same seed gives the same episodes, whatever was played before and on whatever machine; later resets without a
    seed continue the sequence. A game that dies in the middle raises `EngineError`.

    Args:
        scenario: a name in `lookright.rl.scenarios.SCENARIOS`, or the path of a ViZDoom `.cfg` file.
        targets: names or categories of the objects in the mask; default: the scenario's own.
        mask: with False, no labels are rendered and the observation has no `mask`.
        skip: game tics (1/35 s) per decision, during which the buttons stay pressed; default: the
            scenario's own.
        stack: frames in `image`.
        size: height and width of frames and mask; they are rendered at 160×120 and resized by area.
        objects: which of the targets in sight the mask shows, see `lookright.rl.masks.object_mask`.
        shift: how the scenario is to look different, see `lookright.rl.shifts`.
        variables: names of ViZDoom's game variables, such as HEALTH, whose values are in each info.

    Raises:
        InputError: the scenario or a variable is unknown, the scenario has no buttons or cannot be shifted, or targets
            are needed and missing.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 35 / 4}  # noqa: RUF012, as in gymnasium.Env
    render_mode = "rgb_array"

    def __init__(
        self,
        scenario: str,
        targets: Sequence[str] | None = None,
        mask: bool = True,
        skip: int | None = None,
        stack: int = 4,
        size: int = 84,
        objects: Objects = "all",
        shift: Shift | None = None,
        variables: Sequence[str] = (),
    ) -> None:
        config = Path(scenario)
        if scenario in SCENARIOS:
            config = Path(vizdoom.scenarios_path) / f"{scenario}.cfg"
        elif not config.is_file():
            raise InputError(
                f"No scenario {scenario!r}; expected the path of a .cfg file or one of: {', '.join(SCENARIOS)}."
            )
        self.targets = targets_of(scenario, targets) if mask else ()
        self.variables = {name: game_variable(name) for name in variables}
        self.skip = skip or scenario_of(scenario).frame_skip
        self.metadata = self.metadata | {"render_fps": vizdoom.DEFAULT_TICRATE / self.skip}

        self.game = vizdoom.DoomGame()
        self.game.load_config(str(config))
        if shift:
            path = Path(self.game.get_doom_scenario_path())
            if not path.is_file():
                raise InputError(
                    f"Scenario {scenario!r} has no WAD to be shifted: doom_scenario_path is {str(path)!r}; expected a "
                    "file."
                )
            self._shifted = tempfile.TemporaryDirectory(prefix="lookright-")  # lives as long as the environment
            wad = Path(self._shifted.name, "shifted.wad")
            write_shifted(path, shift, wad)
            self.game.set_doom_scenario_path(str(wad))
        self.game.set_doom_config_path(os.devnull)  # neither read nor write settings in the working directory
        self.game.set_window_visible(False)
        self.game.set_mode(vizdoom.Mode.PLAYER)
        self.game.set_screen_resolution(vizdoom.ScreenResolution.RES_160X120)
        self.game.set_screen_format(vizdoom.ScreenFormat.GRAY8)
        self.game.set_labels_buffer_enabled(False)
        self.masks = TargetMasks(self.game, self.targets, objects) if mask else None
        self.timeout = self.game.get_episode_timeout() or LONGEST_EPISODE
        self.game.set_episode_timeout(0)
        buttons = [button for button in self.game.get_available_buttons() if not vizdoom.is_delta_button(button)]
        if not buttons:
            raise InputError(
                f"Scenario {scenario!r} names no button that an agent can press: `available_buttons` is empty, has a "
                "name that ViZDoom does not know (it then leaves out all), or DELTA buttons only."
            )
        self.game.set_available_buttons(buttons)
        self.actions = ["NONE", *(button.name for button in buttons)]

        height, width = self.game.get_screen_height(), self.game.get_screen_width()
        self.screen = np.zeros((height, width), np.uint8)
        self.resize = AreaResize(height, width, size)
        self.frames = np.zeros((stack, size, size), np.uint8)
        spaces: dict[str, gymnasium.Space] = {"image": gymnasium.spaces.Box(0, 255, (stack, size, size), np.uint8)}
        if mask:
            spaces["mask"] = gymnasium.spaces.Box(0, 255, (size, size), np.uint8)
        self.observation_space = gymnasium.spaces.Dict(spaces)  # type: ignore[assignment]
        self.action_space = gymnasium.spaces.Discrete(len(self.actions))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start an episode."""
        super().reset(seed=seed)
        self.game.set_seed(int(self.np_random.integers(2**32)))
        if self.game.is_running():
            with _reporting():
                self.game.new_episode()
        else:
            try:
                start(self.game)
            except vizdoom.FileDoesNotExistException as error:
                raise InputError(f"The scenario names a file that is not there: {error}") from error
        self.start = self.game.get_episode_time()
        if self.masks:
            self.masks.restart()
        self._see()
        self.frames[:] = self.frames[-1]
        return self._observation(), self._info()

    def step(self, action: int | np.integer) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Press the button of `action` for `skip` tics, or up to the time-out."""
        left = self.timeout - (self.game.get_episode_time() - self.start)
        pressed = [index == action for index in range(1, len(self.actions))]
        with _reporting():
            reward = self.game.make_action(pressed, min(self.skip, left))
        terminated = self.game.is_episode_finished()
        if not terminated:
            self._see()
        return self._observation(), reward, terminated, not terminated and left <= self.skip, self._info()

    def render(self) -> UInt8[np.ndarray, "H W 3"]:
        """The newest frame as rendered, before resizing."""
        return np.repeat(self.screen[:, :, None], 3, axis=2)

    def close(self) -> None:
        """Stop the game's process."""
        self.game.close()

    def _see(self) -> None:
        self.screen = self.game.get_state().screen_buffer
        self.frames = np.concatenate([self.frames[1:], self.resize(self.screen)[None]])
        if self.masks:
            self.mask = self.resize(self.masks())

    def _observation(self) -> dict[str, np.ndarray]:
        observation = {"image": self.frames}
        if self.masks:
            observation["mask"] = self.mask
        return observation

    def _info(self) -> dict[str, Any]:
        return {name: self.game.get_game_variable(variable) for name, variable in self.variables.items()}


def game_variable(name: str) -> vizdoom.GameVariable:
    """One of ViZDoom's, by its name.

    Raises:
        InputError: it has none of that name.

    >>> game_variable("HEALTH")
    <GameVariable.HEALTH: 9>
    """
    known = vizdoom.GameVariable.__members__
    if name not in known:
        raise InputError(f"ViZDoom has no game variable {name!r}; expected a name such as HEALTH, AMMO2 or KILLCOUNT.")
    return known[name]


class DoomEnvironments(AsyncVectorEnv):
    """Environments in processes of their own, which are never waited for in vain.

    Resetting and stepping raise `EngineError`, and end all processes, when one has died or is silent for `PATIENCE`
    seconds; so does the constructor when one has died.
    """

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode in every environment."""
        with self._impatient():
            self.reset_async(seed, options)
            return self.reset_wait(PATIENCE)

    def step(self, actions: np.ndarray) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Take an action in every environment."""
        with self._impatient():
            self.step_async(actions)
            return self.step_wait(PATIENCE)

    def _check_spaces(self) -> None:  # the first that is heard of the processes
        with self._impatient():
            super()._check_spaces()

    @contextmanager
    def _impatient(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, OSError, multiprocessing.TimeoutError, EngineError) as error:
            for process in self.processes:
                process.terminate()
            for process in self.processes:
                process.join(timeout=1)
                process.kill()
            self._state = AsyncState.DEFAULT
            self.close(terminate=True)
            raise EngineError(
                f"A game of the {self.num_envs} environments died or was silent for {PATIENCE:g} seconds "
                f"({type(error).__name__}). Free memory and processors; lookright rl train --resume continues a run."
            ) from error


def vectorised(scenario: str, number: int, **options: Any) -> DoomEnvironments:
    """`number` environments, each in its own process; observations come through shared memory, without a copy.

    `options` are those of `DoomEnvironment`.

    An environment that ends an episode starts the next one in the same step: the observation is then the new
    episode's first, and the old one's last is in `infos["final_obs"]`.
    """
    return DoomEnvironments(
        [partial(_environment_of_process, os.getpid(), scenario, options)] * number,
        copy=False,
        context=start_method(__name__),
        autoreset_mode=AutoresetMode.SAME_STEP,
    )


def _environment_of_process(owner: int, scenario: str, options: Mapping[str, Any]) -> DoomEnvironment:
    # A process that is merely terminated would leave its game behind, running; one that exits closes it. The owner of
    # the environments makes one, too, to see its spaces.
    if os.getpid() != owner:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    return DoomEnvironment(scenario, **options)


def seeds(seed: int, update: int, number: int) -> list[int]:
    """A seed for each environment, a function of (seed, update, environment) alone.

    >>> seeds(0, 3, 2) == [seeds(0, 3, 1)[0], seeds(0, 3, 4)[1]]
    True
    """
    return [int(np.random.SeedSequence([seed, update, index]).generate_state(1)[0]) for index in range(number)]
