"""What stands in for pixels that are taken away: one set of operators for views of an image and for metrics.

The functions do the work. The frozen dataclasses name one of them with its settings, so that a method, a metric or a
configuration file (`class_path: lookright.perturb.Blur`) can hold it; all are called alike.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from lookright.errors import InputError

Image = Float[Tensor, "B C H W"]
Keep = Float[Tensor, "B H W"]


def blend(image: Image, perturbed: Image, keep: Keep) -> Image:
    """keep · image + (1 − keep) · perturbed, with a soft `keep` in [0, 1].

    >>> blend(torch.ones(1, 1, 1, 3), torch.zeros(1, 1, 1, 3), torch.tensor([[[1.0, 0.25, 0.0]]]))
    tensor([[[[1.0000, 0.2500, 0.0000]]]])
    """
    keep = keep.unsqueeze(1)
    return keep * image + (1 - keep) * perturbed


def blur(image: Image, sigma: float | Float[Tensor, " B"], truncate: float = 3.0) -> Image:
    """Gaussian blur; the image is reflected at its borders (without repeating the outermost pixel).

    Args:
        image: (B, C, H, W).
        sigma: standard deviation in pixels, one for all images or one for each; 0 leaves an image as it is.
        truncate: where the Gaussian is cut off, in standard deviations, rounded to whole pixels.
    """
    height, width = image.shape[-2:]
    sigma = torch.as_tensor(sigma, dtype=torch.float32).reshape(-1)
    # b: image (or 1 for all), c: channel, i j: rows, k l: columns. A product of two small matrices is exact for any
    # sigma, takes one sigma per image, and needs no padding.
    rows, columns = (_blur_matrix(size, sigma, truncate).to(image) for size in (height, width))
    with torch.autocast(image.device.type, enabled=False):
        return rows.unsqueeze(1) @ image @ columns.unsqueeze(1).mT


def _blur_matrix(size: int, sigma: Float[Tensor, " b"], truncate: float) -> Float[Tensor, "b size size"]:
    """Row i holds the weights with which pixel i of a blurred line sees the pixels of the line."""
    position = torch.arange(size, device=sigma.device)
    period = 2 * (size - 1)  # of the line and its mirror image
    reach = math.ceil(truncate * float(sigma.max()) / max(period, 1)) + 1
    turns = period * torch.arange(-reach, reach + 1, device=sigma.device)[:, None, None]
    mirrored = (position > 0) & (position < size - 1)  # the ends are their own mirror images
    sigma = sigma.clamp_min(torch.finfo(sigma.dtype).tiny)[:, None, None, None]

    def gaussian(distance: Tensor) -> Tensor:
        return torch.where(distance.abs() <= (truncate * sigma).round(), torch.exp(-0.5 * (distance / sigma) ** 2), 0.0)

    weight = gaussian(position[:, None] - position - turns) + mirrored * gaussian(position[:, None] + position - turns)
    weight = weight.sum(1)
    return weight / weight.sum(-1, keepdim=True)


def noise(image: Image, generator: torch.Generator) -> Image:
    """Uniform noise between the minimum and the maximum of each image's channel.

    Ismail et al., "Improving Deep Learning Interpretability by Saliency Guided Training", NeurIPS 2021.
    """
    low, high = image.amin((2, 3), keepdim=True), image.amax((2, 3), keepdim=True)
    return low + (high - low) * _uniform(image.shape, generator).to(image)


def shuffle(image: Image, generator: torch.Generator) -> Image:
    """The same pixels at random places: each image has its own permutation, the same for all its channels."""
    batch, _, height, width = image.shape
    order = _uniform((batch, height * width), generator).argsort(1).to(image.device)
    return image.flatten(2).gather(2, order.unsqueeze(1).expand_as(image.flatten(2))).view_as(image)


def _uniform(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    # Drawn where the generator lives: a CPU generator gives the same numbers whatever device the images are on.
    return torch.rand(shape, generator=generator, device=generator.device)


def mean_fill(image: Image) -> Image:
    """The mean colour of each image."""
    return image.mean((2, 3), keepdim=True).expand_as(image)


def zero_fill(image: Image) -> Image:
    """Zeros: the mean colour of the data set where images are normalised."""
    return torch.zeros_like(image)


def inpaint(image: Image, keep: Keep, iterations: int = 16) -> Image:
    """Continues the kept pixels smoothly into those that are not kept (harmonic in-painting by diffusion).

    Solves u = keep · image + (1 − keep) · mean of u over the four neighbours, borders replicated, by Jacobi steps from
    the coarsest of a pyramid of halved grids to the image's own. What comes back is what stands in for the image, the
    mean over the neighbours: `blend(image, inpaint(image, keep), keep)` is u after one step more. What is not kept
    leaves no trace in it. With 16 steps a grid, a hole of half the width of a 96 x 96 image is within 0.04 standard
    deviations (root mean square) of the exact solution. An image of which nothing is kept becomes smooth about its
    mean colour.

    Args:
        image: (B, C, H, W).
        keep: (B, H, W) in [0, 1].
        iterations: Jacobi steps on each grid.
    """
    with torch.autocast(image.device.type, enabled=False):
        # The trace of every pixel keeps the weighted means below defined, and decides only where nothing is kept.
        values = image.float().contiguous()  # channels last would take half as long again
        solution = _diffuse(values, keep.float().unsqueeze(1).clamp_min(1e-12), iterations)
        return (_sum_of_neighbours(solution) / 4).to(image.dtype)


def _diffuse(image: Tensor, keep: Tensor, iterations: int) -> Tensor:
    if max(image.shape[-2:]) == 1:
        return image
    weight = F.avg_pool2d(keep, 2, ceil_mode=True)
    coarse = F.avg_pool2d(keep * image, 2, ceil_mode=True) / weight
    # One kept pixel of the four ties its cell; a weaker `keep` counts four times as much on a grid twice as wide.
    coarse = _diffuse(coarse, (4 * weight).clamp_max(1), iterations)
    filled = F.interpolate(coarse, image.shape[-2:], mode="bilinear")
    kept, share = keep * image, (1 - keep) / 4
    for _ in range(iterations):
        filled = torch.addcmul(kept, share, _sum_of_neighbours(filled))
    return filled


def noisy_linear(
    image: Image, keep: Keep, generator: torch.Generator | None = None, noise: float = 0.01, tolerance: float = 1e-4
) -> Image:
    """ROAD's in-painting: what is not kept becomes the weighted mean of its eight neighbours, and noise is added.

    Solves u = Σ w·u / Σ w over the neighbours inside the image, w = 1/6 beside and 1/12 across a corner, for all pixels
    that are not kept at once, where the kept ones stay. The noise hides how smooth it is. An image of which nothing is
    kept becomes smooth about its mean colour.

    Rong et al., "A Consistent and Efficient Evaluation Strategy for Attribution Methods", ICML 2022, section 4.

    Args:
        image: (B, C, H, W).
        keep: (B, H, W); pixels of at least 0.5 are kept.
        generator: of the noise.
        noise: standard deviation of the noise, in units of the image.
        tolerance: largest residual of an equation, in units of the image, at which the conjugate gradients stop.
    """
    with torch.autocast(image.device.type, enabled=False):
        known = (keep >= 0.5).float().unsqueeze(1)
        solution = _conjugate_gradients(image.float(), known, tolerance)
        if noise:
            if generator is None:
                raise InputError("noise is random: pass generator=torch.Generator().manual_seed(...), or noise=0")
            solution += noise * torch.randn(image.shape, generator=generator, device=generator.device).to(solution)
        return torch.where(known > 0, image, solution.to(image.dtype))


def _conjugate_gradients(image: Tensor, known: Tensor, tolerance: float) -> Tensor:
    """The solution of ROAD's equations, all images and channels at once; the diagonal preconditions."""
    unknown = 1 - known
    weight = _sum_of_eight(torch.ones_like(known[:1])).clamp_min(1e-12)
    solution = unknown * _diffuse(image, known.clamp_min(1e-12), 4)
    residual = unknown * (_sum_of_eight(known * image) - weight * solution + _sum_of_eight(solution))
    direction = residual / weight
    size = (residual * direction).sum((2, 3), keepdim=True)
    tiny = torch.finfo(size.dtype).tiny
    found, left = solution.clone(), torch.arange(len(image), device=image.device)
    for step in range(4 * sum(image.shape[-2:])):
        # Looking at residuals waits for the device.
        if step % 8 == 0:
            is_open = residual.abs().amax((1, 2, 3)) > tolerance
            found[left[~is_open]] = solution[~is_open]
            left, unknown, solution, residual, direction, size = (
                values[is_open] for values in (left, unknown, solution, residual, direction, size)
            )
            if len(left) == 0:
                break
        product = unknown * (weight * direction - _sum_of_eight(direction))
        length = size / (direction * product).sum((2, 3), keepdim=True).clamp_min(tiny)
        solution = torch.addcmul(solution, length, direction)
        residual = torch.addcmul(residual, length, product, value=-1)
        last, size = size, (residual * residual / weight).sum((2, 3), keepdim=True)
        direction = residual / weight + size / last.clamp_min(tiny) * direction
    found[left] = solution
    return found


