"""A film of an agent at play, with what it looks at."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from torch.nn import functional

from lookright.attribution import minmax, relu
from lookright.classifier import evaluating
from lookright.errors import InputError
from lookright.overlay import overlay
from lookright.replacing import replacing
from lookright.rl.environments import DoomEnvironment, seeds
from lookright.rl.evaluate import EVALUATION_SEED, attention, load_agent, play
from lookright.rl.policy import as_image

SCALE = 3
CAPTION_HEIGHT = 18
SUFFIXES = (".webp", ".gif")


def watch(run: Path, out: Path | None = None, episode: int = 0, greedy: bool = False) -> Path:
    """Film one episode: the frame, and the frame under the map of the action taken, targets outlined.

    Args:
        run: directory of the run.
        out: the file to write, an animated `.webp` or `.gif`; by default watch.webp in the run's directory.
        episode: which of the evaluation's episodes.
        greedy: take the most probable action instead of drawing from the policy.

    Returns:
        The file.

    Raises:
        InputError: no run, one without weights, a file name of another kind, or an episode below 0.
    """
    out = out or run / "watch.webp"
    if out.suffix not in SUFFIXES:
        raise InputError(f"Cannot film into {str(out)!r}; name a file that ends in {' or '.join(SUFFIXES)}.")
    if episode < 0:
        raise InputError(f"episode = {episode}; expected 0 or more.")
    agent = load_agent(run)
    environment = DoomEnvironment(agent.settings.scenario, agent.settings.targets, size=agent.settings.size)
    try:
        played = play(agent.classifier, environment, seeds(EVALUATION_SEED, 0, episode + 1)[-1], greedy)
    finally:
        environment.close()
    with evaluating(agent.classifier):
        map = minmax(relu(attention(agent.classifier, as_image(played.frames), played.action)))
    height, width = played.screen.shape[1:3]
    size = (SCALE * height, SCALE * width)
    returns = played.reward.cumsum()

    def picture(index: int) -> Image.Image:
        pixels = played.screen[index].repeat(SCALE, 0).repeat(SCALE, 1)
        grown = functional.interpolate(map[None, index : index + 1], size, mode="bilinear")[0, 0].numpy()
        mask = functional.interpolate(as_image(played.mask[None, index : index + 1]), size, mode="bilinear")[0, 0]
        looked = overlay(pixels, grown)
        looked[_outline(mask.numpy() >= 0.5)] = (0, 255, 0)
        result = Image.new("RGB", (2 * size[1], size[0] + CAPTION_HEIGHT), "white")
        result.paste(Image.fromarray(np.concatenate([pixels, looked], axis=1)))
        action = environment.actions[int(played.action[index])].lower().replace("_", " ")
        ImageDraw.Draw(result).text((4, size[0] + 3), f"{action}, return {returns[index]:g}", fill="black")
        return result

    duration = round(1000 / environment.metadata["render_fps"])
    with replacing(out) as draft:
        Film(picture, len(played.action)).save(draft, save_all=True, duration=duration, loop=0)
    return out


class Film(Image.Image):
    """Pictures that are drawn when they are turned to, so that no more than one is in memory.

    Args:
        picture: draws the one with a number.
        number: of pictures.
    """

    def __init__(self, picture: Callable[[int], Image.Image], number: int) -> None:
        super().__init__()
        self.picture, self.n_frames = picture, number
        self.seek(0)

    def seek(self, frame: int) -> None:
        """Turn to a picture; EOFError past the last."""
        if frame >= self.n_frames:
            raise EOFError(f"picture {frame} of {self.n_frames}")
        self.frame = frame
        picture = self.picture(frame)
        self._mode, self._size, self.im = picture.mode, picture.size, picture.im

    def tell(self) -> int:
        """The number of the picture turned to."""
        return self.frame


def _outline(mask: np.ndarray) -> np.ndarray:
    """The pixels with a neighbour on the other side of a region's rim."""
    outline = np.zeros_like(mask)
    across, down = mask[:, 1:] != mask[:, :-1], mask[1:] != mask[:-1]
    outline[:, 1:] |= across
    outline[:, :-1] |= across
    outline[1:] |= down
    outline[:-1] |= down
    return outline
