"""Two processes on the CPU train as one does on the joined batch."""

import multiprocessing
import socket
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from lookright import CAMAL, Classifier, InputError


class Network(nn.Module):
    """Batch normalisation in eval mode; `hidden` makes the class map a gradient."""

    def __init__(self, hidden: bool) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3, 2), nn.BatchNorm2d(6), nn.Softplus())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)) if hidden else nn.Linear(6, 3)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.pool(self.features(image)).flatten(1))


class Task(nn.Module):
    """The whole forward in one module, which is what DistributedDataParallel wants."""

    def __init__(self, hidden: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.classifier = Classifier(Network(hidden).double().eval(), input_size=(3, 9, 9))
        self.method = CAMAL()

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return self.method(self.classifier, batch).total


def batch() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        "image": torch.randn(8, 3, 9, 9, generator=generator, dtype=torch.float64),
        "label": torch.tensor([0, 1, 2, 0, 1, 2, 0, 1]),
        "mask": torch.rand(8, 9, 9, generator=generator, dtype=torch.float64).round(),
        "mask_weight": torch.tensor([1.0, 0, 0, 0, 1, 2, 0.5, 0], dtype=torch.float64),  # One mask here, three there.
    }


def work(rank: int, port: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    for hidden in (False, True):
        task = DistributedDataParallel(Task(hidden))
        task({key: value[4 * rank : 4 * rank + 4] for key, value in batch().items()}).backward()
        torch.save({name: p.grad for name, p in task.module.named_parameters()}, folder / f"{hidden}{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def gradients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of both processes, with one mask in one and three in the other."""
    folder = tmp_path_factory.mktemp("gradients")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("fork")  # A fresh interpreter would spend ten seconds on imports.
    processes = [context.Process(target=work, args=(rank, port, folder), daemon=True) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    return folder


@pytest.mark.parametrize("hidden", [False, True], ids=["cam", "grad_cam"])
def test_gradients_are_those_of_one_process_on_the_joined_batch(gradients, hidden):
    task = Task(hidden)
    assert task.classifier.cam_is_exact != hidden
    task(batch()).backward()
    for rank in range(2):
        found = torch.load(gradients / f"{hidden}{rank}.pt")
        for name, parameter in task.named_parameters():
            assert parameter.grad.abs().sum() > 0
            assert torch.allclose(found[name], parameter.grad, rtol=1e-9, atol=1e-12), name


def test_a_wrapped_model_is_refused():
    with pytest.raises(InputError, match=r"wrapped in DataParallel.*DistributedDataParallel\(Classifier\(model\)\)"):
        Classifier(DataParallel(Network(False)))


def test_replicas_of_data_parallel_are_refused():
    replica = Classifier(Network(False), input_size=(3, 9, 9))
    replica._is_replica = True  # What DataParallel marks its copies with.
    with pytest.raises(InputError, match="DataParallel runs a classifier in several threads"):
        replica(torch.zeros(1, 3, 9, 9))
