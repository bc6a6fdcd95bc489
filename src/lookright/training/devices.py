"""The devices that a training asks for, and Fabric on them.

Several devices are as many processes: Fabric starts the command again for each further one, with LOCAL_RANK in its
environment. They share out every batch and end with the training; the first process alone writes, evaluates, goes on.
"""

import logging
import os
import sys
from typing import Any

import torch
from lightning.fabric import Fabric

from lookright.errors import InputError
from lookright.training.settings import MachineSettings, RunSettings

_has_trained_on_several = False

PRECISION: dict[str, Any] = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


def require_device(machine: MachineSettings, batch_size: int) -> None:
    """Refuse devices that this machine does not have, or that cannot share its batches.

    Raises:
        InputError: no such accelerator, fewer devices than asked for, a batch that they cannot share out alike, or a
            second training on several devices in one process.
    """
    if batch_size % machine.devices:
        raise InputError(
            f"batch_size = {batch_size} and devices = {machine.devices}; expected a multiple of the devices, so that "
            "each gets as many images of every batch."
        )
    if machine.devices > 1 and _has_trained_on_several:
        raise InputError(
            f"devices = {machine.devices}, and this process has trained on several devices before. Each further device "
            "runs the whole command from its beginning: start every such training as a command of its own."
        )
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


def rank() -> int:
    """The number of this process among those of a training; 0 is the first."""
    return int(os.environ.get("LOCAL_RANK", 0))


def end_further_processes(fabric: Fabric) -> None:
    """After a training on several devices one process is left, which waits for no other.

    Metrics would else be added up over processes that do not measure, and whatever follows be done several times.
    """
    global _has_trained_on_several
    if fabric.world_size == 1:
        return
    _has_trained_on_several = True
    fabric.barrier()
    torch.distributed.destroy_process_group()
    if not fabric.is_global_zero:
        sys.exit(0)
