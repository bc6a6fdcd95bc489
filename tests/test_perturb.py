import copy
import math

import pytest
import torch
import torchvision.transforms.v2.functional as transforms
from hypothesis import given
from hypothesis import strategies as st
from jsonargparse import auto_cli

from lookright import InputError
from lookright.perturb import (
    Blur,
    Inpaint,
    MeanFill,
    Noise,
    NoisyLinear,
    Perturbation,
    Shuffle,
    ZeroFill,
    blend,
    blur,
    inpaint,
    mean_fill,
    noise,
    noisy_linear,
    shuffle,
    zero_fill,
)

PERTURBATIONS = [Blur(), Noise(), Shuffle(), MeanFill(), ZeroFill(), Inpaint(), NoisyLinear()]


def images(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("sigma", "radius"), [(5.0, 5), (1.5, 4), (4.0, 12)])
def test_blur_is_a_gaussian_filter_with_reflected_borders(sigma, radius):
    image = images(2, 3, 20, 16)
    expected = transforms.gaussian_blur(image, [2 * radius + 1, 2 * radius + 1], [sigma, sigma])
    torch.testing.assert_close(blur(image, sigma, truncate=radius / sigma), expected, atol=1e-5, rtol=0)


def test_blur_wider_than_the_image_still_reflects():
    image = images(1, 1, 1, 4)
    line = image.flatten().tolist()
    expected = []
    for position in range(4):
        weights, total = 0.0, 0.0
        for offset in range(-24, 25):
            folded = (position + offset) % 6
            weight = math.exp(-0.5 * (offset / 8) ** 2)
            weights, total = weights + weight, total + weight * line[min(folded, 6 - folded)]
        expected.append(total / weights)
    torch.testing.assert_close(blur(image, 8.0).flatten(), torch.tensor(expected))


def test_the_kernel_of_a_small_sigma_is_cut_at_whole_pixels():
    image = images(1, 1, 8, 8)
    torch.testing.assert_close(blur(image, 0.7, truncate=1.0), transforms.gaussian_blur(image, [3, 3], [0.7, 0.7]))


def test_blur_takes_one_sigma_per_image():
    image = images(3, 2, 12, 12)
    blurred = blur(image, torch.tensor([0.0, 1.0, 3.0]))
    assert torch.equal(blurred[0], image[0])
    for index, sigma in ((1, 1.0), (2, 3.0)):
        torch.testing.assert_close(blurred[index], blur(image[index : index + 1], sigma)[0])


@given(st.floats(0, 10), st.floats(-5, 5))
def test_blur_keeps_a_constant_image(sigma, value):
    image = torch.full((1, 1, 7, 9), value)
    torch.testing.assert_close(blur(image, sigma), image)


def test_blur_as_operator_scales_with_the_width():
    image = images(1, 3, 20, 40)
    torch.testing.assert_close(Blur(sigma=0.05)(image), blur(image, 2.0))


def test_noise_lies_between_minimum_and_maximum_of_each_channel():
    image = images(4, 3, 32, 32) * torch.tensor([0.1, 1.0, 10.0])[:, None, None]
    noisy = noise(image, generator())
    low, high = image.amin((2, 3)), image.amax((2, 3))
    assert (noisy.amin((2, 3)) >= low).all()
    assert (noisy.amax((2, 3)) <= high).all()
    share = (noisy - low[..., None, None]) / (high - low)[..., None, None]
    assert (share.mean((2, 3)) - 0.5).abs().max() < 0.05


def test_shuffle_moves_whole_pixels_and_each_image_its_own_way():
    image = torch.arange(16.0).view(1, 1, 4, 4) + torch.tensor([0.0, 100.0])[:, None, None]
    image = image.repeat(2, 1, 1, 1)
    shuffled = shuffle(image, generator())
    torch.testing.assert_close(shuffled[:, 0] + 100, shuffled[:, 1])
    assert torch.equal(shuffled.flatten(2).sort().values, image.flatten(2))
    assert not torch.equal(shuffled[0], shuffled[1])
    assert not torch.equal(shuffled, image)


