import sys

import pytest
import torch

from lookright import InputError
from lookright.attribution import MAPS, input_gradient, integrated_gradients, occlusion, smooth_grad, start_of

REFERENCE = [name for name, map in MAPS.items() if start_of(map) == "model"]


@pytest.mark.parametrize("name", REFERENCE)
def test_without_captum_the_error_tells_what_to_install(name, pooled, image, target, monkeypatch):
    monkeypatch.setitem(sys.modules, "captum", None)
    with pytest.raises(InputError, match=r"pip install 'lookright\[captum\]'"):
        MAPS[name](pooled, pooled(image), target)


class TestWithCaptum:
    @pytest.fixture(autouse=True)
    def captum(self):
        pytest.importorskip("captum")

    def test_integrated_gradients_against_a_sum(self, flattened, image, target):
        map = integrated_gradients(flattened, flattened(image), target, steps=64, chunk_size=100)
        share = (torch.arange(400, dtype=torch.float64) + 0.5)[:, None, None, None, None] / 400
        points = (share * image).flatten(0, 1).requires_grad_()
        score = flattened(points).logits.gather(1, target.repeat(400)[:, None]).sum()
        gradient = torch.autograd.grad(score, points)[0].unflatten(0, (400, 3))
        expected = (gradient.mean(0) * image).sum(1)
        torch.testing.assert_close(map, expected, rtol=1e-4, atol=1e-6)

    def test_integrated_gradients_add_up_to_the_difference(self, vit, image, target):
        map = integrated_gradients(vit, vit(image), target, steps=64)
        logits = vit(image).logits - vit(torch.zeros_like(image)).logits
        torch.testing.assert_close(map.sum((1, 2)), logits.detach()[range(3), target], rtol=1e-3, atol=1e-4)

    def test_smooth_grad_without_noise_is_the_gradient(self, vit, image, target):
        expected = input_gradient(vit, vit(image.requires_grad_()), target).detach()
        torch.testing.assert_close(smooth_grad(vit, vit(image), target, samples=2, noise=1e-9), expected)

    def test_smooth_grad_is_the_mean_over_noise_of_the_image_s_range(self, flattened, image, target):
        """The same relative noise for images of different range, and a flat image bears it."""
        image = image * torch.tensor([1.0, 10.0, 0.0], dtype=torch.float64)[:, None, None, None]
        map = smooth_grad(
            flattened, flattened(image), target, samples=400, noise=0.1, channels="signed", chunk_size=300
        )
        span = image.amax((1, 2, 3), True) - image.amin((1, 2, 3), True)
        noise = torch.randn(400, *image.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
        noisy = (image + 0.1 * span * noise).flatten(0, 1).requires_grad_()
        score = flattened(noisy).logits.gather(1, target.repeat(400)[:, None]).sum()
        expected = torch.autograd.grad(score, noisy)[0].sum(1).unflatten(0, (400, 3)).mean(0)
        for number in range(3):
            error = (map[number] - expected[number]).norm() / expected[number].norm()
            assert error < 0.06

    def test_smooth_grad_repeats_itself(self, pooled, image, target):
        once = smooth_grad(pooled, pooled(image), target, samples=3)
        torch.rand(1)
        assert torch.equal(smooth_grad(pooled, pooled(image), target, samples=3), once)
        assert not torch.equal(smooth_grad(pooled, pooled(image), target, samples=3, seed=1), once)

    def test_occlusion_against_a_loop(self, classifier, image, target):
        map = occlusion(classifier, classifier(image), target, window=4, stride=2)
        for number in range(3):
            total, count = torch.zeros(8, 12, dtype=torch.float64), torch.zeros(8, 12)
            for row in range(0, 5, 2):
                for column in range(0, 9, 2):
                    hidden = image[number].clone()
                    hidden[:, row : row + 4, column : column + 4] = 0
                    logits = classifier(torch.stack([image[number], hidden])).logits[:, target[number]].detach()
                    total[row : row + 4, column : column + 4] += logits[0] - logits[1]
                    count[row : row + 4, column : column + 4] += 1
            torch.testing.assert_close(map[number], (total / count).to(map.dtype))

    @pytest.mark.parametrize(("window", "stride"), [(9, 2), (4, 5), (4, 0)])
    def test_occlusion_refuses_squares_that_do_not_fit(self, pooled, image, target, window, stride):
        with pytest.raises(InputError, match=f"window={window} and stride={stride}"):
            occlusion(pooled, pooled(image), target, window=window, stride=stride)

    @pytest.mark.parametrize("name", REFERENCE)
    def test_an_output_without_a_graph_will_do(self, name, vit, image, target):
        arguments = {"window": 4} if name == "occlusion" else {}
        if name == "occlusion":
            arguments["stride"] = 4
        expected = MAPS[name](vit, vit(image), target, **arguments)
        with torch.inference_mode():
            map = MAPS[name](vit, vit(image.clone()), target, **arguments)
        torch.testing.assert_close(map, expected)
