"""What crosses the network package's boundary: networks, endpoints, sandboxes. Frozen data, no behaviour."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path

from engine.firewall.model import PortMap
from engine.values import dataclass, field

DEFAULT_BRIDGE = "bridge"
"""Name of the network of containers that ask for nothing else, as docker has it."""


@dataclass(frozen=True)
class Network:
    """One network.

    ``driver`` is bridge, host or null. For a bridge network ``bridge`` is the interface, ``subnet`` an IPv4 prefix
    (``172.17.0.0/16``), ``gateway`` the bridge's own address in it, ``mtu`` in bytes, ``chain_prefix`` the beginning
    of its firewall chains' names. ``internal`` is true if it has no way out. ``options`` and ``labels`` are docker's.
    """

    id: str
    name: str
    driver: str
    created: str
    bridge: str = ""
    subnet: str = ""
    gateway: str = ""
    mtu: int = 0
    internal: bool = False
    chain_prefix: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Endpoint:
    """A container's place on one network.

    ``address`` (no prefix), ``mac``, ``gateway`` and the interface names are empty on networks without addresses.
    ``interface`` is the name inside, ``host_interface`` the veth's outer end. ``exposed`` are ports the image or the
    user declared, ``80/tcp``; ``ports`` those that are published.
    """

    id: str
    network: str
    network_name: str
    driver: str
    container: str
    container_name: str = ""
    address: str = ""
    prefix: int = 0
    gateway: str = ""
    mac: str = ""
    interface: str = ""
    host_interface: str = ""
    exposed: tuple[str, ...] = ()
    ports: tuple[PortMap, ...] = ()


@dataclass(frozen=True)
class Sandbox:
    """The network a container starts in.

    ``netns`` is the file of its network namespace, None for the host's own. ``sockets`` hold its published ports
    (bound, not listening): hand them to conmon, then close them here.
    """

    netns: Path | None
    endpoints: tuple[Endpoint, ...] = ()
    sockets: tuple[socket.socket, ...] = ()

    def close(self) -> None:
        """Close this process's copies of the bound ports."""
        for each in self.sockets:
            each.close()
