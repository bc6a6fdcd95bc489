"""No graph for the tokens of patches that the logits do not read."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, linear, multi_head_attention_forward, scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from lookright.classifier.grid import Grid

_TOKEN_BY_TOKEN = (linear, gelu, layer_norm)


class PatchesWithoutGraph(TorchFunctionMode):
    """Within it, attention and what follows it build a graph for the tokens beside the patches only.

    Where logits read the class token alone, the last block computes its other tokens for nobody. They keep their
    values here, but are not differentiated, which is most of what it costs to differentiate that block twice. Logits
    and all their derivatives stay the same, provided that `reads_patches` is false.

    Args:
        grid: the layout of the tokens.
        tokens: those that enter the block.
        poison: give NaN for the patches, to see whether the logits read them.

    Attributes:
        begun: whether an attention came.
    """

    def __init__(self, grid: Grid, tokens: Tensor, poison: bool = False) -> None:
        super().__init__()
        self.shape, self.axis = tokens.shape[:2], grid.axes.index("N")
        positions = torch.arange(tokens.shape[self.axis], device=tokens.device)
        assert grid.size is not None
        self.others = torch.cat([positions[: grid.prefix], positions[grid.prefix + math.prod(grid.size) :]])
        self.poison = poison
        self.begun = False

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self.shape[0] == self.shape[1]:  # It could not be seen which axis has the tokens.
            return func(*args, **kwargs)
        if func is scaled_dot_product_attention and self._is_between_tokens(*args, **kwargs):
            self.begun = True
            return self._apart(func, 2, *args, **kwargs)
        if func is multi_head_attention_forward:
            self.begun = True
        elif self.begun and func in _TOKEN_BY_TOKEN and args and args[0].ndim == 3 and args[0].shape[:2] == self.shape:
            return self._apart(func, self.axis, *args, **kwargs)
        return func(*args, **kwargs)

    def _is_between_tokens(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        **options: Any,
    ) -> bool:
        is_plain = attn_mask is None and not dropout_p and not is_causal
        return is_plain and query.ndim == 4 and {query.shape[0], query.shape[2]} == set(self.shape)

    def _apart(self, func: Any, axis: int, tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        # The others first: autocast keeps the weights that it casts, with the graph that they have then.
        others = func(tensor.index_select(axis, self.others), *args, **kwargs)
        with torch.no_grad():
            whole = func(tensor, *args, **kwargs)
            if self.poison:
                whole.fill_(math.nan)
        return whole.index_copy(axis, self.others, others)
