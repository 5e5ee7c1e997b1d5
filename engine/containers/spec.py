"""A container's OCI runtime spec: docker's sandbox defaults plus what the config asks, as one JSON document.

Owns the plan only: ``plan`` is pure, everything it needs from the host comes in ``Surroundings``. Never mounts,
creates or looks anything up. Goldens compare it with what dockerd hands to its runtime.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.containers import capabilities, security
from engine.containers.accounts import Account
from engine.containers.config import DEFAULT_PATH, DEFAULT_SHM_SIZE, ContainerConfig, Ulimit, merge_environment
from engine.containers.mounts import Mount
from engine.errors import InvalidInput
from engine.values import dataclass, field

OCI_VERSION = "1.0.2"
INIT_TARGET = "/sbin/docker-init"
CPU_PERIOD_US = 100_000
MASKED_PATHS = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
)
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_QUIET = ["nosuid", "noexec", "nodev"]
# (allow, type, major, minor): docker's default device rules; the last one keeps fuse out.
_DEVICE_RULES = ((True, 1, 5), (True, 1, 3), (True, 1, 9), (True, 1, 8), (True, 5, 0), (True, 5, 1), (False, 10, 229))
# Only a network namespace of the container's own may have these (docker's defaults since 20.10).
_OWN_NETWORK_SYSCTLS = {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647"}


@dataclass(frozen=True)
class Device:
    """A device node of the host to be made inside at ``path``; ``kind`` is c or b, ``access`` of r, w, m."""

    path: str
    kind: str
    major: int
    minor: int
    mode: int = 0o666
    uid: int = 0
    gid: int = 0
    access: str = "rwm"


@dataclass(frozen=True)
class ResolvedMount:
    """A mount with its source on the host (unused for tmpfs)."""

    source: Path
    mount: Mount


@dataclass(frozen=True)
class Surroundings:
    """What the plan takes from the host.

    ``netns`` is the namespace's file, None for the host's own; ``own_network`` is true unless it is the host's or
    another container's. ``files`` maps /etc/resolv.conf and its like to their host files. ``bounding`` is the
    capability set nothing may exceed, ``hard_limits`` the rlimits (name to value, -1 unlimited) and
    ``least_oom_score`` the lowest score a process here may be given. ``seccomp`` is the resolved profile or None.
    """

    rootfs: Path
    cgroup: str
    account: Account
    hostname: str
    netns: Path | None = None
    own_network: bool = True
    files: Mapping[str, Path] = field(default_factory=dict)
    mounts: tuple[ResolvedMount, ...] = ()
    init: Path | None = None
    devices: tuple[Device, ...] = ()
    bounding: frozenset[str] = frozenset(capabilities.ALL)
    hard_limits: Mapping[str, int] = field(default_factory=dict)
    least_oom_score: int = -1000
    private_cgroup: bool = False
    seccomp: Mapping[str, Any] | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Spec:
    """The document for the runtime and what had to be cut, in words for the operator."""

    document: Mapping[str, Any]
    warnings: tuple[str, ...]


def plan(config: ContainerConfig, host: Surroundings) -> Spec:
    """The OCI spec of ``config`` in these ``host`` surroundings; InvalidInput for values no spec can carry."""
    warnings: list[str] = []
    document: dict[str, Any] = {
        "ociVersion": OCI_VERSION,
        "process": process(config, host, warnings),
        "root": {"path": str(host.rootfs), "readonly": config.read_only},
        "hostname": host.hostname,
        "mounts": _mounts(config, host),
        "linux": _linux(config, host),
    }
    if config.domainname:
        document["domainname"] = config.domainname
    if host.annotations:
        document["annotations"] = dict(host.annotations)
    return Spec(document, tuple(warnings))


def process(config: ContainerConfig, host: Surroundings, warnings: list[str]) -> dict[str, Any]:
    """The ``process`` object; also the base of what an exec runs as."""
    arguments = list(config.arguments)
    if host.init is not None:
        arguments = [INIT_TARGET, "--", *arguments]
    account = host.account
    result: dict[str, Any] = {
        "terminal": config.tty,
        "user": {
            "uid": account.uid,
            "gid": account.gid,
            "additionalGids": list(dict.fromkeys([account.gid, *account.groups])),
        },
        "args": arguments,
        "env": list(environment(config, host.hostname, account)),
        "cwd": config.working_dir or "/",
        "capabilities": _capabilities(config, host, warnings),
    }
    limits = [_rlimit(limit, host.hard_limits, warnings) for limit in config.ulimits]
    if limits:
        result["rlimits"] = limits
    if config.oom_score_adj:
        score = max(config.oom_score_adj, host.least_oom_score)
        if score != config.oom_score_adj:
            warnings.append(
                f"oom_score_adj {config.oom_score_adj} needs CAP_SYS_RESOURCE, which this host does not give: {score}"
            )
        result["oomScoreAdj"] = score
    if security.parse(config.security_opt).no_new_privileges:
        result["noNewPrivileges"] = True
    return result


def environment(config: ContainerConfig, hostname: str, account: Account) -> tuple[str, ...]:
    """The container's variables in docker's order: PATH, HOSTNAME, TERM, then image's and own; HOME if still unset."""
    base = [DEFAULT_PATH, f"HOSTNAME={hostname}", *(["TERM=xterm"] if config.tty else [])]
    merged = merge_environment(base, config.environment)
    if any(entry.startswith("HOME=") for entry in merged):
        return merged
    return (*merged, f"HOME={account.home}")


