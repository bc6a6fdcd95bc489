"""Where the patches are among the tokens: seen by changing one cell at a time."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lookright.classifier.grid import Grid
from lookright.classifier.mode import own_randomness
from lookright.classifier.route import Site
from lookright.classifier.search.trace import shared_copy
from lookright.classifier.tap import tapped
from lookright.errors import InputError


class _Reached(Exception):
    """The tensor that was waited for has come; the rest of the forward is not needed."""


def place_by_map(
    model: nn.Module, image_shape: torch.Size, map: tuple[Site, Grid], tokens: Site, guess: Grid
) -> Grid | None:
    """The layout of tokens that are computed from the cells of a map.

    Args:
        model: run up to the tokens, in a copy that shares its weights.
        image_shape: (B, C, H, W).
        map: where the map passes, and its axes.
        tokens: where the tokens pass first, before they are mixed.
        guess: axes of the tokens, and the size of the map.

    Returns:
        The grid with the numbers of tokens before and behind the patches; None where the positions of the tokens are
        not the cells of the map.

    Raises:
        InputError: if each cell has its token, but not row by row without others in between.
    """
    site, grid = map
    cells = _cells(guess)

    def change(tensor: Tensor) -> Tensor:
        features = grid.features(tensor).clone()
        for number, (row, column) in enumerate(cells, 1):
            features[number, :, row, column] += _noise(features[number, :, row, column], features)
        return grid.restore(features, tensor)

    shape = torch.Size((1 + len(cells), *image_shape[1:]))
    moved = _moved(model, lambda image: image, shape, [(site, change)], tokens, guess)
    if moved is None:
        return None
    found = [int(position) for position in moved.argmax(1)]
    place = _placed(guess, found, moved.shape[1])
    if place is None and len(set(found)) == len(set(cells)) and bool(((moved > 0).sum(1) == 1).all()):
        raise InputError(
            f"{type(model).__name__} has other tokens amid its {guess.size} patches, or does not read them row by row. "
            "Put the patches side by side, row by row, or name a layer where they are: Classifier(model, features=...)."
        )
    return place


def place_by_image(model: nn.Module, image_shape: torch.Size, tokens: Site, guess: Grid) -> Grid | None:
    """The guess, if changing a cell of the image changes the tokens near it most; else None."""
    cells = _cells(guess)
    assert guess.size is not None
    rows, columns = guess.size
    height, width = image_shape[2:]

    def change(image: Tensor) -> Tensor:
        for number, (row, column) in enumerate(cells, 1):
            part = image[
                number,
                :,
                row * height // rows : (row + 1) * height // rows,
                column * width // columns : (column + 1) * width // columns,
            ]
            part += _noise(part, image)
        return image

    shape = torch.Size((1 + len(cells), *image_shape[1:]))
    moved = _moved(model, change, shape, [], tokens, guess)
    if moved is None:
        return None
    tolerance = 1 if min(rows, columns) > 3 else 0  # What lies before the tokens mixes neighbours.
    for (row, column), token in zip(cells, moved.argmax(1).tolist(), strict=True):
        position = token - guess.prefix
        if abs(position // columns - row) > tolerance or abs(position % columns - column) > tolerance:
            return None
    return guess


def _placed(guess: Grid, found: list[int], tokens: int) -> Grid | None:
    assert guess.size is not None
    rows, columns = guess.size
    prefix, suffix = found[0], tokens - found[0] - rows * columns
    if suffix < 0 or found != [prefix + row * columns + column for row, column in _cells(guess)]:
        return None
    return Grid(guess.axes, guess.size, prefix, suffix)


def _cells(guess: Grid) -> list[tuple[int, int]]:
    assert guess.size is not None
    rows, columns = guess.size
    return [(0, 0), (0, columns - 1), (rows // 2, columns // 2), (rows - 1, columns - 1)]


def _noise(part: Tensor, whole: Tensor) -> Tensor:
    return torch.randn_like(part) * (1 + 3 * whole.std())


def _moved(
    model: nn.Module,
    change: Callable[[Tensor], Tensor],
    shape: torch.Size,
    taps: list[tuple[Site, Callable[[Tensor], Tensor]]],
    tokens: Site,
    guess: Grid,
) -> Tensor | None:
    """(cells, N) how much each token moves when a cell does; None where nothing can be seen."""
    parameter = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    seen: list[Tensor] = []

    def stop(tensor: Tensor) -> Tensor:
        seen.append(tensor.transpose(0, 1) if guess.axes == "NBC" else tensor)
        raise _Reached

    copy = shared_copy(model)
    with torch.no_grad(), own_randomness(parameter.device), parameter.device:
        image = torch.randn(1, *shape[1:], dtype=parameter.dtype).expand(shape).clone()
        try:
            with tapped(copy, [*taps, (tokens, stop)]):
                copy(change(image))
        except _Reached:
            moved = (seen[0][1:] - seen[0][:1]).abs().float().amax(2)
            return moved if bool(moved.amax(1).all()) else None
    return None
