"""A film of an agent at play, with what it looks at, what it does, and what it hopes for."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float64, UInt8
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional

from lookright.attribution import class_map, minmax, relu
from lookright.classifier import evaluating
from lookright.errors import InputError
from lookright.overlay import overlay
from lookright.replacing import replacing
from lookright.rl.environments import DoomEnvironment, seeds
from lookright.rl.evaluate import EVALUATION_SEED, TrainedAgent, load_agent, play
from lookright.rl.policy import as_image
from lookright.run_directory import read_checkpoint

SCALE = 3
CAPTION_HEIGHT = 18
CURVE_HEIGHT = 48
SUFFIXES = (".webp", ".gif", ".mp4")


def watch(run: Path, out: Path | None = None, episode: int = 0, greedy: bool = False) -> Path:
    """Film one episode: the frame, and the frame under the map of the action taken, targets outlined.

    Below are the action, the return so far and the critic's value, and a curve of the value over the episode. The
    critic is read from the run's checkpoint; without one there is no value.

    Args:
        run: directory of the run.
        out: the file to write, an animated `.webp` or `.gif`, or an `.mp4`; by default watch.webp in the run's
            directory.
        episode: which of the evaluation's episodes.
        greedy: take the most probable action instead of drawing from the policy.

    Returns:
        The file.

    Raises:
        InputError: no run, one without weights, a file name of another kind, an episode below 0, or PyAV, which MP4
            needs, is not installed.
    """
    out = out or run / "watch.webp"
    if out.suffix not in SUFFIXES:
        raise InputError(f"Cannot film into {str(out)!r}; name a file that ends in {', '.join(SUFFIXES)}.")
    if episode < 0:
        raise InputError(f"episode = {episode}; expected 0 or more.")
    write = _write_mp4 if out.suffix == ".mp4" else _write_animation
    agent = load_agent(run)
    environment = DoomEnvironment(agent.settings.scenario, **agent.settings.seen)
    try:
        played = play(agent.classifier, environment, seeds(EVALUATION_SEED, 0, episode + 1)[-1], greedy)
    finally:
        environment.close()
    image = as_image(played.frames)
    with evaluating(agent.classifier):
        map = minmax(relu(class_map(agent.classifier, agent.classifier(image), played.action).detach()))
    value = _values(run, agent, image)
    height, width = played.screen.shape[1:3]
    size = (SCALE * height, SCALE * width)
    returns = played.reward.cumsum()

    def picture(index: int) -> Image.Image:
        pixels, looked = enlarged(played.screen[index]), under_map(played.screen[index], map[index], played.mask[index])
        below = CAPTION_HEIGHT + (CURVE_HEIGHT if value is not None else 0)
        result = Image.new("RGB", (2 * size[1], size[0] + below), "white")
        result.paste(Image.fromarray(np.concatenate([pixels, looked], axis=1)))
        caption = (
            f"{environment.actions[int(played.action[index])].lower().replace('_', ' ')}, return {returns[index]:g}"
        )
        draw = ImageDraw.Draw(result)
        if value is not None:
            caption += f", value {value[index]:.2f}"
            _draw_curve(draw, value, index, (0, size[0] + CAPTION_HEIGHT, result.width, result.height))
        draw.text((4, size[0] + 3), caption, fill="black")
        return result

    rate = Fraction(environment.metadata["render_fps"]).limit_denominator(1000)  # PyAV takes no more
    with replacing(out) as draft:
        write(Film(picture, len(played.action)), rate, draft)
    return out


def enlarged(screen: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """A frame as films show it, each pixel as a square of several."""
    return screen.repeat(SCALE, 0).repeat(SCALE, 1)


def under_map(
    screen: UInt8[np.ndarray, "H W 3"], map: Float[Tensor, "_ _"], mask: UInt8[Tensor, "_ _"]
) -> UInt8[np.ndarray, "h w 3"]:
    """The frame, enlarged, under a map in [0, 1] on any grid; targets, of a mask from 0 to 255, outlined in green."""
    pixels = enlarged(screen)
    grown, shown = (
        functional.interpolate(part[None, None], pixels.shape[:2], mode="bilinear")[0, 0].numpy()
        for part in (map, as_image(mask))
    )
    result = overlay(pixels, grown)
    result[_outline(shown >= 0.5)] = (0, 255, 0)
    return result


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


def _write_animation(film: Film, rate: Fraction, out: Path) -> None:
    film.save(out, save_all=True, duration=round(1000 / rate), loop=0)


def _write_mp4(film: Film, rate: Fraction, out: Path) -> None:
    try:
        import av
    except ModuleNotFoundError as error:
        raise InputError(
            'MP4 needs PyAV, which is not installed. Run: pip install "lookright[film]", or name a .webp or .gif file.'
        ) from error
    with av.open(str(out), "w", format="mp4") as container:
        stream = container.add_stream("h264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = film.width, film.height, "yuv420p"
        for index in range(film.n_frames):
            film.seek(index)
            container.mux(stream.encode(av.VideoFrame.from_image(film)))
        container.mux(stream.encode())


def _values(run: Path, agent: TrainedAgent, image: Float[Tensor, "T stack h w"]) -> Float64[np.ndarray, " T"] | None:
    """The critic's value of each decision."""
    if not (run / "last.ckpt").is_file():
        return None
    state = read_checkpoint(run / "last.ckpt", ("policy",))["policy"]
    with torch.no_grad():
        embedding = agent.classifier(image).embedding
        try:
            value = functional.linear(embedding, state["critic.weight"], state["critic.bias"])[:, 0]
        except (KeyError, RuntimeError, TypeError, IndexError) as error:
            raise InputError(
                f"The checkpoint of {str(run)!r} is not that of its agent ({type(error).__name__}). Delete last.ckpt, "
                "and the film has no value."
            ) from error
    return value.double().numpy()


def _draw_curve(
    draw: ImageDraw.ImageDraw, value: Float64[np.ndarray, " T"], now: int, box: tuple[int, int, int, int]
) -> None:
    """The values of an episode in a box of pixels: what was, darker than what comes, and a line at the present."""
    left, top, right, bottom = box
    across = np.linspace(left + 2, right - 3, len(value))
    reach = np.ptp(value) or 1.0
    down = bottom - 4 - (value - value.min()) / reach * (bottom - top - 7)
    points = list(zip(across.tolist(), down.tolist(), strict=True))
    draw.line(points, fill="lightgrey")
    draw.line(points[: now + 1], fill="black")
    draw.line([(across[now], top), (across[now], bottom)], fill="red")


def _outline(mask: np.ndarray) -> np.ndarray:
    """The pixels with a neighbour on the other side of a region's rim."""
    outline = np.zeros_like(mask)
    across, down = mask[:, 1:] != mask[:, :-1], mask[1:] != mask[:-1]
    outline[:, 1:] |= across
    outline[:, :-1] |= across
    outline[1:] |= down
    outline[:-1] |= down
    return outline