def _capabilities(config: ContainerConfig, host: Surroundings, warnings: list[str]) -> dict[str, list[str]]:
    wanted = capabilities.resolve(config.cap_add, config.cap_drop, privileged=config.privileged)
    kept, lost = capabilities.cut(wanted, host.bounding)
    # Capabilities newer than the kernel or the host are no news to --privileged; losing one asked for by name is.
    if lost:
        warnings.append(f"this host cannot give {', '.join(lost)}: left out")
    if host.account.uid != 0:
        # As dockerd: a user other than root keeps the bounding set only.
        return {"bounding": list(kept)}
    return {"bounding": list(kept), "effective": list(kept), "permitted": list(kept)}


def _rlimit(limit: Ulimit, hard_limits: Mapping[str, int], warnings: list[str]) -> dict[str, Any]:
    allowed = hard_limits.get(limit.name, -1)
    soft, hard = (_clamp(value, allowed) for value in (limit.soft, limit.hard))
    if (soft, hard) != (limit.soft, limit.hard):
        warnings.append(f"ulimit {limit.name} is above this host's hard limit: cut to {allowed}")
    return {"type": f"RLIMIT_{limit.name.upper()}", "soft": soft % 2**64, "hard": hard % 2**64}


def _clamp(value: int, allowed: int) -> int:
    if allowed < 0:
        return value
    return allowed if value < 0 else min(value, allowed)


def _mounts(config: ContainerConfig, host: Surroundings) -> list[dict[str, Any]]:
    access = "rw" if config.privileged else "ro"
    mounts = [
        _mount("/proc", "proc", "proc", _QUIET),
        _mount("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        _mount(
            "/dev/pts", "devpts", "devpts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]
        ),
        _mount("/sys", "sysfs", "sysfs", [*_QUIET, access]),
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", [access, *_QUIET]),
        _mount("/dev/mqueue", "mqueue", "mqueue", _QUIET),
        _mount("/dev/shm", "tmpfs", "shm", [*_QUIET, "mode=1777", f"size={config.shm_size or DEFAULT_SHM_SIZE}"]),
    ]
    own = [_own_mount(each) for each in sorted(host.mounts, key=lambda each: each.mount.target.count("/"))]
    if host.init is not None:
        own.insert(0, _mount(INIT_TARGET, "bind", str(host.init), ["bind", "ro"]))
    for target, source in host.files.items():
        options = ["rbind", "ro", "rprivate"] if config.read_only else ["rbind", "rprivate"]
        own.append(_mount(target, "bind", str(source), options))
    targets = {mount["destination"] for mount in own}
    if len(targets) != len(own):
        # A mount of the operator's own wins over the engine's file of the same name.
        asked = {each.mount.target for each in host.mounts}
        own = [
            mount for mount in own if mount["destination"] not in asked or mount["source"] not in _sources(host.files)
        ]
    return [mount for mount in mounts if mount["destination"] not in targets] + own


