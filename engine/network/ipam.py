"""Address management: which pool a network gets and which address an endpoint gets.

Owns the arithmetic on IPv4 prefixes and docker's default pools. Pure but for ``reserve_address``, which runs inside the
caller's transaction so that two processes can never be given one address.
"""

from __future__ import annotations

import socket
import sqlite3
from collections.abc import Iterable, Iterator, Sequence

from engine.errors import Conflict, InvalidInput
from engine.values import dataclass

FULL = 0xFFFFFFFF


@dataclass(frozen=True)
class Prefix:
    """An IPv4 prefix: its network address as a number, and its length."""

    network: int
    length: int

    def __str__(self) -> str:
        return f"{to_text(self.network)}/{self.length}"

    @property
    def first(self) -> int:
        """The first usable address: docker's gateway."""
        return self.network + 1

    @property
    def last(self) -> int:
        """The last usable address, below the broadcast address."""
        return self.network + (1 << (32 - self.length)) - 2

    def __contains__(self, address: str) -> bool:
        """True for the usable addresses, without the network's own and the broadcast address."""
        return self.first <= to_number(address) <= self.last

    def overlaps(self, other: Prefix) -> bool:
        """True when the two share an address."""
        shorter = min(self.length, other.length)
        mask = (FULL << (32 - shorter)) & FULL
        return self.network & mask == other.network & mask


def to_number(address: str) -> int:
    """An IPv4 address as a number."""
    return int.from_bytes(socket.inet_aton(address), "big")


def to_text(number: int) -> str:
    """A number as an IPv4 address."""
    return socket.inet_ntoa(number.to_bytes(4, "big"))


def parse_prefix(text: str) -> Prefix:
    """``172.17.0.0/16`` (host bits are cleared); InvalidInput in docker's words otherwise."""
    address, slash, length = text.partition("/")
    try:
        number = int.from_bytes(socket.inet_pton(socket.AF_INET, address), "big")
        bits = int(length)
        if not slash or not 1 <= bits <= 30:
            raise ValueError
    except (OSError, ValueError):
        raise InvalidInput(f"invalid CIDR address: {text}", remedy="give a prefix such as 172.28.0.0/16") from None
    mask = (FULL << (32 - bits)) & FULL
    return Prefix(number & mask, bits)


def default_pools() -> Iterator[Prefix]:
    """docker's local pools in order: 172.17 to 172.31 as /16, then 192.168.0.0/16 as /20."""
    for second in range(17, 32):
        yield Prefix(to_number(f"172.{second}.0.0"), 16)
    for third in range(0, 256, 16):
        yield Prefix(to_number(f"192.168.{third}.0"), 20)


def choose_pool(preferred: Prefix | None, taken: Sequence[Prefix]) -> Prefix:
    """The first pool, ``preferred`` before the defaults, that overlaps none in ``taken``."""
    candidates = [preferred] if preferred else []
    candidates += default_pools()
    for pool in candidates:
        if not any(pool.overlaps(other) for other in taken):
            return pool
    raise Conflict(
        "all predefined address pools have been fully subnetted",
        remedy="a route of this host overlaps each of docker's pools (ip route); remove one, or remove a network",
    )


def mac_of(address: str) -> str:
    """The MAC an endpoint derives from its address, docker's 02:42:…; a new holder needs no new neighbour entry."""
    return "02:42:" + socket.inet_aton(address).hex(":")


def lowest_free(prefix: Prefix, taken: Iterable[str]) -> str | None:
    """The lowest usable address that is not taken (docker's order), or None when the pool is exhausted."""
    used = {to_number(address) for address in taken}
    for number in range(prefix.first, prefix.last + 1):
        if number not in used:
            return to_text(number)
    return None


def reserve_address(connection: sqlite3.Connection, network: str, subnet: str, gateway: str) -> str:
    """An address of ``network`` nobody holds; the row that the caller inserts in this transaction keeps it.

    Conflict when every address is taken.
    """
    rows = connection.execute("SELECT address FROM endpoints WHERE network=? AND address IS NOT NULL", (network,))
    address = lowest_free(parse_prefix(subnet), [gateway, *(row["address"] for row in rows)])
    if address is None:
        raise Conflict(
            f"no available IPv4 addresses on this network's address pools: {subnet}",
            remedy="stop a container of this network: its address is free again at once",
        )
    return address
