"""What passes the boundaries of a model's modules in one forward, seen on a copy without weights."""

import copy
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten

from lookright.classifier.eager import eagerly
from lookright.classifier.mode import own_randomness
from lookright.classifier.route import Site


@dataclass
class Trace:
    """One recorded forward.

    Attributes:
        image: the leaf of the graph.
        result: what the model returned.
        passed: every tensor at every site, in the order of time.
        calls: names of the modules in the order of their calls.
    """

    image: Tensor
    result: Any
    passed: list[tuple[Site, Tensor]]
    calls: list[str]


def weightless_copy(model: nn.Module) -> nn.Module:
    """The model on the meta device, in eval mode and without hooks."""

    def empty(value: Tensor) -> Tensor:
        tensor = torch.empty_like(value, device="meta", requires_grad=False)
        return nn.Parameter(tensor, value.is_floating_point()) if isinstance(value, nn.Parameter) else tensor

    return _copy(model, empty)


def shared_copy(model: nn.Module) -> nn.Module:
    """The model with the very tensors of the original, in eval mode and without hooks, to be run without a graph."""
    return _copy(model, lambda value: value)


def _copy(model: nn.Module, make: Callable[[Tensor], Tensor]) -> nn.Module:
    memo = {
        id(value): make(value)
        for module in model.modules()
        for value in (*vars(module).values(), *module._parameters.values(), *module._buffers.values())
        if isinstance(value, Tensor)
    }
    return _bare(copy.deepcopy(model, memo))


def full_copy(model: nn.Module) -> nn.Module:
    """The model with its weights, in eval mode and without hooks, for forwards that the meta device cannot run."""
    return _bare(copy.deepcopy(model)).requires_grad_()


def _bare(model: nn.Module) -> nn.Module:
    for module in model.modules():
        for hooks in (
            module._forward_hooks,
            module._forward_pre_hooks,
            module._backward_hooks,
            module._backward_pre_hooks,
        ):
            hooks.clear()
        module._compiled_call_impl = None
    return model.eval()


def record(model: nn.Module, image_shape: tuple[int, ...], forward: Callable[[Tensor], Any] | None = None) -> Trace:
    """Run a copy once and keep everything that passes between its modules."""
    parameter = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    with torch.enable_grad(), own_randomness(parameter.device), parameter.device:
        image = torch.randn(image_shape, dtype=parameter.dtype).requires_grad_()
        with _recording(model) as recorder, _FastMeta():
            result = (forward or model)(image)
    return Trace(image, result, recorder.passed, recorder.calls)


class _FastMeta(TorchFunctionMode):
    """Batch normalisation takes milliseconds on the meta device; another operation on each value has the same graph."""

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if func is functional.batch_norm and args[0].is_meta:
            return args[0].neg()
        return func(*args, **(kwargs or {}))


class _Recorder:
    """Keeps what passes the modules that its methods are hooks of."""

    def __init__(self) -> None:
        self.passed: list[tuple[Site, Tensor]] = []
        self.calls: list[str] = []
        self.finished: Counter[str] = Counter()

    def before(self, name: str, module: nn.Module, args: tuple, kwargs: dict) -> None:
        self.calls.append(name)
        self.keep(name, "input", (args, kwargs))

    def after(self, name: str, module: nn.Module, args: tuple, output: Any) -> None:
        self.keep(name, "output", output)
        self.finished[name] += 1

    def keep(self, name: str, side: Literal["input", "output"], values: Any) -> None:
        self.passed.extend(
            (Site(name, side, leaf, self.finished[name]), value)
            for leaf, value in enumerate(tree_flatten(values)[0])
            if isinstance(value, Tensor)
        )


@contextmanager
def _recording(model: nn.Module) -> Iterator[_Recorder]:
    recorder = _Recorder()
    handles = []
    for name, module in model.named_modules():
        if name:
            handles.append(module.register_forward_pre_hook(partial(recorder.before, name), with_kwargs=True))
            handles.append(module.register_forward_hook(partial(recorder.after, name)))
    try:
        with eagerly(model):
            yield recorder
    finally:
        for handle in handles:
            handle.remove()
