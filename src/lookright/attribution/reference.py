"""Maps through captum, for evaluation only: they run the model many times, in eval mode, and carry no graph.

They are called like all other maps and explain `output.image`, on whose grid they lie. captum is imported on use:
`pip install 'lookright[captum]'`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType

import torch
from jaxtyping import Float
from torch import Tensor

from lookright.attribution.channels import Channels, over_channels
from lookright.attribution.precision import at_least_float32
from lookright.attribution.registry import registered, starts_from
from lookright.attribution.target import Target, direction
from lookright.classifier import Classifier, Output, evaluating
from lookright.errors import InputError


@registered
@starts_from("model")
def integrated_gradients(
    classifier: Classifier,
    output: Output,
    target: Target,
    channels: Channels = "signed",
    steps: int = 32,
    chunk_size: int = 64,
) -> Float[Tensor, "B H W"]:
    """A = (image − baseline) ⊙ ∫₀¹ ∂logit[target]/∂image along the straight way from the baseline, which is zero.

    Sundararajan et al., "Axiomatic Attribution for Deep Networks", ICML 2017, equation 1. Zero is the mean colour of a
    normalised image. Summed over the image it is the logit's difference from the baseline's.

    Args:
        classifier: gave the output.
        output: its `image` is explained.
        target: (B,) the class to explain, or (B, K) the weight of each logit.
        channels: how the channels of a pixel become one value: `absolute` Σ|·|, `signed` Σ, or `maximum` max|·|.
        steps: forwards and backwards per image (Gauss-Legendre quadrature).
        chunk_size: images per forward.

    Raises:
        InputError: if captum is not installed, or the output has no image.
    """
    with _evaluation(classifier, output, target) as (captum, forward, image, weight):
        attribution = captum.IntegratedGradients(forward).attribute(
            image,
            additional_forward_args=(weight,),
            n_steps=steps,
            internal_batch_size=max(chunk_size, len(image)),
        )
        return over_channels(at_least_float32(attribution), channels)


@registered
@starts_from("model")
def smooth_grad(
    classifier: Classifier,
    output: Output,
    target: Target,
    channels: Channels = "absolute",
    samples: int = 16,
    noise: float = 0.15,
    seed: int = 0,
    chunk_size: int = 64,
) -> Float[Tensor, "B H W"]:
    """The mean of ∂logit[target]/∂image over noisy copies of the image; then its channels are reduced.

    Smilkov et al., "SmoothGrad: removing noise by adding noise", 2017, arXiv:1706.03825.

    Args:
        classifier: gave the output.
        output: its `image` is explained.
        target: (B,) the class to explain, or (B, K) the weight of each logit.
        channels: how the channels of a pixel become one value: `absolute` Σ|·|, `signed` Σ, or `maximum` max|·|.
        samples: noisy copies of each image.
        noise: standard deviation of the Gaussian noise, as a share of each image's range of values. The paper
            suggests 0.1 to 0.2.
        seed: of the noise; the global random state is left as it was.
        chunk_size: images per forward.

    Raises:
        InputError: if captum is not installed, or the output has no image.
    """
    with _evaluation(classifier, output, target) as (captum, forward, image, weight), _seeded(seed, image.device):
        # captum's noise is the same for all images, so they are brought to the same range, and their gradients back.
        span = (image.amax((1, 2, 3), True) - image.amin((1, 2, 3), True)).clamp_min(torch.finfo(image.dtype).eps)
        gradient = captum.NoiseTunnel(
            captum.Saliency(lambda scaled, weight, span: forward(scaled * span, weight))
        ).attribute(
            image / span,
            nt_samples=samples,
            nt_samples_batch_size=max(1, chunk_size // len(image)),
            stdevs=noise,
            additional_forward_args=(weight, span),
            abs=False,
        )
        return over_channels(at_least_float32(gradient / span), channels)


@registered
@starts_from("model")
def occlusion(
    classifier: Classifier,
    output: Output,
    target: Target,
    window: int = 16,
    stride: int = 8,
    chunk_size: int = 64,
) -> Float[Tensor, "B H W"]:
    """How much logit[target] falls when a square around the pixel is zero, the mean over the squares that cover it.

    Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014, section 4.2. Zero is the mean
    colour of a normalised image.

    Args:
        classifier: gave the output.
        output: its `image` is explained.
        target: (B,) the class to explain, or (B, K) the weight of each logit.
        window: side of the square, in pixels.
        stride: step from one square to the next, in pixels; at most `window`, so that every pixel is covered.
        chunk_size: images per forward.

    Raises:
        InputError: if captum is not installed, the output has no image, or the squares do not fit.
    """
    with _evaluation(classifier, output, target) as (captum, forward, image, weight), torch.no_grad():
        if not 0 < stride <= window <= min(image.shape[2:]):
            raise InputError(
                f"occlusion got window={window} and stride={stride} for images of {tuple(image.shape[2:])}. "
                "Give 0 < stride <= window <= the image's shorter side."
            )
        attribution = captum.Occlusion(forward).attribute(
            image,
            sliding_window_shapes=(image.shape[1], window, window),
            strides=(image.shape[1], stride, stride),
            additional_forward_args=(weight,),
            perturbations_per_eval=max(1, chunk_size // len(image)),
        )
        return at_least_float32(attribution[:, 0])  # A square covers all channels: they have the same value.


@contextmanager
def _evaluation(
    classifier: Classifier, output: Output, target: Target
) -> Iterator[tuple[ModuleType, Callable[[Tensor, Tensor], Tensor], Tensor, Tensor]]:
    """captum, the score of an image and weights of its logits in eval mode, the images, and these weights.

    The images are on their own: captum changes requires_grad and .grad.
    """
    try:
        from captum import attr
    except ImportError as error:
        raise InputError(
            "This map comes from captum, which is not installed: pip install 'lookright[captum]'."
        ) from error
    if output.image is None:
        raise InputError("The output has no image to explain. Take the output of classifier(image).")
    with torch.inference_mode(False), torch.enable_grad(), evaluating(classifier):
        weight = direction(output, target).detach()
        yield (
            attr,
            lambda image, weight: (classifier(image).logits * weight).sum(1),
            output.image.detach().clone(),
            weight,
        )


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    with torch.random.fork_rng([] if device.type == "cpu" else [device], device_type=device.type):
        torch.manual_seed(seed)
        yield
