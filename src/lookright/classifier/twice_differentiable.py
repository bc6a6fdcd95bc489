"""Attention and GELU that can be differentiated twice at little more memory than once."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import gelu, scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

ANY_KERNEL = [
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.MATH,
]
PARTS = 8
"""Into how many parts a batch is cut for the second derivative."""


@contextmanager
def twice_differentiable() -> Iterator[None]:
    """Within it, `scaled_dot_product_attention` has a second derivative, and GELU a cheaper one.

    Fused attention has none, and the plain kernel keeps about ten matrices of all pairs of tokens for it; that of GELU
    makes five copies of the widest activations. Here nothing but the inputs is kept. The derivatives are recomputed
    from them, the first by the fused kernel, the second for one part of the batch after the other. Attention with a
    mask, dropout or causality, that of `nn.MultiheadAttention`, and all under `torch.func`, takes the plain kernel.
    """
    with sdpa_kernel(SDPBackend.MATH), _Recomputing():
        yield


@contextmanager
def not_checkpointed(module: nn.Module) -> Iterator[None]:
    """Within it, activation checkpointing keeps what it would have dropped and recomputed.

    It would recompute without `twice_differentiable`, and find other tensors than it dropped.

    Args:
        module: what is called; layers of Hugging Face checkpoint themselves, those of timm are checkpointed from
            outside.
    """
    checkpoints_itself = getattr(module, "gradient_checkpointing", False)
    with ExitStack() as stack:
        if checkpoints_itself:
            stack.callback(setattr, module, "gradient_checkpointing", checkpoints_itself)
            setattr(module, "gradient_checkpointing", False)  # noqa: B010
        elif not torch._C._are_functorch_transforms_active():  # they refuse hooks on saved tensors
            stack.enter_context(torch.autograd.graph.saved_tensors_hooks(_itself, _itself))
        yield


def _itself(tensor: Tensor) -> Tensor:
    return tensor


class _Recomputing(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if torch._C._are_functorch_transforms_active():
            return func(*args, **kwargs)
        if func is gelu:
            return _recomputed_gelu(*args, **kwargs)
        if func is scaled_dot_product_attention:
            return _recomputed_attention(*args, **kwargs)
        return func(*args, **kwargs)


def _recomputed_gelu(input: Tensor, *, approximate: str = "none") -> Tensor:
    result: Tensor = _Recomputed.apply(partial(gelu, approximate=approximate), input)
    return result


def _recomputed_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    is_batch = query.ndim > 2 and query.shape[:-2] == key.shape[:-2] == value.shape[:-2]
    if attn_mask is not None or dropout_p or is_causal or not is_batch:
        return scaled_dot_product_attention(
            query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
        )
    device = query.device.type
    tensors = [query, key, value]
    if torch.is_autocast_enabled(device):  # The derivatives are recomputed where autocast is over.
        tensors = [tensor.to(torch.get_autocast_dtype(device)) for tensor in tensors]
    result: Tensor = _Recomputed.apply(partial(scaled_dot_product_attention, scale=scale), *tensors)
    return result


class _Recomputed(torch.autograd.Function):
    """A function of tensors whose first axis is the batch, image by image."""

    @staticmethod
    def forward(ctx: Any, function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        ctx.save_for_backward(*inputs)
        ctx.function = function
        with sdpa_kernel(ANY_KERNEL):
            return function(*inputs)

    @staticmethod
    def backward(ctx: Any, *gradient: Tensor) -> Any:
        return None, *_Derivative.apply(ctx.function, *gradient, *ctx.saved_tensors)


class _Derivative(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, function: Callable[..., Tensor], gradient: Tensor, *inputs: Tensor) -> Any:
        ctx.save_for_backward(gradient, *inputs)
        ctx.function = function
        with torch.enable_grad(), sdpa_kernel(ANY_KERNEL):
            leaves = _leaves(*inputs)
            return torch.autograd.grad(function(*leaves), leaves, gradient)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        results = [torch.empty_like(tensor) for tensor in ctx.saved_tensors]
        tensors = [tensor.chunk(PARTS) for tensor in (*results, *ctx.saved_tensors, *gradients)]
        for part in zip(*tensors, strict=True):
            outcome = _second_derivative(ctx.function, *part[len(results) :])
            for result, value in zip(part, outcome, strict=False):
                result.copy_(value)
        return None, *results


def _second_derivative(
    function: Callable[..., Tensor], gradient: Tensor, *inputs_and_gradients: Tensor
) -> tuple[Tensor, ...]:
    number = len(inputs_and_gradients) // 2
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        gradient, *inputs = _leaves(gradient, *inputs_and_gradients[:number])
        first = torch.autograd.grad(function(*inputs), inputs, gradient, create_graph=True)
        return torch.autograd.grad(first, [gradient, *inputs], inputs_and_gradients[number:])


def _leaves(*tensors: Tensor) -> list[Tensor]:
    return [tensor.detach().requires_grad_() for tensor in tensors]
