"""Kernel and records put together: which container stands behind which port of which bridge.

Pure: it asks nobody. What the records claim and the kernel does not have is not drawn as if it were there; what the
kernel has and nobody recorded is drawn as somebody else's.
"""

from __future__ import annotations

from collections.abc import Mapping

from engine.host.netlink.links import Counters, Link
from engine.topology.graph import (
    DOWN,
    NO_CARRIER,
    UP,
    Bridge,
    Graph,
    Outside,
    Placed,
    Port,
    Traffic,
)
from engine.topology.kernel import Kernel, Namespace
from engine.topology.records import ContainerRecord, Records

_EMPTY = Namespace()


def assemble(kernel: Kernel, records: Records, counters: Mapping[int, Counters], former: Graph, taken: float) -> Graph:
    """The graph at ``taken``; rates are those since ``former``. ``counters`` are by link index."""
    return _Assembly(kernel, records, counters, former, taken).graph()


class _Assembly:
    def __init__(
        self, kernel: Kernel, records: Records, counters: Mapping[int, Counters], former: Graph, taken: float
    ) -> None:
        self._kernel = kernel
        self._records = records
        self._counters = counters
        self._taken = taken
        self._elapsed = taken - former.taken
        self._former = {(port.index, port.name): port.traffic for _, port in former.ports()}
        self._former |= {(link.index, link.name): link.traffic for link in former.outside}
        self._former |= {(link.index, link.name): link.traffic for link in former.bridges}
        self._joined: dict[str, list[str]] = {}
        for container in records.containers.values():
            if container.mode.startswith("container:"):
                self._joined.setdefault(container.mode.partition(":")[2], []).append(container.name)

    def graph(self) -> Graph:
        """Everything, in a stable order: the engine's bridges first, links as they came into being."""
        links = sorted(self._kernel.host.links.values(), key=lambda link: link.index)
        bridges = [self._bridge(link, links) for link in links if link.kind == "bridge"]
        bridges.sort(key=lambda bridge: not bridge.network)
        outside = tuple(self._outside(link) for link in links if self._leads_out(link))
        shown = {link.index for link in outside}
        loose = tuple(
            self._port(link) for link in links if link.kind == "veth" and not link.master and link.index not in shown
        )
        drawn = {port.container_id for bridge in bridges for port in bridge.ports}
        drawn |= {port.container_id for port in loose}
        placed = tuple(
            Placed(each.id, each.name, each.status, self._mode(each))
            for each in self._records.containers.values()
            if each.id not in drawn
        )
        return Graph(self._taken, outside, tuple(bridges), loose, placed)

    def _leads_out(self, link: Link) -> bool:
        if link.index in self._kernel.gateways:
            return True
        if link.master or link.kind in ("bridge", "veth") or link.name == "lo":
            return False
        return link.up or link.index in self._kernel.host.addresses

    def _outside(self, link: Link) -> Outside:
        return Outside(
            link.index,
            link.name,
            link.kind,
            _state(link),
            link.mtu,
            link.mac,
            self._kernel.host.addresses.get(link.index, ()),
            link.index in self._kernel.gateways,
            self._kernel.gateways.get(link.index, ""),
            self._traffic(link),
        )

    def _bridge(self, link: Link, links: list[Link]) -> Bridge:
        network = self._records.networks.get(link.name)
        return Bridge(
            link.index,
            link.name,
            _state(link),
            link.mtu,
            link.mac,
            self._kernel.host.addresses.get(link.index, ()),
            network.name if network else "",
            bool(network and network.internal),
            tuple(self._port(each) for each in links if each.master == link.index),
            self._traffic(link),
        )

    def _port(self, link: Link) -> Port:
        nsid = link.peer_nsid
        inside = self._kernel.host if nsid is None else self._kernel.inner.get(nsid, _EMPTY)
        peer = inside.links.get(link.peer) if link.kind == "veth" else None
        container = self._records.containers.get(self._records.interfaces.get(link.name, ""))
        return Port(
            link.index,
            link.name,
            link.kind,
            _state(link),
            link.mtu,
            bool(link.port and link.port.hairpin),
            link.port.state if link.port else "",
            link.peer,
            peer.name if peer else "",
            _state(peer) if peer else "",
            peer.mtu if peer else 0,
            peer.mac if peer else "",
            inside.addresses.get(link.peer, ()) if peer else (),
            "" if nsid is None else self._kernel.names.get(nsid, f"namespace {nsid}"),
            container.id if container else "",
            container.name if container else "",
            container.status if container else "",
            tuple(self._joined.get(container.id, ())) if container else (),
            self._records.published.get(container.id, ()) if container else (),
            self._traffic(link, turned=link.kind == "veth"),
        )

    def _mode(self, container: ContainerRecord) -> str:
        """``container:ID`` with the name in place of the id."""
        owner = self._records.containers.get(container.mode.partition(":")[2])
        return f"container:{owner.name}" if owner else container.mode

    def _traffic(self, link: Link, *, turned: bool = False) -> Traffic:
        """Counters of a link; ``turned`` tells them from the other end of the pair."""
        counted = self._counters.get(link.index)
        if counted is None:
            return Traffic()
        inward, outward = (counted.rx_bytes, counted.rx_packets), (counted.tx_bytes, counted.tx_packets)
        if turned:
            inward, outward = outward, inward
        before = self._former.get((link.index, link.name))
        return Traffic(
            inward[0],
            outward[0],
            inward[1],
            outward[1],
            counted.rx_dropped + counted.tx_dropped,
            self._rate(inward[0], before.received) if before else 0.0,
            self._rate(outward[0], before.sent) if before else 0.0,
        )

    def _rate(self, now: int, before: int) -> float:
        return max(0, now - before) / self._elapsed if self._elapsed > 0 else 0.0


def _state(link: Link) -> str:
    if not link.up:
        return DOWN
    return UP if link.running else NO_CARRIER
