"""The devices that a training asks for, and Fabric on them."""

import logging
from typing import Any

import torch
from lightning.fabric import Fabric

from lookright.errors import InputError
from lookright.training.settings import MachineSettings, RunSettings

PRECISION: dict[str, Any] = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


def require_device(machine: MachineSettings) -> None:
    """Refuse devices that this machine does not have.

    Raises:
        InputError: no such accelerator, or fewer devices than asked for.
    """
    there = {"gpu": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(machine.accelerator, True):
        raise InputError(f"accelerator = {machine.accelerator!r}, which PyTorch does not find here. Use cpu or auto.")
    if machine.accelerator in ("auto", "gpu") and there["gpu"] and machine.devices > torch.cuda.device_count():
        raise InputError(
            f"devices = {machine.devices}, and PyTorch finds {torch.cuda.device_count()}. Lower --devices."
        )


def start_fabric(settings: RunSettings) -> Fabric:
    """Fabric, its processes launched."""
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    machine = settings.machine
    several = "ddp_find_unused_parameters_true" if "unused_parameters" in settings.method.needs else "ddp"
    fabric = Fabric(
        accelerator=machine.accelerator,
        devices=machine.devices,
        strategy=several if machine.devices > 1 else "auto",
        precision=PRECISION[machine.precision],
    )
    fabric.launch()
    return fabric