@pytest.mark.parametrize("operator", [noise, shuffle])
def test_random_operators_depend_on_their_generator_alone(operator):
    image = images(2, 3, 8, 8)
    state = torch.get_rng_state()
    first, again, other = (operator(image, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_fills():
    image = images(2, 3, 5, 6) + torch.tensor([0.0, 1.0, 2.0])[:, None, None]
    filled = mean_fill(image)
    for index in range(2):
        for channel in range(3):
            pixels = image[index, channel].flatten().tolist()
            assert filled[index, channel].unique().item() == pytest.approx(sum(pixels) / len(pixels), abs=1e-6)
    assert torch.equal(zero_fill(image), torch.zeros_like(image))


def exact_inpaint(image, keep):
    """The linear system of the docstring, solved directly."""
    height, width = keep.shape
    system, known = torch.eye(height * width, dtype=torch.float64), (keep * image).flatten().double()
    for row in range(height):
        for column in range(width):
            for down, right in ((0, 1), (0, -1), (1, 0), (-1, 0)):
                neighbour = min(max(row + down, 0), height - 1) * width + min(max(column + right, 0), width - 1)
                system[row * width + column, neighbour] -= (1 - keep[row, column]).double() / 4
    return torch.linalg.solve(system, known).view(height, width).float()


@pytest.mark.parametrize("soft", [False, True])
def test_inpaint_solves_the_diffusion_equation(soft):
    rows, columns = torch.meshgrid(torch.arange(11.0), torch.arange(9.0), indexing="ij")
    squared_distance = (rows - 5) ** 2 + (columns - 4) ** 2
    keep = 1 - torch.exp(-squared_distance / 8) if soft else (squared_distance > 6).float()
    image = images(1, 1, 11, 9)
    expected = exact_inpaint(image[0, 0], keep)
    error = {}
    for steps in (16, 100):
        filled = blend(image, inpaint(image, keep[None], steps), keep[None])
        error[steps] = (filled[0, 0] - expected).abs().max()
    assert error[16] < 0.1
    assert error[100] < 1e-3


def test_inpaint_reproduces_a_plane_across_a_hole():
    image = (torch.arange(12.0)[:, None] + 2 * torch.arange(12.0)).expand(2, 3, 12, 12)
    keep = torch.ones(2, 12, 12)
    keep[:, 4:8, 4:8] = 0
    filled = blend(image, inpaint(image, keep, 200), keep)
    torch.testing.assert_close(filled, image, atol=1e-3, rtol=0)


def test_inpaint_forgets_what_is_not_kept():
    image, keep = images(1, 3, 16, 16), torch.ones(1, 16, 16)
    keep[:, 3:9, 4:12] = 0
    changed = torch.where(keep.bool()[:, None], image, 1000.0)
    torch.testing.assert_close(inpaint(changed, keep), inpaint(image, keep), atol=1e-4, rtol=0)


def test_noisy_linear_solves_the_equations_of_road():
    image = images(2, 3, 9, 11)
    keep = (torch.rand(2, 9, 11, generator=generator()) > 0.7).float()
    solution = blend(image, noisy_linear(image, keep, noise=0, tolerance=1e-6), keep)
    for b, y, x in (keep == 0).nonzero().tolist():
        total, weights = torch.zeros(3), 0.0
        for row in range(max(y - 1, 0), min(y + 2, 9)):
            for column in range(max(x - 1, 0), min(x + 2, 11)):
                weight = (0, 1 / 6, 1 / 12)[abs(row - y) + abs(column - x)]
                total, weights = total + weight * solution[b, :, row, column], weights + weight
        torch.testing.assert_close(solution[b, :, y, x], total / weights, atol=1e-4, rtol=0)


def test_noisy_linear_forgets_what_is_not_kept_and_adds_noise():
    image, keep = images(1, 3, 16, 16), torch.ones(1, 16, 16)
    keep[:, 4:10, 4:10] = 0
    changed = image + 100 * (1 - keep)
    filled = noisy_linear(image, keep, noise=0)
    torch.testing.assert_close(blend(changed, noisy_linear(changed, keep, noise=0), keep), blend(image, filled, keep))
    noisy = noisy_linear(image, keep, generator(), noise=0.1)
    added = (noisy - filled)[:, :, 4:10, 4:10]
    assert 0.08 < added.std() < 0.12
    assert torch.equal(noisy[:, :, :4], image[:, :, :4])
    nothing = noisy_linear(image, 0 * keep, noise=0)
    torch.testing.assert_close(nothing.mean((2, 3)), image.mean((2, 3)), atol=0.05, rtol=0)


def test_inpaint_with_nothing_kept_is_smooth_about_the_mean():
    image = images(1, 1, 16, 16) + 5
    filled = inpaint(image, torch.zeros(1, 16, 16))
    assert filled.isfinite().all()
    torch.testing.assert_close(filled, torch.full_like(filled, image.mean().item()), atol=0.1, rtol=0)


@given(st.floats(0, 1))
def test_blend_lies_between_its_images(share):
    image, other = images(1, 2, 3, 3), images(1, 2, 3, 3, seed=1)
    keep = torch.full((1, 3, 3), share)
    torch.testing.assert_close(blend(image, other, keep), share * image + (1 - share) * other)


@pytest.mark.parametrize("perturbation", PERTURBATIONS, ids=str)
def test_operators_are_called_alike(perturbation):
    image, keep = images(2, 3, 9, 8), torch.ones(2, 9, 8)
    original = image.clone()
    perturbed = perturbation(image, keep, generator())
    assert perturbed.shape == image.shape
    assert perturbed.dtype == image.dtype
    assert torch.equal(image, original)
    assert perturbation == copy.deepcopy(perturbation)
    for dtype in (torch.bfloat16, torch.float64):
        assert perturbation(image.to(dtype), keep.to(dtype), generator()).dtype == dtype


@pytest.mark.parametrize("perturbation", [Noise(), Shuffle()])
def test_random_operators_ask_for_a_generator(perturbation):
    with pytest.raises(InputError, match=r"random: pass generator="):
        perturbation(images(1, 1, 2, 2))


def test_inpaint_asks_for_what_is_kept():
    with pytest.raises(InputError, match="pass keep"):
        Inpaint()(images(1, 1, 2, 2))


@pytest.mark.parametrize("perturbation", [Blur(), MeanFill(), ZeroFill()], ids=str)
def test_operators_that_do_not_read_keep_give_the_same_with_and_without(perturbation):
    image = images(1, 3, 6, 6)
    assert not perturbation.reads_keep
    assert torch.equal(perturbation(image, torch.zeros(1, 6, 6)), perturbation(image))


def test_a_configuration_names_an_operator_and_its_settings():
    def chosen(fill: Perturbation) -> Perturbation:
        return fill

    arguments = ["--fill=lookright.perturb.Blur", "--fill.sigma=0.1"]
    assert auto_cli(chosen, args=arguments, as_positional=False) == Blur(sigma=0.1)
