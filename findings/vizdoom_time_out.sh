#!/usr/bin/env bash
# Expectation: when the time of a ViZDoom episode is over, its gymnasium environment says truncated, not terminated, and returns
# the last screen.
# What happens: both flags are set, and the screen is black, all game variables 0, though the player lives.
# Why it matters: an agent that takes the value of the last state where an episode was only cut off takes it for a black
# screen, or not at all; saliency maps and masks of that frame are of nothing.
# Instead: keep the observation of the step before as the last one, and tell a time-out by
# game.is_episode_timeout_reached() before reading `terminated`.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --no-compile --disable-pip-version-check vizdoom==1.3.2 gymnasium==1.4.0 numpy==2.4.6

venv/bin/python - <<'PYTHON'
from importlib.metadata import version

import gymnasium
import numpy as np
from vizdoom import gymnasium_wrapper  # noqa: F401, registers the environments

print("vizdoom", version("vizdoom"), "gymnasium", version("gymnasium"))

env = gymnasium.make("VizdoomBasic-v1")
observation, _ = env.reset(seed=0)
for step in range(1, 1000):
    before = observation
    observation, reward, terminated, truncated, _ = env.step(0)  # stands still
    if terminated or truncated:
        break
game = env.unwrapped.game
screen, variables = observation["screen"], observation["gamevariables"]
print(f"step {step}: terminated {terminated}, truncated {truncated}; the game says: time-out "
      f"{game.is_episode_timeout_reached()}, player dead {game.is_player_dead()}")
print(f"last screen: {screen.min()} to {screen.max()}, variables {variables.tolist()}; "
      f"the one before: {before['screen'].min()} to {before['screen'].max()}, variables {before['gamevariables'].tolist()}")

assert game.is_episode_timeout_reached() and not game.is_player_dead()
assert terminated and truncated, "the two flags are told apart now"
assert screen.max() == 0 and before["screen"].max() > 0, "the last screen is no longer black"
env.close()
PYTHON
