"""A container's network from start to exit: make it, assert it again after a restart, take it away.

Owns the order of the steps and their undoing. The rows are written first, so everything in the kernel has a row (and
a name derived from the container's id) by which it is found again after a crash: what is half-made is taken down from
them, by the same code that serves a normal exit. No transaction is open during any kernel work.

Steps of ``prepare``: bridge → rows (address, ports, journal) → bound ports → namespace and veth → rules → forwarding
and ``route_localnet`` → conntrack. Taking down goes backwards; addresses and ports are free again last.
"""

from __future__ import annotations

import os
import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from engine.config import Config
from engine.errors import Conflict, EngineError, HostError, TeardownError
from engine.firewall.firewall import Firewall
from engine.firewall.model import PortMap
from engine.host import netns, sysctl
from engine.host.netlink import conntrack, links
from engine.host.netlink.connection import Connection
from engine.network import defaults, ipam, ports, records, reservations
from engine.network.bridge import Bridge
from engine.network.driver import Driver
from engine.network.host import Host
from engine.network.model import DEFAULT_BRIDGE, Endpoint, Network, Sandbox
from engine.network.null import Null
from engine.network.ports import PublishedPort
from engine.state.database import Database
from engine.state.events import Events
from engine.state.journal import Entry, Intent, Journal
from engine.state.locks import Locks
from engine.values import replace

PREPARE = "network.prepare"
RELEASE = "network.release"

DRIVERS: dict[str, Driver] = {driver.name: driver for driver in (Bridge(), Host(), Null())}


