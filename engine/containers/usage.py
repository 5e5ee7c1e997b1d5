"""What a running container uses now: processor time and memory, read from its control group.

Owns the file names and the arithmetic of cgroup v1 (cpuacct, memory) and v2 (cpu.stat, memory.current), and docker's
rule that inactive file cache is no use of memory. Reads a handful of small files; keeps nothing.
"""

from __future__ import annotations

from pathlib import Path

from engine.host import cgroups
from engine.values import dataclass


@dataclass(frozen=True)
class Usage:
    """``cpu`` in nanoseconds since the container was started, ``memory`` in bytes; None where it cannot be told."""

    cpu: int | None = None
    memory: int | None = None


def read(parent: str, id: str) -> Usage:
    """The use of container ``id`` whose group is below ``parent``; empty when it does not run."""
    group = f"{parent.strip('/')}/{id}"
    layout = cgroups.layout()
    cpu_v1, memory_v1 = layout.v1.get("cpuacct"), layout.v1.get("memory")
    cpu = _number(cpu_v1 / group / "cpuacct.usage") if cpu_v1 else _cpu_v2(layout.v2, group)
    if memory_v1:
        used = _number(memory_v1 / group / "memory.usage_in_bytes")
        cache = _field(memory_v1 / group / "memory.stat", "total_inactive_file") if used else None
    elif layout.v2:
        used = _number(layout.v2 / group / "memory.current")
        cache = _field(layout.v2 / group / "memory.stat", "inactive_file") if used else None
    else:
        used = cache = None
    return Usage(cpu, max(0, used - (cache or 0)) if used is not None else None)


def _cpu_v2(root: Path | None, group: str) -> int | None:
    microseconds = _field(root / group / "cpu.stat", "usage_usec") if root else None
    return microseconds * 1000 if microseconds is not None else None


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _field(path: Path, name: str) -> int | None:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        key, _, value = line.partition(" ")
        if key == name and value.strip().isdigit():
            return int(value)
    return None
