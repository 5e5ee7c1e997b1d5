"""What a container is asked to be: one frozen ``ContainerConfig``, its JSON, its merge with the image's configuration.

Owns docker-py's field names for a container and the rules by which image defaults and requests combine (docker's
``runconfig`` merge). Never looks at the host; nothing here changes after creation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from engine.containers.mounts import Mount, clean_target, parse_tmpfs, parse_volume
from engine.containers.quantities import (
    RestartPolicy,
    parse_cpus,
    parse_memory,
    parse_restart,
    parse_size,
)
from engine.errors import InvalidInput
from engine.values import MISSING, dataclass, field, fields, replace

if TYPE_CHECKING:
    from engine.images.config import RunConfig
    from engine.network.ports import PublishedPort

DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_SHM_SIZE = 64 * 1024 * 1024
NO_RESTART = RestartPolicy()

__all__ = ["ContainerConfig", "RestartPolicy", "parse_cpus", "parse_memory", "parse_restart", "parse_size"]


@dataclass(frozen=True)
class Ulimit:
    """One ``--ulimit``: ``name`` without RLIMIT_, lower case; -1 is unlimited."""

    name: str
    soft: int
    hard: int


@dataclass(frozen=True)
class ContainerConfig:
    """A container as requested, image defaults merged in.

    ``command`` and ``entrypoint`` are docker's Cmd and Entrypoint (None: not given). ``environment`` holds ``K=V``.
    ``mem_limit`` and ``memory_swap`` are bytes (swap: memory included, -1 no limit), ``nano_cpus`` billionths of a
    processor; 0 is no limit everywhere. ``exposed`` and ``ports`` keep docker's ``80/tcp``. ``network_mode`` is
    default, bridge, host, none or ``container:ID``. ``attach_stdio`` is true if a client was to be attached at start;
    ``stdin_once`` is true if stdin closes when that client leaves.
    """

    image: str
    command: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    name: str = ""
    environment: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    hostname: str = ""
    domainname: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    tty: bool = False
    stdin_open: bool = False
    stdin_once: bool = False
    attach_stdio: bool = False
    auto_remove: bool = False
    binds: tuple[Mount, ...] = ()
    volumes: tuple[str, ...] = ()
    ports: tuple[PublishedPort, ...] = ()
    exposed: tuple[str, ...] = ()
    network_mode: str = "default"
    restart_policy: RestartPolicy = NO_RESTART
    mem_limit: int = 0
    memory_swap: int = 0
    cpu_shares: int = 0
    nano_cpus: int = 0
    cpuset_cpus: str = ""
    pids_limit: int = 0
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    privileged: bool = False
    read_only: bool = False
    init: bool = False
    stop_signal: str = ""
    stop_timeout: int | None = None
    devices: tuple[str, ...] = ()
    group_add: tuple[str, ...] = ()
    shm_size: int = 0
    ulimits: tuple[Ulimit, ...] = ()
    oom_score_adj: int = 0
    sysctls: Mapping[str, str] = field(default_factory=dict)
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    extra_hosts: tuple[str, ...] = ()
    security_opt: tuple[str, ...] = ()
    healthcheck: Mapping[str, Any] | None = None
    shell: tuple[str, ...] | None = None

    @property
    def arguments(self) -> tuple[str, ...]:
        """The command line that runs: Entrypoint followed by Cmd."""
        return (self.entrypoint or ()) + (self.command or ())

    @property
    def anonymous_volumes(self) -> list[str]:
        """Names of the volumes that were made for this container alone and go with it."""
        return [mount.source for mount in self.binds if mount.kind == "volume" and mount.anonymous and mount.source]

    def to_json(self) -> dict[str, Any]:
        """A JSON object with the fields that differ from their defaults."""
        data: dict[str, Any] = {}
        for name, default in _DEFAULTS.items():
            value = getattr(self, name)
            if value != default:
                encode = _ENCODERS.get(name)
                data[name] = encode(value) if encode else value
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ContainerConfig:
        """The inverse of ``to_json``."""
        values: dict[str, Any] = {}
        for name, value in data.items():
            decode = _DECODERS.get(name)
            values[name] = decode(value) if decode else tuple(value) if isinstance(value, list) else value
        return cls(**values)


def request(image: str, command: str | Iterable[str] | None = None, **given: Any) -> ContainerConfig:
    """A config from docker-py's loose forms.

    Text where the command line has text (``mem_limit="64m"``, ``ports=["8080:80"]``, ``binds=["data:/d"]``,
    ``restart_policy="always"``, ``tmpfs=["/t:size=1m"]``), a mapping or ``K=V`` list as environment and labels; parsed
    values are taken as they are. InvalidInput names an unknown field.
    """
    import shlex

    if given.get("tmpfs"):
        texts = given["tmpfs"]
        entries = [f"{key}:{value}" for key, value in texts.items()] if isinstance(texts, Mapping) else list(texts)
        given["binds"] = [*(given.get("binds") or ()), *(parse_tmpfs(entry) for entry in entries)]
    given.pop("tmpfs", None)
    unknown = set(given) - set(_DEFAULTS)
    if unknown:
        raise InvalidInput(f"unknown container setting: {', '.join(sorted(unknown))}")
    values: dict[str, Any] = {}
    for name, value in given.items():
        if value is None and name not in ("command", "entrypoint", "healthcheck", "stop_timeout", "shell"):
            continue
        read = _READERS.get(name)
        values[name] = read(value) if read else tuple(value) if isinstance(value, list) else value
    if isinstance(values.get("entrypoint"), str):
        values["entrypoint"] = (values["entrypoint"],) if values["entrypoint"] else ()
    if command is not None:
        values["command"] = tuple(shlex.split(command)) if isinstance(command, str) else tuple(command)
    return ContainerConfig(image=image, **values)


def merge(config: ContainerConfig, image: RunConfig) -> ContainerConfig:
    """``config`` with the image's defaults where the request says nothing; InvalidInput when nothing would run."""
    command, entrypoint = config.command, config.entrypoint
    if entrypoint is None:
        entrypoint = tuple(image.entrypoint) if image.entrypoint else None
        if not command and image.cmd:
            command = tuple(image.cmd)
    entrypoint = entrypoint or None
    if not (entrypoint or ()) + (command or ()):
        raise InvalidInput("no command specified", remedy="give a command after the image, or build CMD into it")
    if config.working_dir and not config.working_dir.startswith("/"):
        raise InvalidInput(
            f"the working directory '{config.working_dir}' is invalid, it needs to be an absolute path",
            remedy="start it with /",
        )
    targets = {mount.target for mount in config.binds}
    repeated = len(targets) != len(config.binds)
    if repeated:
        seen: set[str] = set()
        for mount in config.binds:
            if mount.target in seen:
                raise InvalidInput(f"Duplicate mount point: {mount.target}", remedy="mount each path once")
            seen.add(mount.target)
    image_volumes = tuple(
        Mount("volume", "", clean_target(path, path), anonymous=True)
        for path in sorted(image.volumes or ())
        if clean_target(path, path) not in targets
    )
    return replace(
        config,
        command=command,
        entrypoint=entrypoint,
        environment=_over_image(config.environment, image.env),
        working_dir=config.working_dir or image.working_dir or "",
        user=config.user or image.user or "",
        labels={**(image.labels or {}), **config.labels},
        binds=config.binds + image_volumes,
        volumes=tuple(
            sorted({*config.volumes, *(image.volumes or ()), *(each.target for each in config.binds if each.anonymous)})
        ),
        exposed=tuple(sorted({*config.exposed, *(image.exposed_ports or ())})),
        stop_signal=config.stop_signal or image.stop_signal or "",
        healthcheck=config.healthcheck if config.healthcheck is not None else image.to_json().get("Healthcheck"),
        shell=tuple(image.shell) if image.shell else None,
    )


