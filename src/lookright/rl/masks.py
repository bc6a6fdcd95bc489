"""Masks of the objects that matter, for every ViZDoom environment of gymnasium, with or without lookright's trainer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import gymnasium
import numpy as np
import vizdoom
from jaxtyping import UInt8

from lookright.errors import InputError, require_one_of
from lookright.rl.resize import AreaResize
from lookright.rl.scenarios import scenario_of

Objects = Literal["all", "nearest", "aimed_at", "moving"]

Places = dict[int, tuple[float, float, float]]
"""Where objects are, by their number in the game."""


def object_mask(
    game: vizdoom.DoomGame, targets: Sequence[str], objects: Objects = "all", before: Places | None = None
) -> UInt8[np.ndarray, "H W"]:
    """255 where a pixel of the game's frame shows one of the targets, else 0.

    What hides behind walls or other objects is 0, and so is all of the mask where the game has no frame, because the
    episode has ended.

    Args:
        game: whose labels buffer is on.
        targets: names or categories of objects, in any case: `Medikit`, `Monster`.
        objects: which of the targets in sight: `all` of them; the `nearest` to the player; the nearest one `aimed_at`,
            with a pixel in one of the two columns in the middle of the frame; those that are `moving`. None may be.
        before: `places` at an earlier frame, from which what moves is told. ViZDoom's velocity tells it of missiles,
            not of monsters that walk; it is asked about what was not there.
    """
    state = game.get_state()
    if state is None:
        return np.zeros((game.get_screen_height(), game.get_screen_width()), np.uint8)
    assert state.labels is not None
    assert state.labels_buffer is not None
    wanted = {target.casefold() for target in targets}
    found = [
        label
        for label in state.labels
        if label.object_name.casefold() in wanted or label.object_category.casefold() in wanted
    ]
    buffer = state.labels_buffer
    if objects == "aimed_at":
        middle = buffer.shape[1] // 2
        aimed_at = set(np.unique(buffer[:, middle - 1 : middle + 1]).tolist())
        found = [label for label in found if label.value in aimed_at]
    if objects == "moving":
        found = [label for label in found if _moves(label, before or {})]
    elif objects != "all" and found:
        found = [min(found, key=lambda label: _distance(game, label))]
    # The values in the buffer are given out anew in every frame; only this frame's labels say what they stand for.
    shown = np.zeros(256, np.uint8)
    shown[[label.value for label in found]] = 255
    return shown[buffer]


def places(game: vizdoom.DoomGame) -> Places:
    """Of all objects of the game, in sight or not; its objects info is on. Of none once the episode has ended."""
    state = game.get_state()
    found = state.objects if state else None
    return {one.id: (one.position_x, one.position_y, one.position_z) for one in found or ()}


class TargetMasks:
    """The `object_mask` of one frame after the other, with what the game must show for it switched on.

    Args:
        game: not started yet.
        targets: see `object_mask`.
        objects: see `object_mask`; what is `moving` is told from where everything was in the frame before.
    """

    def __init__(self, game: vizdoom.DoomGame, targets: Sequence[str], objects: Objects) -> None:
        game.set_labels_buffer_enabled(True)
        if objects == "moving":
            game.set_objects_info_enabled(True)
        self.game, self.targets, self.objects = game, targets, objects
        self.restart()

    def restart(self) -> None:
        """An episode begins: nothing is known of where anything was."""
        self.before: Places = {}

    def __call__(self) -> UInt8[np.ndarray, "H W"]:
        """Of the game's frame."""
        mask = object_mask(self.game, self.targets, self.objects, self.before)
        if self.objects == "moving":
            self.before = places(self.game)
        return mask


def _moves(label: vizdoom.Label, before: Places) -> bool:
    if label.object_id not in before:
        return any((label.object_velocity_x, label.object_velocity_y, label.object_velocity_z))
    here = (label.object_position_x, label.object_position_y, label.object_position_z)
    return here != before[label.object_id]


def _distance(game: vizdoom.DoomGame, label: vizdoom.Label) -> float:
    x, y = (game.get_game_variable(axis) for axis in (vizdoom.GameVariable.POSITION_X, vizdoom.GameVariable.POSITION_Y))
    return float(np.hypot(label.object_position_x - x, label.object_position_y - y))


