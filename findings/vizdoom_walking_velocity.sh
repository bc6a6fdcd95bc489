#!/usr/bin/env bash
# Expectation: label.object_velocity_x, _y and _z of a ViZDoom object say whether, and how fast, it moves.
# What happens: a monster that walks has velocity 0 while its position changes by 20 units in four tics. Doom's monsters are moved step
# by step; the velocity is momentum, which missiles, what falls and what is pushed have.
# Why it matters: masks of "what moves", time-to-contact, and motion as a reward or a label leave out every monster that walks up to the
# player, silently.
# Instead: compare object_position_x, _y and _z of the same object_id between two states.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --no-compile --disable-pip-version-check vizdoom==1.3.2 numpy==2.4.6

venv/bin/python - <<'PYTHON'
import math
import os
from collections import defaultdict
from importlib.metadata import version

import vizdoom

print("vizdoom", version("vizdoom"))

game = vizdoom.DoomGame()
game.load_config(os.path.join(vizdoom.scenarios_path, "defend_the_line.cfg"))
game.set_window_visible(False)
game.set_labels_buffer_enabled(True)
game.set_seed(3)
game.init()
game.new_episode()
seen = defaultdict(list)
before = {}
for _ in range(60):
    for label in game.get_state().labels:
        position = (label.object_position_x, label.object_position_y, label.object_position_z)
        velocity = math.hypot(label.object_velocity_x, label.object_velocity_y, label.object_velocity_z)
        if label.object_id in before:
            moved = math.dist(position, before[label.object_id])
            seen[label.object_name].append((moved, velocity))
        before[label.object_id] = position
    game.make_action([0, 0, 0], 4)
    if game.is_episode_finished():
        break
game.close()

for name in ("Demon", "DoomImpBall"):
    moving = [(moved, velocity) for moved, velocity in seen[name] if moved > 0]
    with_velocity = sum(velocity > 0 for _, velocity in moving)
    fastest = max(moving)
    print(f"{name}: moved between {len(moving)} of {len(seen[name])} pairs of states, in {with_velocity} of them with a velocity "
          f"above 0; at its fastest {fastest[0]:.1f} units in four tics, velocity {fastest[1]:.1f}")

walks, flies = (([velocity for moved, velocity in seen[name] if moved > 0]) for name in ("Demon", "DoomImpBall"))
assert len(walks) > 20 and not any(walks), "monsters that walk have a velocity now"
assert len(flies) > 5 and sum(velocity > 0 for velocity in flies) > 0.8 * len(flies)
PYTHON
