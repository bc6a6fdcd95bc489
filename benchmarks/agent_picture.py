"""Where agents of a study look, on the same frames: docs/images/agents.png.

    python benchmarks/agent_picture.py RUN RUN ...

The first agent plays the first episode of the evaluation. Every row shows a frame of it, and that frame under the
contrast map, by each agent, of the action that the first one took; targets are outlined.
"""

import argparse
from contextlib import closing
from pathlib import Path

import torch
from PIL import Image, ImageDraw

from lookright.attribution import contrast, minmax, relu
from lookright.rl.environments import DoomEnvironment, seeds
from lookright.rl.evaluate import EVALUATION_SEED, load_agent, play
from lookright.rl.policy import as_image
from lookright.rl.watch import enlarged, under_map

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "agents.png"
HEAD, GAP, SHOWN = 30, 4, (320, 240)

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--steps", type=int, nargs="+", default=[100, 200, 300])
    arguments = parser.parse_args()
    agents = [load_agent(run) for run in arguments.runs]
    settings = agents[0].settings
    with closing(DoomEnvironment(settings.scenario, **settings.seen)) as environment:
        episode = play(agents[0].classifier, environment, seeds(EVALUATION_SEED, 0, 1)[0])
    chosen = torch.tensor(arguments.steps)
    image, action = as_image(episode.frames[chosen]), episode.action[chosen]
    classifiers = {agent.settings.name or "": agent.classifier for agent in agents}
    maps = [minmax(relu(contrast(found, found(image), action).detach())) for found in classifiers.values()]
    rows = [
        [
            enlarged(episode.screen[step]),
            *(under_map(episode.screen[step], map[row], episode.mask[step]) for map in maps),
        ]
        for row, step in enumerate(arguments.steps)
    ]
    width, height = SHOWN[0] + GAP, SHOWN[1] + GAP
    picture = Image.new("RGB", (width * len(rows[0]) - GAP, HEAD + height * len(rows) - GAP), "white")
    for column, name in enumerate(("what the agents see", *classifiers)):
        ImageDraw.Draw(picture).text((column * width, 4), name, fill="black", font_size=20)
        for row, frames in enumerate(rows):
            shown = Image.fromarray(frames[column]).resize(SHOWN, Image.Resampling.LANCZOS)
            picture.paste(shown, (column * width, HEAD + row * height))
    picture.quantize(256).save(PICTURE, optimize=True)