def _over_image(own: Iterable[str], image: Iterable[str]) -> tuple[str, ...]:
    """The request's variables, then those of the image it does not set, in docker's order; a bare ``K`` removes one."""
    names = {entry.partition("=")[0] for entry in own}
    rest = [entry for entry in image if entry.partition("=")[0] not in names]
    return merge_environment(own, rest)


def merge_environment(base: Iterable[str], over: Iterable[str]) -> tuple[str, ...]:
    """``K=V`` lists combined: later settings replace earlier ones in place, a bare ``K`` removes it."""
    values: dict[str, str | None] = {}
    for entry in (*base, *over):
        name, equals, value = entry.partition("=")
        values[name] = value if equals else None
    return tuple(f"{name}={value}" for name, value in values.items() if value is not None)


def _words(value: Any) -> tuple[str, ...]:
    if isinstance(value, Mapping):
        return tuple(f"{key}={item}" if item is not None else str(key) for key, item in value.items())
    return (value,) if isinstance(value, str) else tuple(value)


def _pairs(value: Any) -> dict[str, str]:
    if isinstance(value, Mapping):
        return {str(key): str(item) for key, item in value.items()}
    return dict(entry.partition("=")[::2] for entry in value)


def _mounts(value: Any) -> tuple[Mount, ...]:
    return tuple(item if isinstance(item, Mount) else parse_volume(item) for item in value)


