"""The host's network as one picture: outside interfaces, bridges, their ports, the containers behind them.

Owns frozen data only. Everything in it was read from the kernel but what is marked as the engine's own record. The
traffic of a port is told from its container's side, that of any other link from the link's own.
"""

from __future__ import annotations

from engine.values import dataclass, field

UP = "up"
DOWN = "down"
NO_CARRIER = "no carrier"
"""States of a link: switched on with a carrier; switched off; on, but the other end is not."""


@dataclass(frozen=True)
class Traffic:
    """Totals since the link was made, in bytes and packets, and bytes per second since the observation before.

    ``dropped`` counts packets lost in both directions.
    """

    received: int = 0
    sent: int = 0
    received_packets: int = 0
    sent_packets: int = 0
    dropped: int = 0
    received_rate: float = 0.0
    sent_rate: float = 0.0


@dataclass(frozen=True)
class PublishedPort:
    """A port of the host that leads to a container (the engine's record). ``host_ip`` 0.0.0.0 is every address."""

    protocol: str
    host_ip: str
    host_port: int
    container_port: int


@dataclass(frozen=True)
class Outside:
    """An interface that leads out of the host.

    ``gateway`` is the next hop of a default route through it, ``default`` true if there is such a route.
    """

    index: int
    name: str
    kind: str
    state: str
    mtu: int
    mac: str
    addresses: tuple[str, ...] = ()
    default: bool = False
    gateway: str = ""
    traffic: Traffic = field(default_factory=Traffic)


@dataclass(frozen=True)
class Port:
    """One port of a bridge, and what is at its other end.

    ``name``, ``index``, ``state`` and ``mtu`` are those of the host's end; ``interface``, ``peer_index``, ``mac``,
    ``inner_state``, ``inner_mtu`` and ``addresses`` those of the end inside ``namespace`` (a name under which the
    namespace is known, empty when the other end is in the host itself). ``hairpin`` is true if frames may leave by
    this port when they came in by it. ``container_id`` and ``container`` are empty for what is not the engine's;
    ``joined`` names the containers that share its namespace.
    """

    index: int
    name: str
    kind: str
    state: str
    mtu: int
    hairpin: bool = False
    forwarding: str = ""
    peer_index: int = 0
    interface: str = ""
    inner_state: str = ""
    inner_mtu: int = 0
    mac: str = ""
    addresses: tuple[str, ...] = ()
    namespace: str = ""
    container_id: str = ""
    container: str = ""
    container_status: str = ""
    joined: tuple[str, ...] = ()
    published: tuple[PublishedPort, ...] = ()
    traffic: Traffic = field(default_factory=Traffic)

    @property
    def address(self) -> str:
        """Its first IPv4 address without the prefix, or empty."""
        return next((each.partition("/")[0] for each in self.addresses if ":" not in each), "")


@dataclass(frozen=True)
class Bridge:
    """One bridge. ``network`` is the engine's network on it, empty if the bridge is somebody else's."""

    index: int
    name: str
    state: str
    mtu: int
    mac: str
    addresses: tuple[str, ...] = ()
    network: str = ""
    internal: bool = False
    ports: tuple[Port, ...] = ()
    traffic: Traffic = field(default_factory=Traffic)


@dataclass(frozen=True)
class Placed:
    """A container of the engine that hangs on no bridge: ``mode`` is ``host``, ``none``, ``container:NAME`` …"""

    id: str
    name: str
    status: str
    mode: str


@dataclass(frozen=True)
class Graph:
    """Everything at one moment; ``taken`` is in seconds of the monotonic clock.

    ``loose`` are ends of veth pairs that are no port of a bridge and lead nowhere outside. ``placed`` are the running
    containers that no port belongs to; one among them of mode ``bridge`` has lost its link.
    """

    taken: float = 0.0
    outside: tuple[Outside, ...] = ()
    bridges: tuple[Bridge, ...] = ()
    loose: tuple[Port, ...] = ()
    placed: tuple[Placed, ...] = ()

    def bridge(self, name: str) -> Bridge | None:
        """The bridge of that name."""
        return next((bridge for bridge in self.bridges if bridge.name == name), None)

    def ports(self) -> tuple[tuple[Bridge | None, Port], ...]:
        """Every port with its bridge, the loose ones last."""
        attached = tuple((bridge, port) for bridge in self.bridges for port in bridge.ports)
        return attached + tuple((None, port) for port in self.loose)

    def of_container(self, name_or_id: str) -> tuple[tuple[Bridge | None, Port], ...]:
        """The ports of a container, also of one that shares the namespace of another."""
        return tuple(
            (bridge, port)
            for bridge, port in self.ports()
            if name_or_id in (port.container, port.container_id) or name_or_id in port.joined
        )
