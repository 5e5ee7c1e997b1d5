"""What this host gives a container: limits, devices, the init program, the seccomp filter; read, never changed.

Owns the answers ``spec.plan`` needs. Everything that stays the same for the life of a process is read once.
"""

from __future__ import annotations

import os
import resource
import stat
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from engine.containers import capabilities, seccomp, security
from engine.containers.config import ContainerConfig
from engine.containers.spec import Device
from engine.errors import HostError, InvalidInput

INIT_PROGRAMS = (
    Path("/usr/bin/docker-init"),
    Path("/usr/libexec/docker/docker-init"),
    Path("/usr/bin/tini"),
    Path("/usr/bin/tini-static"),
    Path("/usr/bin/catatonit"),
    Path("/usr/libexec/podman/catatonit"),
    Path("/usr/libexec/catatonit/catatonit"),
)
# Made anew inside every container, or meaningless there.
_SKIPPED_DEVICES = {"pts", "shm", "fd", "mqueue", "console", "ptmx", ".lxc", ".lxd-mounts", ".udev"}


@lru_cache(maxsize=1)
def bounding_set() -> frozenset[str]:
    """The capabilities no container can exceed."""
    return capabilities.bounding_set()


@lru_cache(maxsize=1)
def hard_limits() -> Mapping[str, int]:
    """This process's hard rlimits by lower-case name, -1 unlimited; empty where they may be raised."""
    if "CAP_SYS_RESOURCE" in bounding_set():
        return {}
    return {
        name.removeprefix("RLIMIT_").lower(): resource.getrlimit(getattr(resource, name))[1]
        for name in dir(resource)
        if name.startswith("RLIMIT_")
    }


@lru_cache(maxsize=1)
def least_oom_score() -> int:
    """The lowest oom_score_adj a process here may be given."""
    if "CAP_SYS_RESOURCE" in bounding_set():
        return -1000
    return int(Path("/proc/self/oom_score_adj").read_text())


def init_program() -> Path:
    """The host's init for ``--init``; HostError names the packages when there is none."""
    for path in INIT_PROGRAMS:
        if os.access(path, os.X_OK):
            return path
    raise HostError(
        "finding an init program for --init",
        "neither tini, docker-init nor catatonit is installed",
        remedy="install the package tini or catatonit, or leave --init out",
    )


def devices(config: ContainerConfig) -> tuple[Device, ...]:
    """The nodes ``--device`` names, or every device of the host with ``--privileged``."""
    if config.privileged:
        return tuple(_walk(Path("/dev")))
    found: list[Device] = []
    for text in config.devices:
        parts = text.split(":")
        source, target, access = parts[0], parts[1] if len(parts) > 1 else parts[0], "rwm"
        if len(parts) == 3:
            access = parts[2]
        elif len(parts) == 2 and not target.startswith("/"):
            target, access = source, parts[1]
        if len(parts) > 3 or not access or set(access) - set("rwm") or not target.startswith("/"):
            raise InvalidInput(f"invalid device specification: {text}", remedy="use HOST[:INSIDE[:rwm]]")
        device = _node(Path(source), target, access)
        if device is not None:
            found.append(device)
            continue
        if not Path(source).is_dir():
            raise InvalidInput(
                f'error gathering device information while adding custom device "{source}": not a device node',
                remedy="ls -l shows which nodes the host has",
            )
        found += [
            Device(target + each.path[len(source) :], each.kind, each.major, each.minor, each.mode, 0, 0, access)
            for each in _walk(Path(source))
        ]
    return tuple(found)


def _walk(directory: Path) -> list[Device]:
    found: list[Device] = []
    try:
        entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
    except OSError:
        return found
    for entry in entries:
        if entry.name in _SKIPPED_DEVICES:
            continue
        if entry.is_dir(follow_symlinks=False):
            found += _walk(Path(entry.path))
        elif not entry.is_symlink():
            device = _node(Path(entry.path), entry.path, "rwm")
            if device is not None:
                found.append(device)
    return found


def _node(path: Path, target: str, access: str) -> Device | None:
    try:
        status = path.stat()
    except OSError:
        return None
    if not (stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode)):
        return None
    kind = "c" if stat.S_ISCHR(status.st_mode) else "b"
    major, minor = os.major(status.st_rdev), os.minor(status.st_rdev)
    return Device(target, kind, major, minor, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, access)


def seccomp_filter(config: ContainerConfig) -> seccomp.Filter | None:
    """The resolved filter of ``config``, None for unconfined and privileged containers.

    ``--security-opt seccomp=FILE`` is a docker-format profile of the operator's own.
    """
    chosen = security.parse(config.security_opt).seccomp
    if config.privileged or chosen == "unconfined":
        return None
    given = capabilities.resolve(config.cap_add, config.cap_drop)
    kept, _ = capabilities.cut(given, bounding_set())
    path = Path(chosen) if chosen else seccomp.profile_path()
    return _resolved(path, path.stat().st_mtime_ns if path.exists() else 0, frozenset(kept))


@lru_cache(maxsize=8)
def _resolved(path: Path, _: int, kept: frozenset[str]) -> seccomp.Filter:
    profile = seccomp.read_profile(path)
    return seccomp.Filter.of(
        seccomp.resolve(profile, kept, machine=os.uname().machine, kernel=seccomp.running_kernel())
    )
