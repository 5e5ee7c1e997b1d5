"""What creating, starting, stopping or removing a container would do, in the order it would be done: ``--dry-run``.

Owns the description only. It reads state and the host's rules and changes neither; the rules come from the firewall's
own plan and the document from ``spec.plan``, so that what is shown is what would be carried out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.containers import accounts, exits, spec, surroundings
from engine.containers.config import ContainerConfig, merge
from engine.containers.files import TARGETS
from engine.containers.spec import ResolvedMount, Surroundings
from engine.errors import InvalidInput
from engine.firewall.model import BridgeSpec, EndpointSpec, PortMap
from engine.host import cgroups
from engine.network import ipam
from engine.network.model import DEFAULT_BRIDGE, Network
from engine.values import dataclass, replace

if TYPE_CHECKING:
    from engine.containers.record import Record
    from engine.engine import Engine

NEW = "NEW"
"""Stands for the id of a container that is not made."""

JOINED = "container:"


@dataclass(frozen=True)
class Preview:
    """``steps`` in words, ``rules`` as commands (empty: none change), ``document`` the OCI spec, where one is used."""

    title: str
    steps: tuple[str, ...]
    rules: str = ""
    document: Mapping[str, Any] | None = None
    warnings: tuple[str, ...] = ()

    def render(self) -> list[str]:
        """The preview as lines of text."""
        import json

        lines = [self.title, *(f"  {number}. {step}" for number, step in enumerate(self.steps, 1))]
        if self.rules:
            lines += ["firewall rules:", *(f"  {line}" for line in self.rules.rstrip("\n").split("\n"))]
        if self.document is not None:
            lines += ["OCI spec:", json.dumps(self.document, indent=2, ensure_ascii=False)]
        lines += [f"warning: {warning}" for warning in self.warnings]
        return [*lines, "nothing was done"]


def creation(engine: Engine, config: ContainerConfig, *, start: bool) -> Preview:
    """What ``create`` (and with ``start`` what ``run``) would do; refuses what they would refuse at once."""
    image = engine.images.get(config.image)
    config = merge(config, engine.images.config(image.id).config)
    steps = [
        f"take the name {config.name}" if config.name else "take a generated name",
        f"make a writable layer over image {image.short_id} ({', '.join(image.names) or 'no name'})",
        *_volume_steps(engine, config),
    ]
    if not start:
        return Preview("would create a container:", tuple(steps))
    more, rules = _network_steps(engine, config, NEW)
    document = _document(engine, config, NEW)
    steps += [*more, *_run_steps(engine, config)]
    return Preview("would create and start a container:", tuple(steps), rules, document.document, document.warnings)


def start(engine: Engine, record: Record) -> Preview:
    """What ``start`` would do."""
    if record.is_up:
        return Preview(f"would do nothing: container {record.name} is {record.status}", ())
    steps, rules = _network_steps(engine, record.config, record.id)
    document = _document(engine, record.config, record.id)
    return Preview(
        f"would start container {record.name} ({record.short_id}):",
        (*steps, *_run_steps(engine, record.config)),
        rules,
        document.document,
        document.warnings,
    )


def stop(engine: Engine, record: Record, timeout: int | None = None) -> Preview:
    """What ``stop`` would do."""
    if not record.is_up:
        return Preview(f"would do nothing: container {record.name} is {record.status}", ())
    config = record.config
    seconds = timeout if timeout is not None else config.stop_timeout if config.stop_timeout is not None else 10
    name = config.stop_signal or "SIGTERM"
    patience = "wait for its end" if seconds < 0 else f"wait {seconds} s for its end, then send SIGKILL"
    steps, rules = _release_steps(engine, record)
    remove = ["remove the container, as --rm asked"] if config.auto_remove else []
    return Preview(
        f"would stop container {record.name} ({record.short_id}):",
        (f"send {name} to process {record.pid}", patience, *steps, *remove),
        rules,
    )


def removal(engine: Engine, record: Record, *, force: bool, volumes: bool) -> Preview:
    """What ``rm`` would do."""
    steps: list[str] = []
    rules = ""
    if record.is_up:
        if not force:
            return Preview(f"would refuse: container {record.name} is {record.status} (stop it, or use -f)", ())
        steps.append(f"send SIGKILL to process {record.pid}")
        more, rules = _release_steps(engine, record)
        steps += more
    steps.append("remove its writable layer, its log and its row")
    anonymous = [mount.source for mount in record.config.binds if mount.kind == "volume" and mount.anonymous]
    if anonymous:
        done = "remove" if volumes else "keep (no -v)"
        steps.append(f"{done} its anonymous volumes: {', '.join(name[:12] for name in anonymous)}")
    return Preview(f"would remove container {record.name} ({record.short_id}):", tuple(steps), rules)


def _volume_steps(engine: Engine, config: ContainerConfig) -> list[str]:
    known = {volume.name for volume in engine.volumes.list()}
    return [
        f"make volume {mount.source or '(anonymous)'} and fill it with what the image has at {mount.target}"
        for mount in config.binds
        if mount.kind == "volume" and mount.source not in known
    ]


def _network_steps(engine: Engine, config: ContainerConfig, id: str) -> tuple[list[str], str]:
    mode = config.network_mode
    if mode.startswith(JOINED):
        return [f"join the network of container {mode.removeprefix(JOINED)[:12]}"], ""
    network = engine.networks.get(DEFAULT_BRIDGE if mode in ("", "default") else mode)
    if network.driver == "host":
        return ["use the host's network"], ""
    namespace = engine.networks.namespace_path(id)
    if network.driver != "bridge":
        return [f"make the network namespace {namespace}, with a loopback interface only"], ""
    taken = [endpoint.address for endpoint in engine.networks.endpoints(network.id)]
    address = ipam.lowest_free(ipam.parse_prefix(network.subnet), [network.gateway, *taken])
    if address is None:
        return [f"fail: network {network.name} ({network.subnet}) has no free address"], ""
    ports = tuple(
        PortMap(port.protocol, port.bind_address, port.host_port, port.container_port)
        for port in config.ports
        if port.host_port is not None and port.host_port_end is None
    )
    steps = [f"make the network namespace {namespace}"]
    bridges = list(engine.networks.bridges())
    if all(each.bridge != network.bridge for each in bridges):
        steps.append(f"make the bridge {network.bridge} with address {network.gateway} ({network.subnet})")
        bridges.append(BridgeSpec(network.bridge, network.subnet, network.gateway, internal=network.internal))
    steps.append(
        f"make a veth pair from {network.bridge} to eth0 inside: address {address}, "
        f"MAC {ipam.mac_of(address)}, default route {network.gateway}"
    )
    for port in config.ports:
        chosen = port.host_port if port.host_port_end is None else None
        where = f"{port.bind_address}:{chosen or '(a free port)'}"
        steps.append(f"hold {where}/{port.protocol} and lead it to {address}:{port.container_port}")
    return steps, _rules(engine, bridges, network, add=EndpointSpec(address, ports))


def _release_steps(engine: Engine, record: Record) -> tuple[list[str], str]:
    endpoints = engine.networks.endpoints_of(record.id)
    steps = []
    rules = ""
    for endpoint in endpoints:
        if endpoint.address:
            steps.append(f"remove the veth {endpoint.host_interface} and free the address {endpoint.address}")
            network = engine.networks.get(endpoint.network)
            rules = _rules(engine, list(engine.networks.bridges()), network, drop=endpoint.address)
    if endpoints and record.config.network_mode != "host":
        steps.append(f"remove the network namespace {engine.networks.namespace_path(record.id)}")
    return [*steps, "unmount its root file system"], rules


def _rules(
    engine: Engine,
    bridges: Sequence[BridgeSpec],
    network: Network,
    *,
    add: EndpointSpec | None = None,
    drop: str = "",
) -> str:
    """The firewall's plan for ``bridges`` with one endpoint of ``network`` more or fewer; empty for no change."""
    changed = [
        replace(
            each,
            endpoints=(
                *(endpoint for endpoint in each.endpoints if endpoint.address != drop),
                *((add,) if add is not None else ()),
            ),
        )
        if each.bridge == network.bridge
        else each
        for each in bridges
    ]
    plan = engine.networks.rules().plan(changed)
    return plan.render() if plan else ""