class Sandboxes:
    """Networks of containers, of one engine."""

    def __init__(
        self, config: Config, database: Database, locks: Locks, journal: Journal, events: Events, firewall: Firewall
    ) -> None:
        self._config = config
        self._database = database
        self._locks = locks
        self._journal = journal
        self._events = events
        self._firewall = firewall
        self._removals: deque[_Background] = deque()

    def register_recovery(self) -> None:
        """A ``prepare`` or ``release`` that was killed half-way is taken down completely."""
        for operation in (PREPARE, RELEASE):
            self._journal.register(operation, self._recover)

    def rules(self, network: Network) -> Firewall:
        """The firewall under the chain names that go with ``network``."""
        network = defaults.evade(self._config, self._database, network)
        if network.chain_prefix in ("", self._config.chain_prefix):
            return self._firewall
        config = replace(self._config, chain_prefix=network.chain_prefix)
        return Firewall(config, self._database, self._locks)

    def path(self, container: str) -> Path:
        """The file of a container's network namespace; ``ip netns`` shows it under its last part."""
        return self._config.netns_dir / f"ph-{container[:12]}"

    def prepare(
        self,
        container: str,
        network: Network,
        *,
        name: str,
        published: Sequence[PublishedPort],
        exposed: Sequence[str],
    ) -> Sandbox:
        """A sandbox on ``network``; what an earlier start left behind is removed first. All or nothing."""
        driver = DRIVERS[network.driver]
        with self._locks.hold("container", container):
            if records.endpoints_of(self._database, container) or self.path(container).exists():
                errors = self._take_down(container)
                if errors:
                    raise TeardownError(f"what an earlier start of container {container[:12]} left behind", errors)
            network = self._stand(network, driver)
            wanted = tuple(published) if driver.has_addresses else ()
            endpoint, entry = self._reserve(container, network, driver, name, wanted, exposed)
            sockets: list[socket.socket] = []
            try:
                endpoint = self._bind(endpoint, wanted, sockets)
                self._connect(network, driver, endpoint)
                self._finish(entry, endpoint)
            except BaseException:
                for each in sockets:
                    each.close()
                # An entry stays in the journal when its undoing failed, and is tried again by the next engine.
                if not self._take_down(container):
                    self._journal.close(entry)
                raise
            return Sandbox(self.path(container) if driver.has_namespace else None, (endpoint,), tuple(sockets))

    def reassert(self, container: str) -> Sandbox:
        """The sandbox of a container that is started again by its restart policy: same namespace, address, ports."""
        with self._locks.hold("container", container):
            endpoints = records.endpoints_of(self._database, container, attached=True)
            if not endpoints:
                raise Conflict(
                    f"container {container[:12]} has no network to start in again",
                    remedy="start it afresh: pilothouse start",
                )
            networks = {network.id: network for network in records.networks(self._database)}
            sockets: list[socket.socket] = []
            try:
                for endpoint in endpoints:
                    driver = DRIVERS[endpoint.driver]
                    network = self._stand(networks[endpoint.network], driver)
                    for port in endpoint.ports:
                        sockets.append(self._bound(endpoint, port))
                    self._connect(network, driver, endpoint)
            except BaseException:
                for each in sockets:
                    each.close()
                raise
            namespace = all(DRIVERS[endpoint.driver].has_namespace for endpoint in endpoints)
            return Sandbox(self.path(container) if namespace else None, endpoints, tuple(sockets))

    def release(self, container: str) -> None:
        """Take a container's network away; nothing happens when it has none. TeardownError names all that failed."""
        with self._locks.hold("container", container):
            if not records.endpoints_of(self._database, container) and not self.path(container).exists():
                return
            with self._database.transaction() as connection:
                entry = self._journal.open(RELEASE, "container", container, {"container": container})
                connection.execute("UPDATE endpoints SET attached=0 WHERE container=?", (container,))
            errors = self._take_down(container, entry)
            if errors:
                raise TeardownError(f"the network of container {container[:12]}", errors)

    def settle(self) -> None:
        """Wait until everything that is being taken away beside us is gone. TeardownError names what failed."""
        errors: list[BaseException] = []
        while self._removals:
            try:
                self._removals.popleft().wait()
            except (EngineError, OSError) as error:
                errors.append(error)
        if errors:
            raise TeardownError("network interfaces", errors)

    def _recover(self, intent: Intent) -> None:
        errors = self._take_down(str(intent["container"]))
        if errors:
            raise TeardownError(f"the network of container {str(intent['container'])[:12]}", errors)

    def _stand(self, network: Network, driver: Driver) -> Network:
        """The network's own kernel objects, made or completed."""
        if not driver.has_addresses:
            return network
        with self._locks.hold("network", network.id):
            if network.name == DEFAULT_BRIDGE:
                before, network = network, defaults.settle(self._config, self._database, network)
                if before.bridge == self._config.bridge != network.bridge:
                    self._firewall.abandon(before.bridge)
            driver.validate(network)
            attached = records.endpoints_on(self._database, network.id)
            records.save_state(self._database, network.id, driver.setup(network, attached))
        return network

    def _reserve(
        self,
        container: str,
        network: Network,
        driver: Driver,
        name: str,
        published: Sequence[PublishedPort],
        exposed: Sequence[str],
    ) -> tuple[Endpoint, Entry]:
        """The rows, in one transaction: address, ports, and the journal's entry that undoes the rest."""
        endpoint = Endpoint(
            os.urandom(32).hex(),
            network.id,
            network.name,
            network.driver,
            container,
            name or container[:12],
            exposed=tuple(exposed),
        )
        ephemeral = reservations.ephemeral_range() if published else reservations.FALLBACK_RANGE
        with self._database.transaction() as connection:
            entry = self._journal.open(PREPARE, "container", container, {"container": container})
            if driver.has_addresses:
                address = ipam.reserve_address(connection, network.id, network.subnet, network.gateway)
                owners = records.interface_owners(connection)
                endpoint = replace(
                    endpoint,
                    address=address,
                    prefix=ipam.parse_prefix(network.subnet).length,
                    gateway="" if network.internal else network.gateway,
                    mac=ipam.mac_of(address),
                    interface="eth0",
                    host_interface=_outer_name(container, owners),
                )
            records.insert_endpoint(connection, endpoint)
            try:
                held = tuple(reservations.reserve(connection, container, each, ephemeral) for each in published)
            except Conflict as error:
                raise _programming_failed(endpoint, error) from error
        return replace(endpoint, ports=held), entry

    def _bind(self, endpoint: Endpoint, published: Sequence[PublishedPort], sockets: list[socket.socket]) -> Endpoint:
        """Bind every published port into ``sockets``; where the engine may choose, a taken one is replaced."""
        held = []
        for request, port in zip(published, endpoint.ports, strict=True):
            fixed = request.host_port is not None and request.host_port_end is None
            unusable: set[int] = set()
            while True:
                try:
                    sockets.append(ports.bind(port))
                    break
                except (Conflict, HostError) as error:
                    if fixed or not isinstance(error, Conflict):
                        raise _programming_failed(endpoint, error) from error
                unusable.add(port.host_port)
                with self._database.transaction() as connection:
                    reservations.withdraw(connection, port)
                    try:
                        port = reservations.reserve(
                            connection, endpoint.container, request, reservations.ephemeral_range(), unusable
                        )
                    except Conflict as error:
                        raise _programming_failed(endpoint, error) from error
            held.append(port)
        return replace(endpoint, ports=tuple(held))

    def _bound(self, endpoint: Endpoint, port: PortMap) -> socket.socket:
        try:
            return ports.bind(port)
        except (Conflict, HostError) as error:
            raise _programming_failed(endpoint, error) from error

    def _connect(self, network: Network, driver: Driver, endpoint: Endpoint) -> None:
        """Namespace, links, rules, and what may only be opened behind the rules; completes what is there."""
        # Links and rules do not need each other: the kernel works on the one while iptables reads the other.
        join = _Background(lambda: self._join(network, driver, endpoint))
        try:
            if driver.has_addresses:
                # docker's rule: the policy is ours to tighten only if it was us who made this host a router.
                forward_drop = sysctl.read("net", "ipv4", "ip_forward") == "0"
                self.rules(network).sync(lambda: records.bridges(self._database), forward_drop=forward_drop)
                driver.activate(network)
        finally:
            join.wait()
        udp = [port for port in endpoint.ports if port.protocol == "udp"]
        if udp:
            # A client that kept sending while nobody listened has a flow without NAT, good for as long as it sends.
            conntrack.flush_address(endpoint.address)
        for port in udp:
            conntrack.flush_port(port.protocol, port.host_ip, port.host_port)

    def _join(self, network: Network, driver: Driver, endpoint: Endpoint) -> None:
        """The namespace and the endpoint's links."""
        path = self.path(endpoint.container)
        if driver.has_namespace:
            if not netns.is_namespace(path):
                netns.remove(path)
                netns.create(path, _furnish)
            driver.attach(network, endpoint, path)

    def _finish(self, entry: Entry, endpoint: Endpoint) -> None:
        with self._database.transaction():
            self._journal.close(entry)
            self._emit("connect", endpoint)

    def _take_down(self, container: str, entry: Entry | None = None) -> list[BaseException]:
        """Remove everything a container's network consists of, whatever of it is there; all that failed.

        Rows go last and only when nothing failed, so that a later call finds what is left.
        """
        endpoints = records.endpoints_of(self._database, container)
        self._database.execute("UPDATE endpoints SET attached=0 WHERE container=? AND attached=1", (container,))
        errors: list[BaseException] = []

        def attempt(step: Callable[[], object]) -> None:
            try:
                step()
            except (EngineError, OSError) as error:
                errors.append(error)

        while self._removals and self._removals[0].done:
            attempt(self._removals.popleft().wait)
        flows: list[str] = []
        for endpoint in endpoints:
            attempt(lambda endpoint=endpoint: self._detach(endpoint, flows))  # type: ignore[misc]
        addressed = [endpoint for endpoint in endpoints if endpoint.address]
        if addressed:
            networks = {network.id: network for network in records.networks(self._database)}
            rules = self.rules(networks[addressed[0].network])
            attempt(lambda: rules.sync(lambda: records.bridges(self._database)))
        for address in flows:
            attempt(lambda address=address: conntrack.flush_address(address))  # type: ignore[misc]
        attempt(lambda: netns.remove(self.path(container)))
        if not errors:
            with self._database.transaction() as connection:
                connection.execute("DELETE FROM endpoints WHERE container=?", (container,))
                connection.execute("DELETE FROM port_reservations WHERE container=?", (container,))
                for endpoint in endpoints:
                    self._emit("disconnect", endpoint)
                if entry is not None:
                    self._journal.close(entry)
        return errors

    def _detach(self, endpoint: Endpoint, flows: list[str]) -> None:
        """Cut an endpoint off; its address joins ``flows`` if some may be tracked. Nobody waits for the slow rest."""
        detached = DRIVERS[endpoint.driver].detach(endpoint)
        if detached.rest is not None:
            self._removals.append(_Background(detached.rest))
        if not detached.silent:
            flows.append(endpoint.address)

    def _emit(self, action: str, endpoint: Endpoint) -> None:
        attributes = {"container": endpoint.container, "name": endpoint.network_name, "type": endpoint.driver}
        self._events.emit("network", action, endpoint.network, attributes)


