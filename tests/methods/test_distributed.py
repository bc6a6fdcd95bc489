"""Two processes on the CPU train as one does on the joined batch, whichever of them has the masks."""

import copy
import functools
import multiprocessing
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from lookright import (
    ABN,
    CAMAL,
    CARE,
    CFT,
    CYBORG,
    EGAT,
    GALS,
    GRADIA,
    HAICS,
    MENTOR,
    R4,
    RRR,
    SAGE,
    Alternating,
    Classifier,
    DivisiveDecisions,
    EnergyGuidance,
    EntropyRegulariser,
    GradMask,
    GroupDRO,
    Harmonization,
    LabelledViews,
    LearningToLook,
    Method,
    SGDrop,
)


class Network(nn.Module):
    """Batch normalisation in eval mode; `hidden` makes the class map a gradient."""

    def __init__(self, hidden: bool) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3, 2), nn.BatchNorm2d(6), nn.Softplus())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)) if hidden else nn.Linear(6, 3)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.pool(self.features(image)).flatten(1))


@functools.cache
def classifier(hidden: bool) -> Classifier:
    torch.manual_seed(0)
    return Classifier(Network(hidden).double().eval(), input_size=(3, 9, 9))


def explaining() -> Method:
    """In the turn of the guidance."""
    method = Alternating(CAMAL() + RRR())
    method.step = 1
    return method


METHODS: dict[str, Callable[[], Method]] = {
    "ABN": lambda: ABN(supervision=1.0, plain=0.0, hidden=5),
    "Alternating": explaining,
    "Alternating, label": Alternating,
    "CAMAL": CAMAL,
    "CAMAL, grad_cam": CAMAL,
    "CARE": CARE,
    "CFT": lambda: CFT(map="class_map"),
    "CYBORG": CYBORG,
    "DivisiveDecisions": DivisiveDecisions,
    "EGAT": lambda: EGAT(regularisation=0),
    "EnergyGuidance": EnergyGuidance,
    "EntropyRegulariser": EntropyRegulariser,
    "GALS": GALS,
    "GRADIA": GRADIA,
    "GradMask": GradMask,
    "GroupDRO": lambda: GroupDRO(sizes=[3, 3, 2]),
    "HAICS": HAICS,
    "Harmonization": Harmonization,
    "LabelledViews": LabelledViews,
    "LearningToLook": LearningToLook,
    "MENTOR, first": lambda: MENTOR(hidden=8).first()[0],
    "R4": lambda: R4(steps=1),
    "RRR": RRR,
    "SAGE": SAGE,
    "SGDrop": SGDrop,
}


class Task(nn.Module):
    """The whole forward in one module, which is what DistributedDataParallel wants."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.classifier = copy.deepcopy(classifier("grad_cam" in name))
        self.method = METHODS[name]()
        self.method.attach(self.classifier)
        if name == "ABN":
            self.method.branch.eval()  # on CPUs BatchNorm normalises each process's share

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return self.method(self.classifier, batch).total


def batch() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        "image": torch.randn(8, 3, 9, 9, generator=generator, dtype=torch.float64),
        "label": torch.tensor([0, 1, 2, 0, 1, 2, 0, 1]),
        "group": torch.tensor([0, 1, 2, 0, 1, 2, 0, 1]),
        "mask": torch.rand(8, 9, 9, generator=generator, dtype=torch.float64).round(),
        "mask_weight": torch.tensor([1.0, 0, 0, 0, 1, 2, 0.5, 0], dtype=torch.float64),  # One mask here, three there.
    }


def work(rank: int, port: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    for name in METHODS:
        task = Task(name)
        parallel = DistributedDataParallel(task, find_unused_parameters="unused_parameters" in task.method.needs)
        parallel({key: value[4 * rank : 4 * rank + 4] for key, value in batch().items()}).backward()
        torch.save({key: p.grad for key, p in task.named_parameters()}, folder / f"{name}{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def gradients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of both processes, with one mask in one and three in the other."""
    for hidden in (False, True):
        classifier(hidden)  # once, for all processes
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


@pytest.mark.parametrize("name", METHODS)
def test_gradients_are_those_of_one_process_on_the_joined_batch(gradients, name):
    task = Task(name)
    assert task.classifier.cam_is_exact != ("grad_cam" in name)
    task(batch()).backward()
    for rank in range(2):
        found = torch.load(gradients / f"{name}{rank}.pt")
        for key, parameter in task.named_parameters():
            if parameter.grad is None:
                assert "unused_parameters" in task.method.needs
            else:
                assert torch.allclose(found[key], parameter.grad, rtol=1e-9, atol=1e-12), key
        assert found["classifier.model.features.0.weight"].any()