def _sum_of_eight(image: Tensor) -> Tensor:
    """Over the neighbours inside the image, 1/6 beside, 1/12 across a corner: (1, 2, 1) both ways, less the centre."""
    rows = 2 * image
    rows[..., 1:] += image[..., :-1]
    rows[..., :-1] += image[..., 1:]
    both = 2 * rows
    both[..., 1:, :] += rows[..., :-1, :]
    both[..., :-1, :] += rows[..., 1:, :]
    return torch.sub(both, image, alpha=4) / 12


def _sum_of_neighbours(image: Tensor) -> Tensor:
    # In place: padded copies would take more than twice the time, and this is most of SAGE's step on a small network.
    total = torch.cat([image[..., :1, :], image[..., :-1, :]], -2)
    total[..., :-1, :] += image[..., 1:, :]
    total[..., -1, :] += image[..., -1, :]
    total[..., 1:] += image[..., :-1]
    total[..., 0] += image[..., 0]
    total[..., :-1] += image[..., 1:]
    total[..., -1] += image[..., -1]
    return total


class Perturbation(ABC):
    """Makes from an image what stands in for its pixels where they are taken away."""

    reads_keep: ClassVar[bool] = False
    """Whether the result depends on which pixels are kept."""

    @abstractmethod
    def __call__(
        self,
        image: Image,
        keep: Keep | None = None,
        generator: torch.Generator | None = None,
    ) -> Image:
        """The perturbed image, to be joined with the original by `blend(image, perturbed, keep)`.

        Args:
            image: (B, C, H, W).
            keep: (B, H, W) in [0, 1], 1 where the original stays; needed where `reads_keep` is true, else not read.
            generator: only random perturbations (`Noise`, `Shuffle`, `NoisyLinear`) draw from it, and need it.

        Raises:
            InputError: what the perturbation needs is missing.
        """

    def _needs_generator(self, generator: torch.Generator | None) -> torch.Generator:
        if generator is None:
            raise InputError(f"{self} is random: pass generator=torch.Generator().manual_seed(...)")
        return generator


