"""The feed's source over the real engine: its answers turned into rows, cleaned of control codes.

Owns the translation and nothing else. Runs in the feed's sampler threads only; whatever it raises becomes words in the
title of the pane concerned.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tui import feed, wording
from tui.sanitize import plain

if TYPE_CHECKING:
    from engine.containers.summary import ContainerSummary
    from engine.engine import Engine
    from engine.firewall.observe import ObservedChain
    from engine.topology.graph import Port

LATEST_EVENTS = 200


def line(text: object) -> str:
    """Anything as one harmless line."""
    return plain(str(text), lines=False)


@lru_cache(maxsize=4096)
def seconds(moment: str) -> float:
    """An RFC 3339 time in seconds since the epoch; 0 for docker's zero time and for what is no time."""
    if not moment or moment.startswith("0001"):
        return 0.0
    head, dot, tail = moment.partition(".")
    zone = ""
    if dot:
        digits = len(tail) - len(tail.lstrip("0123456789"))
        zone, fraction = tail[digits:], tail[:digits][:6]
        head = f"{head}.{fraction.ljust(6, '0')}"
    text = (head + zone).replace("Z", "+00:00")
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0


class EngineSource:
    """Reads the engine; ``engine`` opens it on first use."""

    def __init__(self, engine: Callable[[], Engine]) -> None:
        self._engine = engine
        self._cpu: dict[str, tuple[float, int]] = {}
        self._readers: dict[str, Callable[[Engine, feed.Snapshot], Any]] = {
            feed.CONTAINERS: self._containers,
            feed.IMAGES: self._images,
            feed.NETWORKS: self._networks,
            feed.VOLUMES: self._volumes,
            feed.RULES: self._rules,
            feed.TOPOLOGY: self._topology,
            feed.SYSTEM: self._system,
        }

    def read(self, section: str, previous: feed.Snapshot) -> Any:
        """The rows of one section now."""
        return self._readers[section](self._engine(), previous)

    def close(self) -> None:
        """Nothing is held between two readings."""

    # containers

    def _containers(self, engine: Engine, previous: feed.Snapshot) -> tuple[feed.ContainerRow, ...]:
        summaries = engine.containers.summaries(all=True)
        names = {each.id: each.name for each in summaries}
        rows = tuple(self._container(engine, each, names) for each in summaries)
        alive = {row.id for row in rows if row.state == "running"}
        self._cpu = {id: figures for id, figures in self._cpu.items() if id in alive}
        return rows

    def _container(self, engine: Engine, summary: ContainerSummary, names: Mapping[str, str]) -> feed.ContainerRow:
        cpu, memory = self._usage(engine, summary.id) if summary.state in ("running", "paused") else (None, None)
        return feed.ContainerRow(
            id=summary.id,
            name=line(summary.name),
            image=line(summary.image).removesuffix(":latest"),
            command=line(summary.command),
            state=summary.state,
            exit_code=summary.exit_code,
            created=seconds(summary.created),
            started=seconds(summary.started_at),
            finished=seconds(summary.finished_at),
            ports=ports(summary.ports),
            network=line(network_mode(summary.network_mode, names)),
            address=summary.address,
            health="unhealthy"
            if "(unhealthy)" in summary.status
            else "healthy"
            if "(healthy)" in summary.status
            else "",
            pid=summary.pid,
            cpu=cpu,
            memory=memory,
        )

    def _usage(self, engine: Engine, id: str) -> tuple[float | None, int | None]:
        """Percent of one core since the last look, and bytes of memory, both rounded so that noise repaints nothing."""
        from engine.containers import usage

        used = usage.read(engine.config.cgroup_parent, id)
        now = time.monotonic()
        percent = None
        if used.cpu is not None:
            before = self._cpu.get(id)
            self._cpu[id] = (now, used.cpu)
            if before is not None and now > before[0]:
                percent = round(max(0.0, (used.cpu - before[1]) / (now - before[0]) / 1e7), 1)
        memory = used.memory - used.memory % 65_536 if used.memory is not None else None
        return percent, memory

    # images, networks, volumes

    def _images(self, engine: Engine, previous: feed.Snapshot) -> tuple[feed.ImageRow, ...]:
        used = Counter(row["image"] for row in engine.database.all("SELECT image FROM containers"))
        return tuple(
            feed.ImageRow(
                image.id,
                tuple(line(name).removesuffix(":latest") for name in image.names),
                image.size,
                seconds(image.created),
                used.get(image.id, 0),
            )
            for image in engine.images.list()
        )

    def _networks(self, engine: Engine, previous: feed.Snapshot) -> tuple[feed.NetworkRow, ...]:
        return tuple(
            feed.NetworkRow(
                network.id,
                line(network.name),
                network.driver,
                network.subnet,
                network.gateway,
                network.bridge,
                network.internal,
                len(engine.networks.endpoints(network.id)),
            )
            for network in engine.networks.list()
        )

    def _volumes(self, engine: Engine, previous: feed.Snapshot) -> tuple[feed.VolumeRow, ...]:
        names = {row["id"]: row["name"] for row in engine.database.all("SELECT id, name FROM containers")}
        users = engine.volumes.users()
        return tuple(
            feed.VolumeRow(
                line(volume.name),
                str(volume.mountpoint),
                seconds(volume.created),
                tuple(names.get(id, id[:12]) for id in users.get(volume.name, ())),
            )
            for volume in engine.volumes.list()
        )

    # the network

    def _rules(self, engine: Engine, previous: feed.Snapshot) -> tuple[feed.RuleRow, ...]:
        seen = engine.firewall.observe()
        if seen.troubles and not seen.chains:
            raise RuntimeError("; ".join(seen.troubles))
        return tuple(row for chain in seen.chains for row in chain_rows(chain))

    def _topology(self, engine: Engine, previous: feed.Snapshot) -> feed.Topology:
        graph = engine.topology.observe()
        return feed.Topology(
            tuple(
                feed.OutsideRow(
                    line(each.name), next(iter(each.addresses), ""), each.state, each.mtu,
                    _rounded(each.traffic.received_rate), _rounded(each.traffic.sent_rate),
                )
                for each in graph.outside
            ),
            tuple(
                feed.BridgeRow(
                    line(bridge.name), _first_ipv4(bridge.addresses), bridge.state, bridge.mtu, line(bridge.network),
                    tuple(port_row(port) for port in bridge.ports),
                )
                for bridge in graph.bridges
            ),
            tuple((line(each.name), each.mode) for each in graph.placed),
        )  # fmt: skip

    # the host

    def _system(self, engine: Engine, previous: feed.Snapshot) -> feed.System:
        import platform

        import psutil

        memory = psutil.virtual_memory()
        disk = psutil.disk_usage(str(engine.config.data_root))
        load = psutil.getloadavg()
        notice = engine.networks.notice()
        figures = [
            ("host", f"{platform.node()}  Linux {platform.release()}"),
            ("processors", f"{psutil.cpu_count()}  load {load[0]:.1f} {load[1]:.1f} {load[2]:.1f}"),
            ("memory", f"{wording.memory(memory.total - memory.available)} of {wording.memory(memory.total)} in use"),
            ("disk", f"{wording.size(disk.free)} free of {wording.size(disk.total)} at {engine.config.data_root}"),
            ("storage driver", engine.driver.name),
            ("firewall", engine.firewall.backend.name),
            ("runtime", engine.config.runtime),
            ("data root", str(engine.config.data_root)),
            ("run dir", str(engine.config.run_dir)),
        ]
        if notice:
            figures.append(("notice", line(notice)))
        last = engine.events.last()
        events = tuple(
            feed.EventRow(event.time, line(f"{event.type} {event.action} {_actor(event.actor, event.attributes)}"))
            for event in engine.events.since(max(0, last - LATEST_EVENTS))
        )
        return feed.System(platform.node(), tuple(figures), events)


