"""The neighbour (ARP) table and a bridge's forwarding table: list (rtnetlink(7), RTM_GETNEIGH)."""

from __future__ import annotations

import socket
import struct

from engine.host.netlink import message
from engine.host.netlink.connection import Connection
from engine.values import dataclass

RTM_GETNEIGH = 30
GROUP_NEIGH = 3

NDA_DST = 1
NDA_LLADDR = 2

STATES = {0x1: "incomplete", 0x2: "reachable", 0x4: "stale", 0x8: "delay", 0x10: "probe", 0x20: "failed"}
STATES |= {0x40: "noarp", 0x80: "permanent"}

_INFO = struct.Struct("=BxHiHBB")  # family, padding, link index, state, flags, type


@dataclass(frozen=True)
class Neighbour:
    """Who answers for ``address`` on the link with index ``link``; ``mac`` is empty while nobody does."""

    link: int
    address: str
    mac: str
    state: str


def dump(connection: Connection, *, family: int = socket.AF_INET) -> list[Neighbour]:
    """The neighbour table of a family."""
    found = []
    for body in connection.dump("listing neighbours", RTM_GETNEIGH, _INFO.pack(family, 0, 0, 0, 0, 0)):
        kind, _, link, state, _, _ = _INFO.unpack_from(body)
        values = message.attributes(body, _INFO.size, (NDA_DST, NDA_LLADDR))
        if kind == family and NDA_DST in values:
            found.append(
                Neighbour(
                    link,
                    socket.inet_ntop(family, values[NDA_DST]),
                    values.get(NDA_LLADDR, b"").hex(":"),
                    STATES.get(state, "none"),
                )
            )
    return found
