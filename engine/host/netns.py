"""Network namespaces: make, remove, and run a function inside one.

Owns the bind-mounted files by which ``ip netns`` and the OCI runtime find a namespace. The calling thread never
leaves its own namespace: everything happens in a throw-away thread, so no later call can act on the wrong one. What a
function opens inside (sockets, netlink connections) must be closed there.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from engine.errors import HostError
from engine.host import syscalls

T = TypeVar("T")


def create(path: Path, prepare: Callable[[], None] | None = None) -> None:
    """Make a namespace and keep it at ``path``; ``prepare`` runs inside before it is visible there.

    HostError when ``path`` is taken; nothing is left behind on any failure.
    """
    _share_directory(path.parent)
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444))
    except OSError as error:
        raise HostError(f"creating network namespace {path}", error.strerror) from error

    def build() -> None:
        syscalls.unshare(syscalls.CLONE_NEWNET)
        if prepare is not None:
            prepare()
        syscalls.mount("/proc/thread-self/ns/net", str(path), "", syscalls.MS_BIND)

    try:
        in_thread(build)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise HostError(f"creating network namespace {path}", error.strerror) from error
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def remove(path: Path) -> bool:
    """Let go of the namespace kept at ``path``; False when there is none.

    The namespace itself lives on while a process or an open socket is in it.
    """
    try:
        syscalls.umount2(str(path), syscalls.MNT_DETACH)
    except FileNotFoundError:
        return False
    except OSError as error:
        # EINVAL: a file without a mount, as a crash between the two steps of create leaves it.
        if error.errno != errno.EINVAL:
            raise HostError(f"removing network namespace {path}", error.strerror) from error
    path.unlink(missing_ok=True)
    return True


def is_namespace(path: Path) -> bool:
    """True when ``path`` holds a network namespace, not a bare file or nothing at all."""
    try:
        # Files of nsfs all live on one device (proc(5), /proc/PID/ns).
        return path.stat().st_dev == Path("/proc/self/ns/net").stat().st_dev
    except FileNotFoundError:
        return False


def enter(path: Path, function: Callable[[], T]) -> T:
    """Run ``function`` in the namespace kept at ``path``; its result or its exception comes back."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise HostError(f"entering network namespace {path}", error.strerror) from error
    try:
        return enter_descriptor(descriptor, function)
    finally:
        os.close(descriptor)


def enter_descriptor(descriptor: int, function: Callable[[], T]) -> T:
    """Run ``function`` in the namespace behind an open descriptor."""

    def inside() -> T:
        try:
            syscalls.setns(descriptor, syscalls.CLONE_NEWNET)
        except OSError as error:
            raise HostError("entering a network namespace", error.strerror) from error
        return function()

    return in_thread(inside)


def in_thread(function: Callable[[], T]) -> T:
    """Run ``function`` in a thread of its own and wait; what the thread does to itself ends with it."""
    results: list[T] = []
    failures: list[BaseException] = []

    def target() -> None:
        try:
            results.append(function())
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=target, name="netns", daemon=True)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]


def _share_directory(directory: Path) -> None:
    """Make ``directory`` a shared mount of its own, as ``ip netns`` does.

    Without it a namespace removed here would live on in every mount namespace that was copied meanwhile.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o755)
        try:
            syscalls.mount("none", str(directory), "", syscalls.MS_SHARED | syscalls.MS_REC)
        except OSError as error:
            # EINVAL: not a mount point yet.
            if error.errno != errno.EINVAL:
                raise
            syscalls.mount(str(directory), str(directory), "", syscalls.MS_BIND | syscalls.MS_REC)
            syscalls.mount("none", str(directory), "", syscalls.MS_SHARED | syscalls.MS_REC)
    except OSError as error:
        raise HostError(f"sharing the mount {directory}", error.strerror) from error
