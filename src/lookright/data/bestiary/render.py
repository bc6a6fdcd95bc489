"""The bestiary: a data set of images of one creature each, with exact masks, rendered on the spot.

Twelve creatures (the labels) stand in twelve levels of the free game Freedoom (the domains), every creature in every
level. One folder serves every protocol: labels can be tied to levels, levels held out, creatures kept unknown.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float, UInt8
from PIL import Image

from lookright.data.bestiary.engine import in_own_process
from lookright.data.bestiary.freedoom import RADIUS, Level, Photograph
from lookright.errors import InputError, require_between
from lookright.replacing import replacing

KNOWN_CREATURES = ("Arachnotron", "Cacodemon", "Demon", "DoomImp", "Fatso", "HellKnight", "Revenant", "Zombieman")
# BaronOfHell looks like HellKnight, ChaingunGuy like Zombieman, PainElemental like Cacodemon.
UNKNOWN_CREATURES = ("Archvile", "BaronOfHell", "ChaingunGuy", "PainElemental")
CREATURES = (*KNOWN_CREATURES, *UNKNOWN_CREATURES)
# Of Freedoom's 32 levels the twelve that are told apart best by colour and texture, and of these the best eight first.
LEVELS = tuple(f"MAP{number:02d}" for number in (5, 8, 10, 22, 29, 30, 31, 32, 1, 9, 16, 27))

_MASK_SHARE = (0.02, 0.5)
_LEAST_SEEN = 0.75  # share of the creature's visible pixels that the crop must keep
_LEAST_BRIGHTNESS = 20  # of 255, the creature's mean
_LEAST_DIFFERENCE = 5  # of 255, between the thumbnails of two images of a level
_ATTEMPTS = 1000


def render_bestiary(
    folder: Path,
    *,
    images_per_pair: int = 60,
    images_at_home: int | None = None,
    size: int = 96,
    creatures: Sequence[str] = CREATURES,
    levels: Sequence[str] = LEVELS,
    seed: int = 0,
    workers: int | None = None,
) -> pd.DataFrame:
    """Render the bestiary into a new folder in the native layout: `labels.csv`, `images/`, `masks/`.

    Each image shows one creature that covers between 2 % and 50 % of it, from its own place and heading. A mask is 255
    where the creature is seen and 0 elsewhere, also where something stands before it. The same arguments give the same
    bytes in every file, whatever the number of workers.

    Args:
        folder: where to write; must not exist or be empty.
        images_per_pair: images of each creature in each level.
        images_at_home: images of each creature in its home level (the first creature's is the first level, and so on),
            as many as elsewhere if None. More of them make a strong shortcut possible with few images in all: creatures
            and levels stay balanced, pairs do not.
        size: width and height of an image in pixels.
        creatures: the labels.
        levels: the domains.
        seed: chooses places, headings, distances and crops.
        workers: levels rendered at the same time, each in a process of its own; one per processor if None.

    Returns:
        The table in `labels.csv`: `image` and `mask` (paths in the folder), `label` (creature) and `domain` (level).

    Raises:
        InputError: the folder holds files already, a creature or level is unknown, a level lacks room for so many
            images, the images are too large to render, or ViZDoom is not installed or does not start.
    """
    folder = Path(folder)
    require_between("size", size, 1, 8192)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{str(folder)!r} exists and is not empty. Name a new folder, or delete this one first.")
    if unknown := set(creatures) - set(RADIUS):
        raise InputError(f"No creature {', '.join(sorted(unknown))}. Expected some of {', '.join(CREATURES)}.")
    if images_per_pair < 1 or (images_at_home is not None and images_at_home < 1):
        raise InputError(
            f"images_per_pair is {images_per_pair} and images_at_home {images_at_home}. Expected 1 or more each."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with replacing(folder) as draft:
        (draft / "images").mkdir(parents=True)
        (draft / "masks").mkdir()
        counts = {level: dict.fromkeys(creatures, images_per_pair) for level in levels}
        for creature, level in zip(creatures, levels, strict=False):
            counts[level][creature] = images_per_pair if images_at_home is None else images_at_home
        with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
            render = partial(_render_level, draft, size=size, seed=seed)
            tables = pool.map(partial(in_own_process, render), counts.keys(), counts.values())
            table = pd.concat(tables, ignore_index=True)
        table.to_csv(draft / "labels.csv", index=False, lineterminator="\n")
    return table


def _render_level(folder: Path, name: str, counts: dict[str, int], *, size: int, seed: int) -> pd.DataFrame:
    """Render `counts[creature]` images of each creature in one level."""
    random = np.random.default_rng([seed, *name.encode()])
    thumbnails = np.full((sum(counts.values()), 12, 12), np.inf)
    rows: list[dict[str, str]] = []
    with closing(Level(name, height=round(1.25 * size), seed=seed)) as level:
        for number in range(max(counts.values())):
            for creature in (creature for creature, count in counts.items() if number < count):
                picture, thumbnails[len(rows)] = _new_picture(level, creature, size, thumbnails, random)
                file = f"{name}_{creature}_{number:04d}.png"
                _write_png(folder / "images" / file, picture.image)
                _write_png(folder / "masks" / file, picture.mask.astype(np.uint8) * 255)
                rows.append({"image": f"images/{file}", "label": creature, "mask": f"masks/{file}", "domain": name})
    return pd.DataFrame(rows)


def _new_picture(
    level: Level,
    creature: str,
    size: int,
    thumbnails: Float[np.ndarray, "n 12 12"],
    random: np.random.Generator,
) -> tuple[Photograph, Float[np.ndarray, "12 12"]]:
    """A good picture whose thumbnail resembles none of `thumbnails`, and that thumbnail."""
    for _ in range(_ATTEMPTS):
        photograph = level.photograph(creature, random)
        if photograph is None:
            continue
        picture = _crop(photograph, size, random)
        if not _is_good(picture, photograph):
            continue
        grey = Image.fromarray(picture.image).convert("L")
        thumbnail = np.asarray(grey.resize((12, 12), Image.Resampling.BOX), float)
        if np.abs(thumbnails - thumbnail).mean((1, 2)).min() >= _LEAST_DIFFERENCE:
            return picture, thumbnail
    raise InputError(
        f"Level {level.name} lacks room for another {creature}: {_ATTEMPTS} places were tried. Render fewer images, or "
        "leave this level out."
    )


def _write_png(path: Path, pixels: UInt8[np.ndarray, "..."]) -> None:
    png = BytesIO()
    Image.fromarray(pixels).save(png, "png", compress_level=1)
    path.write_bytes(png.getvalue())


def _crop(photograph: Photograph, size: int, random: np.random.Generator) -> Photograph:
    """A square out of the photograph, with the creature (which stands in the middle column) left, right or central."""
    height, width = photograph.mask.shape
    column = round(random.uniform(0.2, 0.8) * size)
    left = min(max(width // 2 - column, 0), width - size)
    top = int(random.integers(0, height - size, endpoint=True))
    window = np.s_[top : top + size, left : left + size]
    return Photograph(photograph.image[window], photograph.mask[window])


def _is_good(picture: Photograph, photograph: Photograph) -> bool:
    """Whether the creature is large, whole and bright enough in the crop."""
    least, most = _MASK_SHARE
    return bool(
        least <= picture.mask.mean() <= most
        and picture.mask.sum() >= _LEAST_SEEN * photograph.mask.sum()
        and picture.image[picture.mask].mean() >= _LEAST_BRIGHTNESS
    )
