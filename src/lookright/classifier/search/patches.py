"""Whether the logits read the tokens of patches after the last attention."""

from contextlib import ExitStack

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from lookright.classifier.grid import Grid
from lookright.classifier.logits import logits_of
from lookright.classifier.mode import own_randomness
from lookright.classifier.patches_without_graph import PatchesWithoutGraph
from lookright.classifier.route import Site
from lookright.classifier.search.trace import full_copy
from lookright.classifier.tap import tapped


def reads_patches(model: nn.Module, image_shape: tuple[int, ...], features: Site, grid: Grid) -> bool:
    """Whether it can be that `PatchesWithoutGraph` changes a derivative of the logits.

    A copy of the model runs in training and in eval mode, with NaN for all that would have no graph. NaN times zero is
    NaN, so that it shows in whatever is computed from it, also through a head whose weights are still zero.

    Args:
        model: neither run nor touched.
        image_shape: (C, H, W).
        features: where the tokens pass.
        grid: their layout.
    """
    parameter = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    if parameter.is_meta:
        return True
    with torch.inference_mode(False), torch.no_grad(), own_randomness(parameter.device), parameter.device:
        image = torch.randn(2, *image_shape, dtype=parameter.dtype)
        try:
            copy = full_copy(model)
            return any(_shows_patches(copy.train(mode), image, features, grid) for mode in (True, False))
        except Exception:  # A model that refuses NaN, say.
            return True


def _shows_patches(model: nn.Module, image: Tensor, features: Site, grid: Grid) -> bool:
    """Whether the patches are in what a model returns or keeps; true, too, where no attention came."""
    apart: list[PatchesWithoutGraph] = []
    with ExitStack() as stack:

        def poison(tokens: Tensor) -> Tensor:
            apart.append(stack.enter_context(PatchesWithoutGraph(grid, tokens, poison=True)))
            return tokens

        stack.enter_context(tapped(model, [(features, poison)]))
        result = model(image)
    kept = [vars(module) for module in model.modules()]
    tensors = [leaf for leaf in tree_leaves((result, logits_of(result), kept)) if isinstance(leaf, Tensor)]
    return not apart[0].begun or any(bool(tensor.isnan().any()) for tensor in tensors)
