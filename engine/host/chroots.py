"""Being in a chroot: telling it, and making its directory the root of a mount namespace.

Owns the way out of a ``/`` that is no mount point, as a rescue system or a build root has. The kernel refuses to change
the propagation of such a ``/`` and to pivot away from it (mount(2), pivot_root(2)), so container runtimes fail there.
"""

from __future__ import annotations

import os
from pathlib import Path

from engine.errors import HostError
from engine.host import syscalls


def is_chroot() -> bool:
    """True where no mount begins at this process's ``/``."""
    with open("/proc/self/mountinfo", "rb") as table:
        return not any(line.split(b" ", 5)[4] == b"/" for line in table)


def enter_own_root() -> None:
    """Move this (single-threaded) process to a new mount namespace whose root is the directory that is ``/`` now.

    Nothing above that directory is left in the namespace, so nothing in it can get there. The working directory
    becomes ``/``. HostError tells which step the kernel refused.
    """
    step = "making a mount namespace"
    try:
        syscalls.unshare(syscalls.CLONE_NEWNS)
        here = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        own = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        step = "entering the root of the mount namespace"
        # Joining even one's own namespace puts one at its true root, which is a mount point.
        syscalls.setns(own, syscalls.CLONE_NEWNS)
        os.close(own)
        syscalls.mount("none", "/", "", syscalls.MS_REC | syscalls.MS_PRIVATE)
        directory = str(Path(f"/proc/self/fd/{here}").readlink())
        os.close(here)
        step = f"making {directory} a mount point"
        syscalls.mount(directory, directory, "", syscalls.MS_BIND | syscalls.MS_REC)
        os.chdir(directory)
        step = f"making {directory} the root"
        # The old root lands on top of the new one and is taken off there (pivot_root(2), "pivot_root(".", ".")").
        syscalls.pivot_root(".", ".")
        syscalls.umount2(".", syscalls.MNT_DETACH)
        os.chdir("/")
    except OSError as error:
        raise HostError(step, error.strerror, remedy="run it outside of this chroot") from error
