#!/usr/bin/env bash
# Expectation: the maps of objects that MiniGrid and Crafter give, obs["image"] and info["semantic"], lie like the picture that
# they draw: rows first.
# What happens: both are indexed [x, y], the picture [y, x]. The map is the picture's mirror image along the diagonal; as it is
# square, nothing raises.
# Why it matters: a mask of "the key" made from it marks a place where the key is not, and an agent rewarded for looking there
# learns another place. Objects near the diagonal hide the mistake.
# Instead: transpose the first two axes (`map.swapaxes(0, 1)`) before enlarging a mask to the picture.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --no-compile --disable-pip-version-check minigrid==3.2.0 crafter==1.8.3 gymnasium==1.4.0 numpy==2.4.6

venv/bin/python - <<'PYTHON'
from importlib.metadata import version

import crafter
import gymnasium
import numpy as np
from minigrid.core.constants import OBJECT_TO_IDX
from minigrid.core.world_object import Ball
from minigrid.wrappers import FullyObsWrapper

print("minigrid", version("minigrid"), "crafter", version("crafter"))

env = FullyObsWrapper(gymnasium.make("MiniGrid-Empty-8x8-v0", render_mode="rgb_array"))
observation, _ = env.reset(seed=0)
env.unwrapped.grid.set(5, 2, Ball("blue"))  # column 5, row 2
index = np.argwhere(env.observation(observation)["image"][..., 0] == OBJECT_TO_IDX["ball"])[0].tolist()
picture = env.unwrapped.get_frame(highlight=False, tile_size=8)
blue = (picture[..., 2] > 150) & (picture[..., :2].max(-1) < 100)
place = (np.argwhere(blue)[0] // 8).tolist()
print("MiniGrid: the ball's index in obs['image']:", index, "its row and column in the picture:", place)

# Crafter's picture shows 9 x 7 cells around the player. Cells of one material have nearly one colour, if the map lies like it.
game = crafter.Env(seed=3, area=(64, 64), size=(63, 63))
game.reset()


def spread(cells, colours):
    """The spread of the colours within cells of one kind."""
    return float(np.mean([colours[cells == kind].std(0).mean() for kind in np.unique(cells) if (cells == kind).sum() > 3]))


as_is, swapped = [], []
rng = np.random.default_rng(0)
for _ in range(60):
    picture, _, done, info = game.step(int(rng.integers(1, 5)))  # walks
    if done:
        game.reset()
        continue
    x, y = info["player_pos"]
    if not (7 < x < 56 and 7 < y < 56):
        continue
    colours = picture[:49].reshape(7, 7, 9, 7, 3).astype(float).mean((1, 3))  # 7 rows of 9 cells
    # the same window of the map, read as [row, column] and as [x, y]
    as_is.append(spread(info["semantic"][y - 3:y + 4, x - 4:x + 5], colours))
    swapped.append(spread(info["semantic"].T[y - 3:y + 4, x - 4:x + 5], colours))
print(f"Crafter: colours within one material spread by {np.mean(as_is):.1f} with info['semantic'] as it is, "
      f"{np.mean(swapped):.1f} with it transposed ({len(as_is)} pictures)")

assert index == [5, 2] and place == [2, 5], "MiniGrid's map lies like its picture now"
assert np.mean(swapped) < 0.7 * np.mean(as_is), "Crafter's map lies like its picture now"
PYTHON
