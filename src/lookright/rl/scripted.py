"""Players of a few rules that are told where the targets are: what looking right is worth before anything is learnt."""

from collections.abc import Callable
from contextlib import closing

import pandas as pd
import vizdoom

from lookright.rl.environments import DoomEnvironment, seeds

Player = Callable[[DoomEnvironment], str]
"""Names the button to press, or NONE."""


def in_sight(environment: DoomEnvironment) -> list[vizdoom.Label]:
    """The environment's targets in sight, the largest first."""
    wanted = {target.casefold() for target in environment.targets}
    labels = environment.game.get_state().labels or []
    found = [label for label in labels if {label.object_name.casefold(), label.object_category.casefold()} & wanted]
    return sorted(found, key=lambda label: -label.width * label.height)


def aside(environment: DoomEnvironment, label: vizdoom.Label) -> float:
    """Pixels from the middle of the frame to that of an object, negative on the left."""
    return label.x + label.width / 2 - environment.game.get_screen_width() / 2


def facing(turn: str, then: str, tolerance: int) -> Player:
    """A player that faces the largest target, and then does something; without one in sight it looks to the right.

    Args:
        turn: `TURN` or `MOVE`, how it faces a target: by this to the left or right.
        then: the button to press when the middle of the frame is within the target.
        tolerance: pixels by which it may be outside of a small one.
    """

    def player(environment: DoomEnvironment) -> str:
        found = in_sight(environment)
        if not found:
            return f"{turn}_RIGHT"
        distance = aside(environment, found[0])
        if abs(distance) <= max(found[0].width / 2, tolerance):
            return then
        return f"{turn}_LEFT" if distance < 0 else f"{turn}_RIGHT"

    return player


PLAYERS: dict[str, Player] = {
    "basic": facing("MOVE", "ATTACK", 4),
    "simpler_basic": facing("MOVE", "ATTACK", 4),
    "rocket_basic": facing("MOVE", "ATTACK", 4),
    "defend_the_center": facing("TURN", "ATTACK", 4),
    "defend_the_line": facing("TURN", "ATTACK", 4),
    "health_gathering": facing("TURN", "MOVE_FORWARD", 12),
}
"""By scenario."""


def play_scripted(scenario: str, seed: int, episodes: int, skip: int | None = None) -> pd.DataFrame:
    """Return and length of episodes.

    Args:
        scenario: one of `PLAYERS`.
        seed: of the episodes, see `lookright.rl.environments.seeds`.
        episodes: how many.
        skip: see `DoomEnvironment`.
    """
    rows = []
    with closing(DoomEnvironment(scenario, skip=skip)) as environment:
        for index, episode in enumerate(seeds(seed, 0, episodes)):
            environment.reset(seed=episode)
            rewards, over = [], False
            while not over:
                action = environment.actions.index(PLAYERS[scenario](environment))
                _, reward, terminated, truncated, _ = environment.step(action)
                rewards.append(reward)
                over = terminated or truncated
            rows.append({"episode": index, "return": sum(rewards), "length": len(rewards)})
    return pd.DataFrame(rows)
