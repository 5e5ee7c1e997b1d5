"""The rows behind networks and endpoints, as the frozen objects the rest of the engine speaks of.

Owns reading and writing ``networks`` and ``endpoints``. Decides nothing; every writer runs in its caller's transaction
where there is one.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence

from engine.firewall.model import BridgeSpec, EndpointSpec, PortMap
from engine.host import processes
from engine.network.ipam import parse_prefix
from engine.network.model import Endpoint, Network
from engine.network.reservations import by_container
from engine.state.database import Database

_ENDPOINTS = """
    SELECT e.*, n.name AS network_name, n.driver AS driver, n.config AS network_config,
           (SELECT c.name FROM containers c WHERE c.id = e.container) AS container_name
    FROM endpoints e JOIN networks n ON n.id = e.network
"""
_CONFIG_FIELDS = ("bridge", "subnet", "gateway", "mtu", "internal", "chain_prefix", "options", "labels")

ICC = "com.docker.network.bridge.enable_icc"
MASQUERADE = "com.docker.network.bridge.enable_ip_masquerade"


def networks(database: Database) -> list[Network]:
    """All networks in order of creation."""
    return [_network(row) for row in database.all("SELECT * FROM networks ORDER BY rowid")]


def network_named(database: Database, name: str) -> Network | None:
    """The network of exactly that name."""
    row = database.one("SELECT * FROM networks WHERE name=?", (name,))
    return None if row is None else _network(row)


def insert_network(connection: sqlite3.Connection, network: Network) -> None:
    """Add a network unless one of that name is there."""
    connection.execute(
        "INSERT OR IGNORE INTO networks(id, name, driver, created, config) VALUES(?,?,?,?,?)",
        (network.id, network.name, network.driver, network.created, _config(network)),
    )


def update_network(database: Database, network: Network) -> None:
    """Rewrite the configuration of a default network that had to move."""
    database.execute("UPDATE networks SET config=? WHERE id=?", (_config(network), network.id))


def state(database: Database, network: str) -> dict[str, object]:
    """What the driver remembers of a network's kernel objects."""
    row = database.one("SELECT state FROM networks WHERE id=?", (network,))
    found: dict[str, object] = json.loads(row["state"]) if row is not None else {}
    return found


def save_state(database: Database, network: str, remembered: Mapping[str, object]) -> None:
    """Keep what the driver remembers; no write when it is what is there."""
    if state(database, network) != dict(remembered):
        database.execute("UPDATE networks SET state=? WHERE id=?", (json.dumps(dict(remembered)), network))


def insert_endpoint(connection: sqlite3.Connection, endpoint: Endpoint) -> None:
    """Add an endpoint; its ports are reservations of their own."""
    connection.execute(
        "INSERT INTO endpoints(id, network, container, address, mac, host_interface, interface, config)"
        " VALUES(?,?,?,?,?,?,?,?)",
        (
            endpoint.id,
            endpoint.network,
            endpoint.container,
            endpoint.address or None,
            endpoint.mac,
            endpoint.host_interface,
            endpoint.interface,
            json.dumps({"name": endpoint.container_name, "exposed": endpoint.exposed}),
        ),
    )


def endpoints_of(database: Database, container: str, *, attached: bool = False) -> tuple[Endpoint, ...]:
    """A container's endpoints; those being taken down are left out when only ``attached`` ones count."""
    return _endpoints(database, f"WHERE e.container=?{' AND e.attached=1' if attached else ''}", (container,))


def endpoints_on(database: Database, network: str) -> tuple[Endpoint, ...]:
    """The endpoints attached to a network, oldest first."""
    return _endpoints(database, "WHERE e.network=? AND e.attached=1", (network,))


def interface_owners(connection: sqlite3.Connection) -> dict[str, str]:
    """Which container has which outer veth end."""
    rows = connection.execute("SELECT host_interface, container FROM endpoints WHERE host_interface != ''")
    return {row["host_interface"]: row["container"] for row in rows}


def bridges(database: Database) -> list[BridgeSpec]:
    """Every bridge that stands since this boot, as the firewall sees it, with what is attached to it now."""
    boot = processes.boot_id()
    ports = by_container(database.all("SELECT * FROM port_reservations ORDER BY rowid"))
    specs = []
    for row in database.all("SELECT * FROM networks WHERE driver='bridge' ORDER BY rowid"):
        if json.loads(row["state"]).get("boot_id") != boot:
            continue
        network = _network(row)
        attached = database.all(
            "SELECT address, container FROM endpoints WHERE network=? AND attached=1 AND address IS NOT NULL"
            " ORDER BY rowid",
            (network.id,),
        )
        specs.append(
            BridgeSpec(
                network.bridge,
                network.subnet,
                network.gateway,
                internal=network.internal,
                icc=network.options.get(ICC, "true") == "true",
                masquerade=network.options.get(MASQUERADE, "true") == "true",
                endpoints=tuple(
                    EndpointSpec(each["address"], tuple(ports.get(each["container"], ()))) for each in attached
                ),
            )
        )
    return specs


def _endpoints(database: Database, where: str, parameters: Sequence[str]) -> tuple[Endpoint, ...]:
    rows = database.all(f"{_ENDPOINTS} {where} ORDER BY e.rowid", parameters)
    if not rows:
        return ()
    wanted = sorted({row["container"] for row in rows})
    marks = ",".join("?" * len(wanted))
    ports = by_container(
        database.all(f"SELECT * FROM port_reservations WHERE container IN ({marks}) ORDER BY rowid", wanted)
    )
    return tuple(_endpoint(row, tuple(ports.get(row["container"], ()))) for row in rows)


def _endpoint(row: sqlite3.Row, ports: tuple[PortMap, ...]) -> Endpoint:
    config = json.loads(row["config"])
    network = json.loads(row["network_config"])
    addressed = row["address"] is not None
    return Endpoint(
        id=row["id"],
        network=row["network"],
        network_name=row["network_name"],
        driver=row["driver"],
        container=row["container"],
        container_name=row["container_name"] or config.get("name", ""),
        address=row["address"] or "",
        prefix=parse_prefix(network["subnet"]).length if addressed else 0,
        gateway=network["gateway"] if addressed and not network["internal"] else "",
        mac=row["mac"],
        interface=row["interface"],
        host_interface=row["host_interface"],
        exposed=tuple(config.get("exposed", ())),
        ports=ports if addressed else (),
    )


def _network(row: sqlite3.Row) -> Network:
    config = json.loads(row["config"])
    return Network(
        id=row["id"],
        name=row["name"],
        driver=row["driver"],
        created=row["created"],
        **{name: config[name] for name in _CONFIG_FIELDS if name in config},
    )


def _config(network: Network) -> str:
    return json.dumps({name: getattr(network, name) for name in _CONFIG_FIELDS})
