"""The few things nf_tables is asked directly, because they must be quick.

Has anything changed? What has each rule counted? And: away with these rules. Owns the nfnetlink encoding of those
messages (linux/netfilter/nf_tables.h). Knows rules by their place in a chain, not by their meaning: texts, and every
rule that is made, go through ``iptables-save`` and ``iptables-restore``.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterable

from engine.host.netlink import message
from engine.host.netlink.connection import NETLINK_NETFILTER, Connection, NetlinkError

NFNL_SUBSYS_NFTABLES = 10
NFNL_MSG_BATCH_BEGIN = 0x10
NFNL_MSG_BATCH_END = 0x11
NFNL_BATCH_GENID = 1
NFT_MSG_GETCHAIN = 4
NFT_MSG_GETRULE = 7
NFT_MSG_DELRULE = 8
NFT_MSG_GETGEN = 16

NFTA_CHAIN_TABLE = 1
NFTA_CHAIN_NAME = 3
NFTA_CHAIN_HOOK = 4
NFTA_CHAIN_COUNTERS = 8
NFTA_RULE_TABLE = 1
NFTA_RULE_CHAIN = 2
NFTA_RULE_HANDLE = 3
NFTA_RULE_EXPRESSIONS = 4
NFTA_GEN_ID = 1

_HEADER = struct.Struct(">BBH")  # address family, version, resource id
_BE64 = struct.Struct(">Q")

# An expression named "counter" as it stands in a message: name attribute, data attribute, then bytes and packets
# (NFTA_EXPR_NAME, NFTA_EXPR_DATA, NFTA_COUNTER_BYTES, NFTA_COUNTER_PACKETS). Looked for as a whole: unpacking every
# expression of every rule would cost five times as much.
_COUNTER_NAME = message.ATTRIBUTE.pack(12, 1) + b"counter\0"
_BYTES_AT = len(_COUNTER_NAME) + 8
_PACKETS_AT = _BYTES_AT + 12

Place = tuple[str, str]
"""Table and chain."""
Counted = tuple[int, int]
"""Packets and bytes."""


def connect() -> Connection:
    """A connection to the netfilter subsystems of the calling thread's network namespace."""
    return Connection(NETLINK_NETFILTER)


def generation(connection: Connection) -> int:
    """The number of the rule set, which every change by anybody moves on."""
    body = connection.query("asking for the rule set's generation", _kind(NFT_MSG_GETGEN), _HEADER.pack(0, 0, 0))
    value = message.attributes(body, _HEADER.size, (NFTA_GEN_ID,))[NFTA_GEN_ID]
    return int(message.BE32.unpack(value)[0])


def rule_counters(connection: Connection) -> dict[Place, list[Counted]]:
    """What each rule of the IPv4 tables has counted, chain by chain in the order of the rules."""
    found: dict[Place, list[Counted]] = {}
    for body in connection.dump("reading rule counters", _kind(NFT_MSG_GETRULE), _HEADER.pack(socket.AF_INET, 0, 0)):
        values = message.attributes(body, _HEADER.size, (NFTA_RULE_TABLE, NFTA_RULE_CHAIN, NFTA_RULE_EXPRESSIONS))
        place = message.string(values[NFTA_RULE_TABLE]), message.string(values[NFTA_RULE_CHAIN])
        expressions = values.get(NFTA_RULE_EXPRESSIONS, b"")
        start = expressions.find(_COUNTER_NAME)
        counted = (0, 0)
        if start >= 0:
            counted = (
                _BE64.unpack_from(expressions, start + _PACKETS_AT)[0],
                _BE64.unpack_from(expressions, start + _BYTES_AT)[0],
            )
        found.setdefault(place, []).append(counted)
    return found


def policy_counters(connection: Connection) -> dict[Place, Counted]:
    """What the policies of the IPv4 base chains have counted; a chain whose policy counts nothing has zeros."""
    found: dict[Place, Counted] = {}
    wanted = (NFTA_CHAIN_TABLE, NFTA_CHAIN_NAME, NFTA_CHAIN_HOOK, NFTA_CHAIN_COUNTERS)
    for body in connection.dump("reading chain counters", _kind(NFT_MSG_GETCHAIN), _HEADER.pack(socket.AF_INET, 0, 0)):
        values = message.attributes(body, _HEADER.size, wanted)
        if NFTA_CHAIN_HOOK in values:
            counters = message.attributes(values.get(NFTA_CHAIN_COUNTERS, b""))
            count, packets = (_BE64.unpack(counters[kind])[0] if kind in counters else 0 for kind in (1, 2))
            found[message.string(values[NFTA_CHAIN_TABLE]), message.string(values[NFTA_CHAIN_NAME])] = packets, count
    return found


def remove_rules(connection: Connection, seen: int, places: Iterable[tuple[str, str, int]]) -> None:
    """Remove rules of the IPv4 tables, all in one step of the packet path; a place is table, chain, number from 1.

    The numbers are those of generation ``seen``. NetlinkError, and nothing removed, if the rule set has changed since
    or has no such rule.
    """
    step = "removing firewall rules"
    handles: dict[Place, list[bytes]] = {}
    changes = []
    for table, chain, number in places:
        if (table, chain) not in handles:
            handles[table, chain] = _handles(connection, table, chain)
        known = handles[table, chain]
        if number > len(known):
            raise NetlinkError(step, errno.ENOENT)
        payload = _HEADER.pack(socket.AF_INET, 0, 0)
        payload += message.text(NFTA_RULE_TABLE, table) + message.text(NFTA_RULE_CHAIN, chain)
        payload += message.attribute(NFTA_RULE_HANDLE, known[number - 1])
        changes.append((_kind(NFT_MSG_DELRULE), payload))
    frame = _HEADER.pack(0, 0, NFNL_SUBSYS_NFTABLES)
    begin = frame + message.attribute(NFNL_BATCH_GENID, message.BE32.pack(seen))
    connection.batch(step, (NFNL_MSG_BATCH_BEGIN, begin), changes, (NFNL_MSG_BATCH_END, frame))


def _handles(connection: Connection, table: str, chain: str) -> list[bytes]:
    """The kernel's handles of a chain's rules, in their order."""
    payload = _HEADER.pack(socket.AF_INET, 0, 0)
    payload += message.text(NFTA_RULE_TABLE, table) + message.text(NFTA_RULE_CHAIN, chain)
    found = []
    for body in connection.dump("listing rules", _kind(NFT_MSG_GETRULE), payload):
        values = message.attributes(body, _HEADER.size, (NFTA_RULE_TABLE, NFTA_RULE_CHAIN, NFTA_RULE_HANDLE))
        # Kernels before 3.19 ignore the filter.
        place = message.string(values[NFTA_RULE_TABLE]), message.string(values[NFTA_RULE_CHAIN])
        if place == (table, chain):
            found.append(values[NFTA_RULE_HANDLE])
    return found


def _kind(number: int) -> int:
    return NFNL_SUBSYS_NFTABLES << 8 | number
