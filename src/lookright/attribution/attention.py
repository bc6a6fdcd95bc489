"""The attention of every block of a ViT, read from the autograd graph.

Fused attention never makes the probabilities. A forward of an image that requires gradients runs the plain kernel
instead, and its softmax keeps its result for the backward pass. So the probabilities are in the graph already, on the
path to the logits, whichever library the model is from: no hook, no patched module.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.graph import Node, get_gradient_edge

from lookright.attribution.gradient import image_in_graph
from lookright.attribution.precision import at_least_float32
from lookright.classifier import Classifier, Output
from lookright.classifier.grid import Grid
from lookright.errors import InputError


def token_attention(classifier: Classifier, output: Output) -> list[Tensor]:
    """Each block's softmax(QKᵀ/√d), first block first, as it lies in the graph of the whole forward.

    Returns:
        (N, heads, tokens, tokens) or (N·heads, tokens, tokens) each, N the images of the forward. `per_image` brings
        them, and gradients with respect to them, into shape.

    Raises:
        InputError: if the output carries no graph from the image to the logits, or if the model is not one in which
            every block's attention is between all tokens.
    """
    image = image_in_graph(output)
    images = len(image)
    attention = [node._saved_result for node in _softmaxes(output.logits, image)]  # type: ignore[attr-defined]
    attention = [values for values in attention if values.ndim > 2]
    kind = type(classifier.model).__name__
    if not attention:
        raise InputError(
            f"No attention between tokens is found in {kind}. Take class_map or layer_cam, which fit any classifier. "
            "If the model does attend, let PyTorch's own functions compute the attention: an eager model, in Hugging "
            "Face with attn_implementation='sdpa' or 'eager'."
        )
    tokens, patches = attention[0].shape[-1], output.features[0, 0].numel()
    for values in attention:
        whole = len(values) == images if values.ndim == 4 else values.ndim == 3 and len(values) % images == 0
        if not whole or values.shape[-2:] != (tokens, tokens) or tokens < patches:
            raise InputError(
                f"{kind} has attention of shape {tuple(values.shape)} for {images} images and {patches} patches. This "
                "map follows attention between all tokens, the same in every block, as in ViT, DeiT and DINOv2. For "
                "windows (Swin, MaxViT), pooling or class attention take class_map, hires_cam or layer_cam."
            )
    return attention


def per_image(values: Tensor, output: Output) -> Float[Tensor, "B heads N N"]:
    """The part of the output's own images, in float32."""
    if values.ndim == 3:
        values = values.unflatten(0, (len((output.whole or output).logits), -1))
    return at_least_float32(values[output.start : output.start + len(output.logits)])


def identity(values: Tensor, output: Output) -> Float[Tensor, "B N N"]:
    """Before the first block, each token has itself."""
    tokens = values.shape[-1]
    eye = torch.eye(tokens, dtype=torch.promote_types(values.dtype, torch.float32), device=values.device)
    return eye.expand(len(output.logits), tokens, tokens)


def to_patches(
    flow: Float[Tensor, "B N N"], output: Output, last: Float[Tensor, "..."], grid: Grid
) -> Float[Tensor, "B h w"]:
    """The rows of the tokens that the head reads, averaged, as a map over the patches.

    Those are the tokens beside the patches whose row of the last attention the embedding depends on (a class token; in
    DeiT the distillation token, too) or, where it depends on none (average pooling), the patches.

    Args:
        flow: what each token (row) has from each token of the first block (column).
        output: tells the size of the grid.
        last: the attention of the last block, as `token_attention` gives it.
        grid: tells where the patches are among the tokens.
    """
    height, width = output.features.shape[2:]
    start = flow.shape[-1] - height * width if grid.size is None else grid.prefix
    patches = slice(start, start + height * width)
    weight = _read_tokens(output, last).to(flow.dtype)
    weight[patches] = 0
    weight[patches] = 1 - weight.amax()
    return torch.einsum("n,bnm->bm", weight / weight.sum(), flow)[:, patches].unflatten(1, (height, width))


def _read_tokens(output: Output, last: Tensor) -> Tensor:
    """(N,) whether the embedding depends on what a token takes from the last block."""
    embedding = output.embedding
    # Unequal weights: the plain sum of what a LayerNorm returns does not depend on its input.
    with torch.enable_grad():
        score = (embedding * torch.arange(1, embedding.shape[1] + 1, device=embedding.device)).sum()
    (gradient,) = torch.autograd.grad(score, last, retain_graph=True, allow_unused=True)
    if gradient is None:
        return last.new_zeros(last.shape[-1], dtype=torch.bool)
    return (gradient != 0).any(-1).flatten(0, -2).any(0)


def _softmaxes(logits: Tensor, image: Tensor) -> list[Node]:
    """The nodes between image and logits that computed a softmax, in the order of the forward."""
    seen = {get_gradient_edge(image).node}
    waiting = [get_gradient_edge(logits).node]
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting.extend(source for source, _ in node.next_functions if source is not None)
    found = [node for node in seen if node.name() in ("SoftmaxBackward0", "SafeSoftmaxBackward0")]
    return sorted(found, key=lambda node: node._sequence_nr())
