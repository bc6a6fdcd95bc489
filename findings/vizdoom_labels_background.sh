#!/usr/bin/env bash
# Expectation: in ViZDoom's labels buffer 0 is the background, and what is above 0 belongs to an object.
# What happens: walls are 0, but floor and ceiling are 1, a value that no entry of state.labels has. The player's own weapon
# (255) is an object, too, and its pixels hide what stands behind it.
# Why it matters: `labels_buffer > 0` as the evidence mask of an agent marks most of the screen, so that any saliency map scores
# well on it.
# Instead: build masks from state.labels: `labels_buffer == label.value` for the objects meant, chosen by object_name.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --no-compile --disable-pip-version-check vizdoom==1.3.2 numpy==2.4.6

venv/bin/python - <<'PYTHON'
import os
from importlib.metadata import version

import numpy as np
import vizdoom

print("vizdoom", version("vizdoom"))

game = vizdoom.DoomGame()
game.load_config(os.path.join(vizdoom.scenarios_path, "basic.cfg"))
game.set_window_visible(False)
game.set_labels_buffer_enabled(True)
game.set_seed(1)
game.init()
game.new_episode()
state = game.get_state()
buffer = state.labels_buffer
values, counts = np.unique(buffer, return_counts=True)
print("values in the labels buffer and their pixels:", dict(zip(values.tolist(), counts.tolist())))
objects = {label.object_name: label.value for label in state.labels}
print("state.labels:", objects)
masked = float((buffer > 0).mean())
monster = float((buffer == objects["Cacodemon"]).mean())
weapon = float((buffer == objects["DoomPlayer"]).mean())
rows = np.nonzero((buffer == 0).any(1))[0]
print(f"labels_buffer > 0: {masked:.1%} of the screen; the monster {monster:.1%}, the weapon {weapon:.1%}; "
      f"value 0 stands in rows {rows[0]} to {rows[-1]} of {len(buffer)} only, where the walls are")
game.close()

assert 1 in values and 1 not in objects.values(), "the background is one value now"
assert masked > 0.7 and monster + weapon < 0.1
PYTHON
