"""One forward of a model during which tensors are read, and the features edited, by hooks that do not outlive it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook
from torch.utils._pytree import tree_flatten, tree_unflatten

from lookright.classifier.eager import eagerly
from lookright.classifier.route import Site


@contextmanager
def tapped(model: nn.Module, taps: list[tuple[Site, Callable[[Tensor], Tensor]]]) -> Iterator[None]:
    """While it lasts, each tensor that passes one of the sites is replaced by what the function makes of it."""
    handles = []
    for site, function in taps:
        module, tap = model.get_submodule(site.module), _Tap(site, function)
        if site.side == "input":
            handles.append(module.register_forward_pre_hook(tap.before, with_kwargs=True))
        else:
            handles.append(module.register_forward_hook(tap.after))
    try:
        with eagerly(model):
            yield
    finally:
        for handle in handles:
            handle.remove()


def has_hooks(model: nn.Module) -> bool:
    """Whether anybody is handed what passes a model's modules in a forward."""
    return _has_any_global_hook() or any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())


class _Tap:
    """Hooks for one site."""

    def __init__(self, site: Site, function: Callable[[Tensor], Tensor]) -> None:
        self.site = site
        self.function = function
        self.calls = 0

    def before(self, module: nn.Module, args: tuple, kwargs: dict) -> Any:
        return self.replaced((args, kwargs))

    def after(self, module: nn.Module, args: tuple, output: Any) -> Any:
        return self.replaced(output)

    def replaced(self, values: Any) -> Any:
        """The values with the site's tensor replaced; None, which hooks take for no change, if that changed nothing."""
        self.calls += 1
        if self.calls != self.site.call + 1:
            return None
        leaves, structure = tree_flatten(values)
        tensor = leaves[self.site.leaf]
        leaves[self.site.leaf] = self.function(tensor)
        return None if leaves[self.site.leaf] is tensor else tree_unflatten(leaves, structure)
