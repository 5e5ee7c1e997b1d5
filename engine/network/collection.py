"""Networks: the engine's collection of them, and the door to a container's sandbox.

Owns looking up, listing and docker's JSON, and which network a container's mode means. The steps of making and taking
down a sandbox are in ``sandboxes``. Standard library only: the exit hook releases through it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.config import Config
from engine.errors import Conflict, InvalidInput, NotFound, Unsupported
from engine.firewall.model import BridgeSpec, PortMap
from engine.network import defaults, inspection, records
from engine.network.model import DEFAULT_BRIDGE, Endpoint, Network, Sandbox
from engine.network.ports import PublishedPort
from engine.network.sandboxes import DRIVERS, Sandboxes
from engine.state.database import Database
from engine.state.events import Events
from engine.state.journal import Journal
from engine.state.locks import Locks

if TYPE_CHECKING:
    from engine.firewall.firewall import Firewall

CONTAINER_MODE = "container:"
_NETWORK_OF_MODE = {"": DEFAULT_BRIDGE, "default": DEFAULT_BRIDGE}


class Networks:
    """The networks of one engine; safe to use from several threads and processes."""

    def __init__(
        self, config: Config, database: Database, locks: Locks, journal: Journal, events: Events, firewall: Firewall
    ) -> None:
        self._config = config
        self._database = database
        self._locks = locks
        self._sandboxes = Sandboxes(config, database, locks, journal, events, firewall)

    def register_recovery(self) -> None:
        """Tell the journal how abandoned network operations are dealt with."""
        self._sandboxes.register_recovery()

    def ensure_defaults(self) -> None:
        """The networks ``bridge``, ``host`` and ``none`` are known; nothing is made in the kernel yet."""
        defaults.ensure(self._config, self._database)

    def list(self) -> list[Network]:
        """All networks, in order of creation."""
        self.ensure_defaults()
        return records.networks(self._database)

    def get(self, name_or_id: str) -> Network:
        """The network of that name, id or unambiguous beginning of an id. NotFound in docker's words."""
        networks = self.list()
        for network in networks:
            if name_or_id in (network.name, network.id):
                return network
        found = [network for network in networks if name_or_id and network.id.startswith(name_or_id)]
        if len(found) == 1:
            return found[0]
        if found:
            raise Conflict(
                f"network {name_or_id} is ambiguous ({len(found)} matches found based on ID prefix)",
                remedy="give more digits of the id, or the name",
            )
        raise NotFound(f"network {name_or_id} not found", remedy="see which there are: pilothouse network ls")

    def inspect(self, name_or_id: str) -> dict[str, Any]:
        """``docker network inspect`` of one network."""
        network = self.get(name_or_id)
        return inspection.network_json(network, records.endpoints_on(self._database, network.id))

    def endpoints(self, name_or_id: str) -> tuple[Endpoint, ...]:
        """The endpoints attached to a network, oldest first."""
        return records.endpoints_on(self._database, self.get(name_or_id).id)

    def endpoints_of(self, container: str) -> tuple[Endpoint, ...]:
        """A running container's endpoints; none for a stopped one and for one in another's namespace."""
        return records.endpoints_of(self._database, container)

    def create(self, name: str, driver: str = "bridge", **options: object) -> Network:
        """Make a network of the user's own."""
        if driver not in DRIVERS:
            raise InvalidInput(f'could not find plugin "{driver}"', remedy=f"there are {', '.join(sorted(DRIVERS))}")
        raise Unsupported(
            f"cannot create network {name}: this version has the default networks only",
            remedy=f"use {DEFAULT_BRIDGE}, host, none or container:NAME",
        )

    def remove(self, name_or_id: str) -> None:
        """Remove a network; the default ones stay, as docker's."""
        network = self.get(name_or_id)
        raise InvalidInput(
            f"{network.name} is a pre-defined network and cannot be removed", remedy="it costs nothing while it is idle"
        )

    def connect(self, name_or_id: str, container: str) -> None:
        """Give a container a place on a further network."""
        self._refuse("connect", self.get(name_or_id), container)

    def disconnect(self, name_or_id: str, container: str) -> None:
        """Take a container off a network."""
        self._refuse("disconnect", self.get(name_or_id), container)

    def prepare(
        self,
        container_id: str,
        *,
        mode: str = DEFAULT_BRIDGE,
        name: str = "",
        published: Sequence[PublishedPort] = (),
        exposed: Sequence[str] = (),
        target: Path | None = None,
    ) -> Sandbox:
        """The network a container starts in, made afresh; all or nothing.

        ``mode`` is bridge, host, none or ``container:ID``; for the last ``target`` is the namespace of that container
        (``namespace_path`` of it, or ``/proc/PID/ns/net``), None when it lives in the host's. ``published`` counts
        on networks with addresses only, as in docker. Conflict when a port is taken or the pool is exhausted.
        """
        if mode.startswith(CONTAINER_MODE):
            return _joined(mode.removeprefix(CONTAINER_MODE), target)
        network = self._of_mode(mode)
        return self._sandboxes.prepare(container_id, network, name=name, published=published, exposed=exposed)

    def reassert(self, container_id: str, *, mode: str = DEFAULT_BRIDGE, target: Path | None = None) -> Sandbox:
        """The same sandbox again for a restart by policy: namespace and address kept, everything else made sure of.

        Conflict when another program took a published port meanwhile.
        """
        if mode.startswith(CONTAINER_MODE):
            return _joined(mode.removeprefix(CONTAINER_MODE), target)
        return self._sandboxes.reassert(container_id)

    def release(self, container_id: str) -> None:
        """Take a container's network away and free its address and ports. Idempotent; TeardownError names failures."""
        self._sandboxes.release(container_id)

    def settle(self) -> None:
        """Wait until the kernel has taken away what ``release`` left to it (the links, 20 ms); TeardownError if not."""
        self._sandboxes.settle()

    def namespace_path(self, container_id: str) -> Path:
        """Where the network namespace of a container is kept, ``ph-…`` for ``ip netns``."""
        return self._sandboxes.path(container_id)

    def settings(self, container_id: str, *, mode: str = DEFAULT_BRIDGE, exposed: Sequence[str] = ()) -> dict[str, Any]:
        """docker's ``NetworkSettings`` of a container, running or not."""
        endpoints = records.endpoints_of(self._database, container_id)
        networks = [] if mode.startswith(CONTAINER_MODE) else [self._of_mode(mode)]
        own = [endpoint for endpoint in endpoints if DRIVERS[endpoint.driver].has_namespace]
        key = str(self.namespace_path(container_id)) if own else "/proc/1/ns/net"
        declared = tuple(dict.fromkeys((*(port for each in endpoints for port in each.exposed), *exposed)))
        return inspection.settings_json(networks, endpoints, sandbox_key=key, exposed=declared)

    def ports(self, container_id: str) -> tuple[PortMap, ...]:
        """The published ports a container holds now."""
        return tuple(port for each in records.endpoints_of(self._database, container_id) for port in each.ports)

    def bridges(self) -> Sequence[BridgeSpec]:
        """What the firewall needs to know of every bridge that stands: for plans, drift and repair."""
        return records.bridges(self._database)

    def rules(self) -> Firewall:
        """The firewall under the chain names in use (``PILOT*`` where another engine has ``DOCKER*``)."""
        return self._sandboxes.rules(self._of_mode(DEFAULT_BRIDGE))

    def repair(self) -> bool:
        """Make the kernel's rules what they should be again; True when something was amiss."""
        return bool(self.rules().sync(self.bridges))

    def notice(self) -> str:
        """Why the default bridge is not where an operator expects it, in words; empty when it is."""
        return defaults.moved(self._config, self._of_mode(DEFAULT_BRIDGE))

    def _of_mode(self, mode: str) -> Network:
        name = _NETWORK_OF_MODE.get(mode, mode)
        network = records.network_named(self._database, name)
        if network is None:
            self.ensure_defaults()
            network = records.network_named(self._database, name)
        return network or self.get(name)

    def _refuse(self, verb: str, network: Network, container: str) -> None:
        raise Unsupported(
            f"cannot {verb} {container[:12]} and network {network.name}: this version has one network a container",
            remedy="choose the network when the container is created: --network",
        )


def _joined(owner: str, target: Path | None) -> Sandbox:
    """The namespace of another container, which stays that container's."""
    if target is not None and not target.exists():
        raise Conflict(f"cannot join network of a non running container: {owner}", remedy="start that container first")
    return Sandbox(target)