@dataclass(frozen=True)
class Blur(Perturbation):
    """Gaussian blur.

    Args:
        sigma: standard deviation as a share of the image's width.
        truncate: where the Gaussian is cut off, in standard deviations, rounded to whole pixels.
    """

    sigma: float = 0.05
    truncate: float = 3.0

    def __call__(self, image: Image, keep: Keep | None = None, generator: torch.Generator | None = None) -> Image:
        """See `blur`."""
        return blur(image, self.sigma * image.shape[-1], self.truncate)


@dataclass(frozen=True)
class Noise(Perturbation):
    """Uniform noise between each channel's minimum and maximum."""

    def __call__(self, image: Image, keep: Keep | None = None, generator: torch.Generator | None = None) -> Image:
        """See `noise`."""
        return noise(image, self._needs_generator(generator))


@dataclass(frozen=True)
class Shuffle(Perturbation):
    """The image's own pixels at random places."""

    def __call__(self, image: Image, keep: Keep | None = None, generator: torch.Generator | None = None) -> Image:
        """See `shuffle`."""
        return shuffle(image, self._needs_generator(generator))


@dataclass(frozen=True)
class MeanFill(Perturbation):
    """The image's mean colour."""

    def __call__(self, image: Image, keep: Keep | None = None, generator: torch.Generator | None = None) -> Image:
        """See `mean_fill`."""
        return mean_fill(image)


@dataclass(frozen=True)
class ZeroFill(Perturbation):
    """Zeros: the data set's mean colour where images are normalised."""

    def __call__(self, image: Image, keep: Keep | None = None, generator: torch.Generator | None = None) -> Image:
        """See `zero_fill`."""
        return zero_fill(image)


@dataclass(frozen=True)
class Inpaint(Perturbation):
    """The kept pixels, continued smoothly.

    Args:
        iterations: diffusion steps on each grid of the pyramid.
    """

    reads_keep: ClassVar[bool] = True

    iterations: int = 16

    def __call__(self, image: Image, keep: Keep | None = None, generator: torch.Generator | None = None) -> Image:
        """See `inpaint`."""
        if keep is None:
            raise InputError(f"{self} fills the pixels that are not kept: pass keep (B, H, W)")
        return inpaint(image, keep, self.iterations)


@dataclass(frozen=True)
class NoisyLinear(Perturbation):
    """ROAD's in-painting, with noise.

    Args:
        noise: standard deviation of the noise, in units of the image; 0 for none.
    """

    reads_keep: ClassVar[bool] = True

    noise: float = 0.01

    def __call__(self, image: Image, keep: Keep | None = None, generator: torch.Generator | None = None) -> Image:
        """See `noisy_linear`."""
        if keep is None:
            raise InputError(f"{self} fills the pixels that are not kept: pass keep (B, H, W)")
        return noisy_linear(image, keep, self._needs_generator(generator) if self.noise else None, self.noise)


INPAINT = Inpaint()
"""What stands in for evidence where nothing else is asked for."""