def _sources(files: Mapping[str, Path]) -> set[str]:
    return {str(path) for path in files.values()}


def _mount(destination: str, kind: str, source: str, options: list[str]) -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": source, "options": options}


def _own_mount(each: ResolvedMount) -> dict[str, Any]:
    mount = each.mount
    if mount.kind == "tmpfs":
        default = [word for word in ("noexec", "nosuid", "nodev") if word.removeprefix("no") not in mount.options]
        options = [*default, *(word for word in mount.options if word not in default), "rprivate"]
        return _mount(mount.target, "tmpfs", "tmpfs", options)
    options = ["rbind", *(["ro"] if mount.read_only else []), mount.propagation]
    return _mount(mount.target, "bind", str(each.source), options)


def _linux(config: ContainerConfig, host: Surroundings) -> dict[str, Any]:
    namespaces: list[dict[str, str]] = [{"type": kind} for kind in ("mount", "uts", "pid", "ipc")]
    if host.netns is not None:
        namespaces.insert(1, {"type": "network", "path": str(host.netns)})
    if host.private_cgroup and not config.privileged:
        namespaces.append({"type": "cgroup"})
    linux: dict[str, Any] = {
        "namespaces": namespaces,
        "cgroupsPath": host.cgroup,
        "resources": _resources(config, host),
        "maskedPaths": [] if config.privileged else list(MASKED_PATHS),
        "readonlyPaths": [] if config.privileged else list(READONLY_PATHS),
    }
    sysctls = {**(_OWN_NETWORK_SYSCTLS if host.own_network and host.netns is not None else {}), **config.sysctls}
    if sysctls:
        linux["sysctl"] = sysctls
    if host.devices:
        linux["devices"] = [
            {
                "path": device.path,
                "type": device.kind,
                "major": device.major,
                "minor": device.minor,
                "fileMode": device.mode,
                "uid": device.uid,
                "gid": device.gid,
            }
            for device in host.devices
        ]
    if host.seccomp is not None and not config.privileged:
        linux["seccomp"] = dict(host.seccomp)
    if any(each.mount.propagation in ("rshared", "shared") for each in host.mounts):
        linux["rootfsPropagation"] = "shared"
    elif any(each.mount.propagation in ("rslave", "slave") for each in host.mounts):
        linux["rootfsPropagation"] = "slave"
    return linux


def _resources(config: ContainerConfig, host: Surroundings) -> dict[str, Any]:
    resources: dict[str, Any] = {"devices": _device_rules(config, host)}
    if config.mem_limit:
        # As docker: swap is as large as memory unless --memory-swap says otherwise.
        swap = config.memory_swap or 2 * config.mem_limit
        if 0 < swap < config.mem_limit:
            raise InvalidInput(
                "Minimum memoryswap limit should be larger than memory limit, see usage",
                remedy="give --memory-swap the sum of memory and swap, or -1",
            )
        resources["memory"] = {"limit": config.mem_limit, "swap": swap}
    processor: dict[str, Any] = {}
    if config.cpu_shares:
        processor["shares"] = config.cpu_shares
    if config.nano_cpus:
        processor["quota"] = max(1000, config.nano_cpus * CPU_PERIOD_US // 1_000_000_000)
        processor["period"] = CPU_PERIOD_US
    if config.cpuset_cpus:
        processor["cpus"] = config.cpuset_cpus
    if processor:
        resources["cpu"] = processor
    if config.pids_limit > 0:
        resources["pids"] = {"limit": config.pids_limit}
    return resources


def _device_rules(config: ContainerConfig, host: Surroundings) -> list[dict[str, Any]]:
    if config.privileged:
        return [{"allow": True, "access": "rwm"}]
    rules: list[dict[str, Any]] = [{"allow": False, "access": "rwm"}]
    for allow, major, minor in _DEVICE_RULES:
        rules.append({"allow": allow, "type": "c", "major": major, "minor": minor, "access": "rwm"})
    for device in host.devices:
        rules.append(
            {
                "allow": True,
                "type": device.kind,
                "major": device.major,
                "minor": device.minor,
                "access": device.access,
            }
        )
    return rules
