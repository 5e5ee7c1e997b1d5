"""Mounts: make, find, remove.

Owns the wording of mount failures and the parsing of mountinfo (proc(5)). Knows no storage driver.
"""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

from engine.errors import HostError
from engine.host import syscalls

UNMOUNT_TRIES = 20
UNMOUNT_PAUSE_S = 0.01


def mount(source: str, target: Path, fstype: str, flags: int = 0, data: str = "") -> None:
    """Mount ``source`` on ``target``; HostError names both."""
    try:
        syscalls.mount(source, str(target), fstype, flags, data)
    except OSError as error:
        raise HostError(f"mounting {fstype or 'bind'} {source} on {target}", error.strerror) from error


def bind(source: Path, target: Path, *, recursive: bool = False) -> None:
    """Bind ``source`` on ``target``, which must exist; propagation is private."""
    mount(str(source), target, "", syscalls.MS_BIND | (syscalls.MS_REC if recursive else 0))
    mount("none", target, "", syscalls.MS_PRIVATE | (syscalls.MS_REC if recursive else 0))


def unmount(target: Path, *, lazy: bool = True) -> bool:
    """Remove every mount on ``target``; True when there was one. EBUSY is retried, then detached if ``lazy``."""
    removed = False
    tries = 0
    while True:
        try:
            syscalls.umount2(str(target))
            removed = True
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOENT):
                return removed
            if error.errno != errno.EBUSY:
                raise HostError(f"unmounting {target}", error.strerror) from error
            tries += 1
            if tries < UNMOUNT_TRIES:
                time.sleep(UNMOUNT_PAUSE_S)
                continue
            if not lazy:
                raise HostError(f"unmounting {target}", error.strerror, remedy="see what uses it: fuser -vm") from error
            syscalls.umount2(str(target), syscalls.MNT_DETACH)
            removed = True


def points(below: Path | None = None) -> list[Path]:
    """Mount points of this mount namespace, deepest last; only those at or under ``below`` when given."""
    prefix = None if below is None else os.fsencode(below)
    found: list[Path] = []
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        point = _unescape(line.split(b" ", 5)[4])
        if prefix is None or point == prefix or point.startswith(prefix + b"/"):
            found.append(Path(os.fsdecode(point)))
    return found


def is_mount_point(path: Path) -> bool:
    """True when something is mounted exactly on ``path`` (binds on files included)."""
    return path in points(path)


def _unescape(field: bytes) -> bytes:
    for escape, plain in ((b"\\040", b" "), (b"\\011", b"\t"), (b"\\012", b"\n"), (b"\\134", b"\\")):
        field = field.replace(escape, plain)
    return field
