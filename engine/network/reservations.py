"""Who has which host port: reservations between containers, before any socket is bound.

Owns the rows of ``port_reservations`` and the choice of a host port where the user named none. Everything here runs
inside the caller's transaction: what overlaps (0.0.0.0 and 127.0.0.1, ranges) is settled there, so two processes never
bind in a race.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable
from itertools import chain

from engine.errors import Conflict
from engine.firewall.model import PortMap
from engine.host import sysctl
from engine.network.ports import PublishedPort, overlap

FALLBACK_RANGE = (49153, 65535)
"""docker's range where the kernel names none."""


def ephemeral_range() -> tuple[int, int]:
    """First and last host port the engine chooses from: the kernel's range of local ports, as docker's."""
    words = (sysctl.read("net", "ipv4", "ip_local_port_range") or "").split()
    return (int(words[0]), int(words[1])) if len(words) == 2 else FALLBACK_RANGE


def reserve(
    connection: sqlite3.Connection,
    container: str,
    published: PublishedPort,
    ephemeral: tuple[int, int],
    unusable: Collection[int] = (),
) -> PortMap:
    """Reserve the host port of one published port for ``container``.

    ``unusable`` are ports that turned out to be held by another program. Conflict, in docker's words, when the port
    asked for, or every port of a range, is reserved.
    """
    taken = _taken(connection, published)
    if published.host_port is not None and published.host_port_end is None:
        chosen: int | None = published.host_port if published.host_port not in taken else None
    else:
        chosen = _choose(connection, published, ephemeral, taken | set(unusable))
    if chosen is None:
        raise Conflict(*_refusal(published, bool(unusable)))
    port = PortMap(published.protocol, published.bind_address, chosen, published.container_port)
    connection.execute(
        "INSERT INTO port_reservations(container, protocol, host_ip, host_port, container_port) VALUES(?,?,?,?,?)",
        (container, port.protocol, port.host_ip, port.host_port, port.container_port),
    )
    return port


def withdraw(connection: sqlite3.Connection, port: PortMap) -> None:
    """Give one reservation back."""
    connection.execute(
        "DELETE FROM port_reservations WHERE protocol=? AND host_ip=? AND host_port=?",
        (port.protocol, port.host_ip, port.host_port),
    )


def by_container(rows: Iterable[sqlite3.Row]) -> dict[str, list[PortMap]]:
    """Rows of ``port_reservations`` in order of reservation, by container."""
    found: dict[str, list[PortMap]] = {}
    for row in rows:
        port = PortMap(row["protocol"], row["host_ip"], row["host_port"], row["container_port"])
        found.setdefault(row["container"], []).append(port)
    return found


def _taken(connection: sqlite3.Connection, published: PublishedPort) -> set[int]:
    rows = connection.execute(
        "SELECT host_ip, host_port FROM port_reservations WHERE protocol=?", (published.protocol,)
    )
    return {row["host_port"] for row in rows if overlap(row["host_ip"], published.bind_address)}


def _choose(
    connection: sqlite3.Connection, published: PublishedPort, ephemeral: tuple[int, int], taken: Collection[int]
) -> int | None:
    """The next port of a range. Chosen ports go round, so that a stopped container's is not at once another's."""
    if published.host_port is not None and published.host_port_end is not None:
        for port in range(published.host_port, published.host_port_end + 1):
            if port not in taken:
                return port
        return None
    first, last = ephemeral
    name = f"ports/{published.protocol}"
    row = connection.execute("SELECT value FROM cursors WHERE name=?", (name,)).fetchone()
    previous = int(row["value"]) if row is not None else 0
    start = previous + 1 if first <= previous < last else first
    for port in chain(range(start, last + 1), range(first, start)):
        if port not in taken:
            connection.execute("INSERT OR REPLACE INTO cursors(name, value) VALUES(?,?)", (name, port))
            return port
    return None


def _refusal(published: PublishedPort, others: bool) -> tuple[str]:
    if published.host_port is None:
        return (f"all ports are allocated: no free host port for {published.container}",)
    place = f"{published.bind_address}:{published.host_port}"
    if published.host_port_end is not None:
        place += f"-{published.host_port_end}"
    reason = "all ports of the range are in use" if others else "port is already allocated"
    return (f"Bind for {place} failed: {reason}",)
