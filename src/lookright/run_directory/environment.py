"""What a run was made with."""

import platform
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch


def environment(packages: Iterable[str], gpu: bool) -> dict[str, Any]:
    """Versions, device and platform of this process.

    Args:
        packages: whose versions count, besides Python's.
        gpu: whether it computes on the GPU.

    >>> environment(["torch"], gpu=False)["versions"]["torch"] == version("torch")
    True
    """
    return {
        "versions": {"python": platform.python_version()} | {package: version(package) for package in packages},
        "device": torch.cuda.get_device_name() if gpu else f"{processor()}, threads: {torch.get_num_threads()}",
        "platform": platform.platform(),
    }


def processor() -> str:
    """The processor's name, where the system tells it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    names = [line for line in lines if line.startswith("model name")]
    return names[0].split(": ")[1] if names else platform.machine()
