"""Scenarios of the vizdoom package, and what suits each."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Scenario:
    """What suits a scenario, unless a run says otherwise.

    Attributes:
        targets: names or categories of the objects that matter.
        reward_scale: factor of the rewards. It keeps what is to come in the order of 1, for the critic moves by no more
            than `clip_coef` an update: with rewards of -4 a decision, clipped to -1, it does not get to their
            discounted sum of -50 in 100,000 decisions, and advantages mislead until then.
        frame_skip: game tics per decision.
        shaping: see `lookright.rl.agent_settings.PPOSettings`. Agents do not see their health or ammunition, so that
            nothing on the screen tells what a medikit or a shot was worth.
    """

    targets: tuple[str, ...] = ()
    reward_scale: float = 1.0
    frame_skip: int = 4
    shaping: Mapping[str, float] = field(default_factory=dict)


SCENARIOS = {
    "basic": Scenario(("Monster",), 0.01),
    "simpler_basic": Scenario(("Monster",), 0.01),
    "rocket_basic": Scenario(("Monster",), 0.01),
    "defend_the_center": Scenario(("Monster",), shaping={"AMMO2": 0.05}),
    "defend_the_line": Scenario(("Monster", "DoomImpBall"), shaping={"AMMO2": 0.05}),
    "health_gathering": Scenario(("Health",), 0.01, shaping={"HEALTH": 0.01}),
    "health_gathering_supreme": Scenario(("Health",), 0.01, shaping={"HEALTH": 0.01}),
    "my_way_home": Scenario(("Armor",)),
    "take_cover": Scenario(("Monster", "DoomImpBall"), 0.01, shaping={"HEALTH": 0.01}),
    "predict_position": Scenario(("Monster",)),
    "deadly_corridor": Scenario(("Monster", "Armor"), 0.01),
}
"""By name."""


def scenario_of(name: str) -> Scenario:
    """What suits a scenario; of one that is none of `SCENARIOS`, such as a `.cfg` file, nothing is known.

    >>> scenario_of("basic").reward_scale
    0.01
    >>> scenario_of("my/own.cfg")
    Scenario(targets=(), reward_scale=1.0, frame_skip=4, shaping={})
    """
    return SCENARIOS.get(name, Scenario())
