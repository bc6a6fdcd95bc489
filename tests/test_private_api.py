"""Every private name of another package that lookright uses, and what it is expected to do.

docs/decisions.md lists them. A test that fails here says which place in the source has to follow a new release.
"""

import contextlib
import importlib

import pytest
import torch
from torch import nn
from torch.autograd.graph import get_gradient_edge


def node(tensor):
    return get_gradient_edge(tensor).node


LEAF = torch.ones(2, 3, 4, requires_grad=True)
IMAGE = torch.ones(2, 3, 4, 4, requires_grad=True)


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("Addmm", lambda: nn.Linear(4, 2)(LEAF[0])),
        ("Mm", lambda: nn.Linear(4, 2, bias=False)(LEAF[0])),
        ("Bmm", lambda: LEAF.mT @ LEAF),
        ("Convolution", lambda: nn.Conv2d(3, 2, 1)(IMAGE)),
        ("ScaledDotProduct", lambda: nn.functional.scaled_dot_product_attention(LEAF, LEAF, LEAF)),
        ("Mean", lambda: LEAF.mean(1)),
        ("AdaptiveAvgPool2D", lambda: nn.AdaptiveAvgPool2d(2)(IMAGE)),
        ("Select", lambda: LEAF[:, 0]),
        ("Slice", lambda: LEAF[:, 1:]),
        ("View", lambda: LEAF.view(6, 4)),
        ("Permute", lambda: LEAF.permute(2, 0, 1)),
        ("Transpose", lambda: LEAF.mT),
        ("Clone", lambda: LEAF.clone()),
    ],
)
def test_names_of_operations(name, tensor):
    """classifier/search/path.py."""
    found = node(tensor())
    names = {found.name(), *(source.name() for source, _ in found.next_functions if source is not None)}
    assert any(one.startswith(name) and "Backward" in one for one in names), names


def test_a_mean_keeps_its_axes():
    """classifier/search/path.py."""
    mean = node(LEAF.mean(1, keepdim=True))
    assert mean._saved_keepdim is True
    assert tuple(mean._saved_dim) == (1,)


def test_a_softmax_keeps_its_result():
    """attribution/attention.py."""
    first, second = LEAF.softmax(2), LEAF.exp().softmax(2)
    assert node(first).name() == "SoftmaxBackward0"
    assert torch.equal(node(first)._saved_result, first)
    assert node(first)._sequence_nr() < node(second)._sequence_nr()


def test_transforms_are_known():
    """classifier/twice_differentiable.py."""
    seen = []

    def function(x):
        seen.append(torch._C._are_functorch_transforms_active())
        return x.sum()

    torch.func.grad(function)(torch.ones(2))
    function(torch.ones(2))
    assert seen == [True, False]


def test_values_are_flattened_and_put_together_again():
    """classifier/tap.py, classifier/search/trace.py."""
    from torch.utils._pytree import tree_flatten, tree_unflatten

    values = ((LEAF, None), {"key": [1, LEAF]})
    leaves, structure = tree_flatten(values)
    assert [leaf is LEAF for leaf in leaves] == [True, False, False, True]
    assert tree_unflatten(leaves, structure)[1]["key"][1] is LEAF


def test_a_module_s_own_dictionaries():
    """classifier/search/trace.py."""
    module = nn.BatchNorm2d(3)
    assert module._parameters["weight"] is module.weight
    assert module._buffers["running_mean"] is module.running_mean
    for hooks, register in {
        "_forward_hooks": module.register_forward_hook,
        "_forward_pre_hooks": module.register_forward_pre_hook,
        "_backward_hooks": module.register_full_backward_hook,
        "_backward_pre_hooks": module.register_full_backward_pre_hook,
    }.items():
        assert not getattr(module, hooks)
        register(lambda *_: None)
        assert len(getattr(module, hooks)) == 1


def test_compiled_modules_show_their_original():
    """classifier/eager.py, classifier/classifier.py."""
    module = nn.Linear(2, 2)
    assert module._compiled_call_impl is None
    assert torch.compile(module)._orig_mod is module
    module.compile()
    assert module._compiled_call_impl is not None


def test_replicas_of_data_parallel_are_marked():
    """classifier/classifier.py."""
    assert nn.Linear(2, 2)._replicate_for_data_parallel()._is_replica


@pytest.mark.parametrize(
    ("base", "modules"),
    [
        ("dropout._DropoutNd", [nn.Dropout, nn.Dropout2d]),
        ("batchnorm._BatchNorm", [nn.BatchNorm1d, nn.BatchNorm2d, nn.SyncBatchNorm]),
        ("pooling._AvgPoolNd", [nn.AvgPool2d]),
        ("pooling._MaxPoolNd", [nn.MaxPool2d]),
    ],
)
def test_bases_of_modules(base, modules):
    """classifier/, methods/sage.py, training/step.py."""
    file, _, name = base.partition(".")
    parent = getattr(importlib.import_module(f"torch.nn.modules.{file}"), name)
    assert all(issubclass(module, parent) for module in modules)


def test_gymnasium_checks_spaces_in_a_method():
    """rl/environments.py."""
    gymnasium = pytest.importorskip("gymnasium")
    checked = []

    class Vector(gymnasium.vector.AsyncVectorEnv):
        def _check_spaces(self):
            checked.append(True)
            return super()._check_spaces()

    with contextlib.closing(Vector([lambda: gymnasium.make("CartPole-v1")])):
        assert checked == [True]


def test_the_table_of_operations_counts_what_is_dispatched():
    """training/cost.py."""
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils.flop_counter import flop_registry

    class Seen(TorchDispatchMode):
        counted = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            if func._overloadpacket in flop_registry:
                self.counted += flop_registry[func._overloadpacket](*args, **(kwargs or {}), out_val=result)
            return result

    with Seen() as seen:
        torch.ones(2, 3) @ torch.ones(3, 5)
    assert seen.counted == 2 * 2 * 3 * 5