class ObjectMasks(gymnasium.Wrapper, gymnasium.utils.RecordConstructorArgs):
    """Adds a mask of the objects that matter to what a ViZDoom environment gives.

    It wraps any environment whose `unwrapped.game` is a `vizdoom.DoomGame`, whatever wrappers are in between: those of
    `vizdoom.gymnasium_wrapper`, and one's own. The mask is a uint8 array (H, W): 255 where the newest frame shows a
    target, 0 elsewhere; after resizing, the share of each pixel. Rewards, frames and the course of the game stay as
    they are.

    Args:
        env: to be wrapped, before its first reset: ViZDoom's labels, and its objects info for `moving`, are
            switched on here.
        targets: names or categories of ViZDoom's labels; default: the scenario's own, see `lookright.rl.scenarios`.
        objects: which of the targets in sight, see `object_mask`.
        size: height and width of the mask, which is resized by area; None: those of the screen.
        into: where the mask goes. `observation`: the key `mask`, beside the others of a dict, or beside `image` where
            the observation was an array. `info`: the key `mask` of the info, for trainers that take arrays only.

    Raises:
        InputError: not a ViZDoom environment, or one that has started without labels; the observation has a mask
            already; targets are needed and missing; or an argument is none of its choices.
    """

    def __init__(
        self,
        env: gymnasium.Env,
        targets: Sequence[str] | None = None,
        objects: Objects = "all",
        size: int | None = None,
        into: Literal["observation", "info"] = "observation",
    ) -> None:
        gymnasium.utils.RecordConstructorArgs.__init__(self, targets=targets, objects=objects, size=size, into=into)
        super().__init__(env)
        require_one_of("objects", objects, get_args(Objects))
        require_one_of("into", into, ("observation", "info"))
        game = getattr(env.unwrapped, "game", None)
        if not isinstance(game, vizdoom.DoomGame):
            raise InputError(f"{env} has no ViZDoom game; expected an environment whose unwrapped.game is one.")
        enough = game.is_labels_buffer_enabled() and (objects != "moving" or game.is_objects_info_enabled())
        if game.is_running() and not enough:
            raise InputError(
                "The game runs already, without labels (or objects info, for what moves). Wrap the environment before "
                "its first reset."
            )
        self.into = into
        self.targets = targets_of(Path(game.get_doom_scenario_path()).stem, targets)
        self.masks = TargetMasks(game, self.targets, objects)
        height, width = game.get_screen_height(), game.get_screen_width()
        self.resize = AreaResize(height, width, size) if size else None
        if into == "info":
            return
        inner = env.observation_space
        spaces = dict(inner.spaces) if isinstance(inner, gymnasium.spaces.Dict) else {"image": inner}
        if "mask" in spaces:
            raise InputError(f"The observation of {env} has a mask already.")
        shape = (size, size) if size else (height, width)
        self.observation_space = gymnasium.spaces.Dict(spaces | {"mask": gymnasium.spaces.Box(0, 255, shape, np.uint8)})

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode."""
        seen = self.env.reset(seed=seed, options=options)
        self.masks.restart()
        return self._with_mask(*seen)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take an action. The mask of an episode's last frame is empty where the game keeps none."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        observation, info = self._with_mask(observation, info)
        return observation, reward, terminated, truncated, info

    def _with_mask(self, observation: Any, info: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        mask = self.masks()
        if self.resize:
            mask = self.resize(mask)
        if self.into == "info":
            return observation, info | {"mask": mask}
        shown = observation if isinstance(observation, dict) else {"image": observation}
        return shown | {"mask": mask}, info


def targets_of(scenario: str, targets: Sequence[str] | None) -> tuple[str, ...]:
    """The objects in the masks of a scenario: those given, or its own.

    Raises:
        InputError: it has none, and none are given.

    >>> targets_of("take_cover", None)
    ('Monster', 'DoomImpBall')
    """
    found = scenario_of(scenario).targets if targets is None else tuple(targets)
    if not found:
        raise InputError(
            f"Scenario {scenario!r} has no default objects for the mask; name them in `targets`, such as [Monster]."
        )
    return found