def _run_steps(engine: Engine, config: ContainerConfig) -> list[str]:
    import shlex

    mounts = [
        f"mount {mount.source or mount.kind} on {mount.target}" + (" (read only)" if mount.read_only else "")
        for mount in config.binds
    ]
    command = shlex.join(config.arguments)
    return [*mounts, f"start with conmon and {engine.config.runtime}: {command}"]


def _document(engine: Engine, config: ContainerConfig, id: str) -> spec.Spec:
    """The spec of a start; a user's name is shown as root where only the mounted image could tell its number."""
    mode = config.network_mode
    try:
        account = accounts.resolve(config.user, config.group_add, "", "")
    except InvalidInput:
        account = accounts.Account()
    directory = engine.config.data_root / "containers" / id
    return spec.plan(
        config,
        Surroundings(
            rootfs=engine.config.data_root / engine.driver.name / id / "merged",
            cgroup=exits.cgroup_of(engine, id),
            account=account,
            hostname=config.hostname or id[:12],
            netns=None if mode == "host" or mode.startswith(JOINED) else engine.networks.namespace_path(id),
            own_network=not mode.startswith(JOINED),
            files={target: directory / name for target, name in TARGETS.items()},
            mounts=tuple(ResolvedMount(_source(engine, mount.kind, mount.source), mount) for mount in config.binds),
            init=surroundings.init_program() if config.init else None,
            devices=surroundings.devices(config),
            bounding=surroundings.bounding_set(),
            hard_limits=surroundings.hard_limits(),
            least_oom_score=surroundings.least_oom_score(),
            private_cgroup=cgroups.layout().kind == "v2",
        ),
    )


def _source(engine: Engine, kind: str, source: str) -> Path:
    if kind == "volume":
        return engine.volumes.directory / (source or NEW) / "_data"
    return Path(source or "tmpfs")
