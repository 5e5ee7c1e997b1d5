"""Linux capabilities: docker's default set, ``--cap-add`` and ``--cap-drop``, the cut to what this host can give.

Owns the list of names (capabilities(7)) and the arithmetic on it. ``bounding_set`` alone reads the kernel.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from engine.errors import InvalidInput

# In the kernel's numbering, from bit 0.
_ALL = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE "
    "NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT "
    "SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE "
    "AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ "
    "PERFMON BPF CHECKPOINT_RESTORE"
)
_DEFAULT = (
    "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT "
    "KILL AUDIT_WRITE"
)
ALL = tuple(f"CAP_{name}" for name in _ALL.split())
DEFAULT = tuple(f"CAP_{name}" for name in _DEFAULT.split())


def normalise(names: Sequence[str], flag: str) -> tuple[str, ...]:
    """Names in the form CAP_NAME; ``ALL`` stays; InvalidInput for one the kernel has not."""
    found = []
    for name in names:
        upper = name.upper()
        full = upper if upper == "ALL" or upper.startswith("CAP_") else "CAP_" + upper
        if full != "ALL" and full not in ALL:
            raise InvalidInput(
                f'invalid {flag}: unknown capability: "{full}"', remedy="man 7 capabilities lists their names"
            )
        found.append(full)
    return tuple(found)


def resolve(add: Sequence[str], drop: Sequence[str], *, privileged: bool = False) -> tuple[str, ...]:
    """The set docker gives: privileged is everything; ALL in add starts from everything, in drop from nothing."""
    if privileged:
        return ALL
    added, dropped = normalise(add, "CapAdd"), normalise(drop, "CapDrop")
    if "ALL" in added:
        return tuple(name for name in ALL if name not in dropped)
    base = () if "ALL" in dropped else tuple(name for name in DEFAULT if name not in dropped)
    return base + tuple(name for name in added if name not in base)


def cut(names: Sequence[str], allowed: Collection[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(names in ``allowed``, names left out): runtimes fail on a capability outside their bounding set."""
    kept = tuple(name for name in names if name in allowed)
    return kept, tuple(name for name in names if name not in allowed)


def bounding_set() -> frozenset[str]:
    """This process's bounding set (CapBnd of /proc/self/status)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapBnd:"):
            return names_of(int(line.split()[1], 16))
    return frozenset(ALL)


def names_of(mask: int) -> frozenset[str]:
    """The capabilities whose bits are set in ``mask``."""
    return frozenset(name for bit, name in enumerate(ALL) if mask >> bit & 1)
