"""The machine that a benchmark ran on."""

import platform
from pathlib import Path


def processor() -> str:
    """The processor's name, where the system tells it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    names = [line for line in lines if line.startswith("model name")]
    return names[0].split(": ")[1] if names else platform.machine()