def _ports(value: Any) -> tuple[PublishedPort, ...]:
    from engine.network.ports import parse_publish

    ports: list[PublishedPort] = []
    for item in value:
        ports.extend(parse_publish(item) if isinstance(item, str) else [item])
    return tuple(ports)


def _policy(value: Any) -> RestartPolicy:
    if isinstance(value, RestartPolicy):
        return value
    if isinstance(value, Mapping):
        count = int(value.get("MaximumRetryCount", 0))
        return parse_restart(f"{value.get('Name', 'no')}:{count}" if count else str(value.get("Name", "no")))
    return parse_restart(value)


def _number(parse: Any) -> Any:
    return lambda value: parse(value) if isinstance(value, str) else int(value)


def _port_json(ports: Iterable[PublishedPort]) -> list[list[Any]]:
    return [[port.host_ip, port.host_port, port.container_port, port.protocol, port.host_port_end] for port in ports]


def _port_objects(rows: Iterable[list[Any]]) -> tuple[PublishedPort, ...]:
    from engine.network.ports import PublishedPort

    return tuple(PublishedPort(*row) for row in rows)


_DEFAULTS: dict[str, Any] = {
    each.name: each.default_factory() if each.default_factory is not MISSING else each.default
    for each in fields(ContainerConfig)
}
_ENCODERS: dict[str, Any] = {
    "binds": lambda mounts: [mount.to_json() for mount in mounts],
    "ports": _port_json,
    "restart_policy": lambda policy: [policy.name, policy.max_retries],
    "ulimits": lambda limits: [[limit.name, limit.soft, limit.hard] for limit in limits],
    "labels": dict,
    "sysctls": dict,
}
_DECODERS: dict[str, Any] = {
    "binds": lambda rows: tuple(Mount.from_json(row) for row in rows),
    "ports": _port_objects,
    "restart_policy": lambda row: RestartPolicy(row[0], row[1]),
    "ulimits": lambda rows: tuple(Ulimit(*row) for row in rows),
}
_READERS: dict[str, Any] = {
    "environment": _words,
    "labels": _pairs,
    "sysctls": _pairs,
    "binds": _mounts,
    "ports": _ports,
    "restart_policy": _policy,
    "mem_limit": _number(parse_memory),
    "memory_swap": _number(parse_size),
    "shm_size": _number(parse_size),
    "nano_cpus": _number(parse_cpus),
    "group_add": _words,
    "cap_add": _words,
    "cap_drop": _words,
}