def network_mode(mode: str, names: Mapping[str, str]) -> str:
    """The mode with the joined container's name instead of its id."""
    kind, colon, other = mode.partition(":")
    return f"{kind}:{names.get(other, other[:12])}" if colon else mode


def ports(docker: str) -> str:
    """docker's ports column in the console's form: ``0.0.0.0:17000->27017/tcp`` is ``17000→27017``.

    tcp, the unspecified address and an equal port inside go without saying; merely exposed ports are left out.
    """
    out: list[str] = []
    for part in docker.split(", "):
        left, arrow, right = part.partition("->")
        if not arrow:
            continue
        left = left.removeprefix("0.0.0.0:")
        if left.startswith(("[::]:", ":::")):
            continue
        same = left == right.partition("/")[0]
        out.append(right.removesuffix("/tcp") if same else f"{left}→{right.removesuffix('/tcp')}")
    return " ".join(out)


def chain_rows(chain: ObservedChain) -> list[feed.RuleRow]:
    """One chain: its policy as rule 0 where it has one, then its rules."""
    hook = chain.hook if chain.depth else ""
    rows = []
    if chain.policy:
        rows.append(
            feed.RuleRow(
                chain.backend, chain.table, chain.name, 0, "", chain.packets, chain.bytes, round(chain.packet_rate, 1),
                chain.policy.lower(), hook=hook,
            )
        )  # fmt: skip
    for rule in chain.rules:
        rows.append(
            feed.RuleRow(
                chain.backend, chain.table, chain.name, rule.number, line(rule.text), rule.packets, rule.bytes,
                round(rule.packet_rate, 1), rule.target.lower(), line(rule.meaning), line(rule.owner), hook, rule.ours,
            )
        )  # fmt: skip
    return rows


def port_row(port: Port) -> feed.PortRow:
    """One port of a bridge."""
    state = port.state if port.state != "up" or not port.inner_state else port.inner_state
    return feed.PortRow(
        line(port.name),
        port.index,
        state,
        port.mtu,
        line(port.container),
        port.container_id,
        port.container_status,
        _first_ipv4(port.addresses),
        tuple(
            feed.Published(
                each.host_port, each.container_port, each.protocol, "" if each.host_ip == "0.0.0.0" else each.host_ip
            )
            for each in port.published
        ),
        _rounded(port.traffic.received_rate),
        _rounded(port.traffic.sent_rate),
        port.traffic.dropped,
        tuple(line(name) for name in port.joined),
    )


def _first_ipv4(addresses: tuple[str, ...]) -> str:
    return next((each for each in addresses if ":" not in each), next(iter(addresses), ""))


def _rounded(rate: float) -> float:
    """A rate without the noise that would repaint a line every second: nothing below one byte a second."""
    return float(round(rate))


def _actor(actor: str, attributes: Any) -> str:
    name = attributes.get("name", "")
    code = attributes.get("exitCode", "")
    shown = name or actor.removeprefix("sha256:")[:12]
    return f"{shown} exit code {code}" if code else shown