class _Background:
    """A step that runs beside the others; ``wait`` joins it and lets its error out."""

    def __init__(self, function: Callable[[], None]) -> None:
        self._errors: list[BaseException] = []
        self._function = function
        self._thread = threading.Thread(target=self._run, name="network")
        self._thread.start()

    def _run(self) -> None:
        try:
            self._function()
        except BaseException as error:
            self._errors.append(error)

    @property
    def done(self) -> bool:
        return not self._thread.is_alive()

    def wait(self) -> None:
        self._thread.join()
        if self._errors:
            raise self._errors[0]


def _furnish() -> None:
    """Inside a new namespace: loopback on, IPv6 off for every interface that comes, as docker has it."""
    for scope in ("all", "default"):
        sysctl.write_if_present("net", "ipv6", "conf", scope, "disable_ipv6", value="1")
    with Connection() as connection:
        links.set_up(connection, "lo")


def _outer_name(container: str, owners: dict[str, str]) -> str:
    """``veth`` and seven digits of the container's id, the first of them that no other container has."""
    for start in range(len(container) - 6):
        name = f"veth{container[start : start + 7]}"
        if owners.get(name, container) == container:
            return name
    raise Conflict(f"no free veth name for container {container[:12]}", remedy="remove a stopped container's network")


def _programming_failed(endpoint: Endpoint, error: EngineError) -> EngineError:
    words = f"driver failed programming external connectivity on endpoint {endpoint.container_name} ({endpoint.id})"
    if isinstance(error, HostError):
        return HostError(words, error, remedy=error.remedy)
    return Conflict(f"{words}: {error}", remedy=error.remedy or "publish another host port, or stop what has it")
