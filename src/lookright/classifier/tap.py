"""One forward of a model during which tensors are read, and the features edited, by hooks that do not outlive it."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from lookright.classifier.trace import Site


@contextmanager
def tapped(model: nn.Module, taps: list[tuple[Site, Callable[[Tensor], Tensor]]]) -> Iterator[None]:
    """While it lasts, each tensor that passes one of the sites is replaced by what the function makes of it."""
    handles = [_tap(model.get_submodule(site.module), site, function) for site, function in taps]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _tap(module: nn.Module, site: Site, function: Callable[[Tensor], Tensor]) -> Any:
    calls = Counter[str]()

    def replaced(values: Any) -> Any:
        calls[site.module] += 1
        if calls[site.module] != site.call + 1:
            return None
        leaves, structure = tree_flatten(values)
        tensor = leaves[site.leaf]
        leaves[site.leaf] = function(tensor)
        return None if leaves[site.leaf] is tensor else tree_unflatten(leaves, structure)

    if site.side == "input":
        return module.register_forward_pre_hook(lambda _, args, kwargs: replaced((args, kwargs)), with_kwargs=True)
    return module.register_forward_hook(lambda _, args, output: replaced(output))
