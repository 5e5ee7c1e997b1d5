"""Ids of network namespaces: the numbers by which one namespace speaks of another (rtnetlink(7), RTM_GETNSID)."""

from __future__ import annotations

import struct

from engine.host.netlink import message
from engine.host.netlink.connection import Connection

RTM_GETNSID = 90
GROUP_NSID = 28

NETNSA_NSID = 1
NETNSA_FD = 3

_INFO = struct.Struct("=Bxxx")


def nsid(connection: Connection, descriptor: int) -> int | None:
    """The id this namespace has given to the one behind ``descriptor``; None when it never met it."""
    body = connection.query(
        "asking for a namespace's id", RTM_GETNSID, _INFO.pack(0) + message.u32(NETNSA_FD, descriptor)
    )
    value = message.attributes(body, _INFO.size, (NETNSA_NSID,)).get(NETNSA_NSID)
    number = -1 if value is None else message.S32.unpack(value)[0]
    return None if number < 0 else number


def dump(connection: Connection) -> list[int]:
    """All ids this namespace has given out."""
    found = []
    for body in connection.dump("listing namespace ids", RTM_GETNSID, _INFO.pack(0)):
        value = message.attributes(body, _INFO.size, (NETNSA_NSID,)).get(NETNSA_NSID)
        if value is not None:
            found.append(message.S32.unpack(value)[0])
    return found
