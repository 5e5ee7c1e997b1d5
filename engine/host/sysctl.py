"""Kernel settings below /proc/sys.

Owns reading and writing one setting. ``net.*`` settings are those of the calling *thread's* network namespace
(namespaces(7)); to reach a container's, call from inside ``netns.enter``.
"""

from __future__ import annotations

from pathlib import Path

from engine.errors import HostError

ROOT = Path("/proc/sys")


def path(*parts: str) -> Path:
    """The file of a setting; parts are kept apart because an interface name may hold a dot."""
    return ROOT.joinpath(*parts)


def read(*parts: str) -> str | None:
    """The setting's text without its newline, or None when this kernel does not have it."""
    try:
        return path(*parts).read_text().strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise HostError(f"reading sysctl {'.'.join(parts)}", error.strerror) from error


def write(*parts: str, value: str) -> bool:
    """Set it unless it has that value; True when it was changed. HostError when it cannot be set."""
    if read(*parts) == value:
        return False
    try:
        path(*parts).write_text(value)
    except OSError as error:
        raise HostError(
            f"setting sysctl {'.'.join(parts)} to {value}",
            error.strerror,
            remedy="see that /proc/sys is mounted writable here",
        ) from error
    return True


def write_if_present(*parts: str, value: str) -> bool:
    """Like ``write``, and False when this kernel does not have the setting (IPv6 compiled out, say)."""
    return path(*parts).exists() and write(*parts, value=value)
