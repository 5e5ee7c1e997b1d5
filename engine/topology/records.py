"""The engine's side of the topology: which container and which network it put behind a link.

Owns reading the rows of running containers, endpoints, published ports and networks. Writes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from engine.state.database import Database
from engine.topology.graph import PublishedPort
from engine.values import dataclass, field

RUNNING = ("running", "paused", "restarting")


@dataclass(frozen=True)
class ContainerRecord:
    """A container that runs. ``mode`` is its network mode, ``container:ID`` with a full id."""

    id: str
    name: str
    status: str
    mode: str


@dataclass(frozen=True)
class NetworkRecord:
    """A network with a bridge."""

    name: str
    internal: bool


@dataclass(frozen=True)
class Records:
    """``containers`` by id, ``interfaces`` (container id) by the host's end of the veth pair, ``published`` by
    container id, ``networks`` by bridge."""

    containers: Mapping[str, ContainerRecord] = field(default_factory=dict)
    interfaces: Mapping[str, str] = field(default_factory=dict)
    published: Mapping[str, tuple[PublishedPort, ...]] = field(default_factory=dict)
    networks: Mapping[str, NetworkRecord] = field(default_factory=dict)


def read(database: Database) -> Records:
    """The records now."""
    marks = ",".join("?" * len(RUNNING))
    rows = database.all(f"SELECT id, name, status, config FROM containers WHERE status IN ({marks})", RUNNING)
    containers = {
        row["id"]: ContainerRecord(row["id"], row["name"], row["status"], _mode(row["config"])) for row in rows
    }
    interfaces = database.all("SELECT host_interface, container FROM endpoints WHERE host_interface != ''")
    published: dict[str, list[PublishedPort]] = {}
    for row in database.all(
        "SELECT container, protocol, host_ip, host_port, container_port FROM port_reservations ORDER BY rowid"
    ):
        port = PublishedPort(row["protocol"], row["host_ip"], row["host_port"], row["container_port"])
        published.setdefault(row["container"], []).append(port)
    networks: dict[str, NetworkRecord] = {}
    for row in database.all("SELECT name, config FROM networks WHERE driver = 'bridge' ORDER BY rowid"):
        config = json.loads(row["config"])
        if config.get("bridge"):
            networks[config["bridge"]] = NetworkRecord(row["name"], bool(config.get("internal")))
    return Records(
        containers,
        {row["host_interface"]: row["container"] for row in interfaces},
        {container: tuple(ports) for container, ports in published.items()},
        networks,
    )


def version(database: Database) -> tuple[int, int]:
    """A mark that moves when anybody changes the database: other connections (PRAGMA data_version), or this one."""
    connection = database.connection()
    return int(connection.execute("PRAGMA data_version").fetchone()[0]), connection.total_changes


def _mode(config: str) -> str:
    mode = str(json.loads(config).get("network_mode", "default"))
    return "bridge" if mode == "default" else mode
