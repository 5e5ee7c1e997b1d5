"""What ``iptables-save`` prints, split into chains and lines, nothing more.

Owns the line structure (a quoted comment may hold a line break) and the refusal of tables iptables cannot read. Pure;
it is on the path of every container start, so it looks at the first character of a line and no further.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from engine.errors import HostError

ENGINE_TABLES = ("raw", "filter", "nat")
"""The tables the engine writes to, in the order in which they are set up."""

_NATIVE = "is incompatible, use 'nft' tool."


class ListedChain(NamedTuple):
    """One chain as ``iptables-save`` lists it: its policy (``-`` for a chain somebody made) and its rules' texts."""

    policy: str
    rules: tuple[str, ...]


Listing = Mapping[tuple[str, str], ListedChain]
"""Chains by table and name."""


def read_listing(text: str) -> Listing:
    """Split what ``iptables-save`` printed (without ``-c``) into chains.

    HostError if one of our tables holds native nftables rules: iptables then neither shows nor changes it.
    """
    policies: dict[tuple[str, str], str] = {}
    rules: dict[tuple[str, str], list[str]] = {}
    table = ""
    for line in logical_lines(text):
        mark = line[:1]
        if mark == "-":
            _, chain, rule = (line + " ").split(" ", 2)
            rules[table, chain].append(rule.rstrip(" "))
        elif mark == ":":
            chain, policy, *_ = line[1:].split(" ")
            policies[table, chain] = policy
            rules[table, chain] = []
        elif mark == "*":
            table = line[1:]
        elif line.endswith(_NATIVE):
            _refuse_native(line.partition("`")[2].partition("'")[0])
    return {key: ListedChain(policy, tuple(rules[key])) for key, policy in policies.items()}


def logical_lines(text: str) -> Iterator[str]:
    """The lines of a save; a line break inside quotes does not end one."""
    pending = ""
    for line in text.split("\n"):
        if pending or '"' in line:
            pending = f"{pending}\n{line}" if pending else line
            if _inside_quotes(pending):
                continue
            line, pending = pending, ""
        yield line
    if pending:
        yield pending


def _inside_quotes(line: str) -> bool:
    inside = escaped = False
    for character in line:
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = inside
        elif character == '"':
            inside = not inside
    return inside


def _refuse_native(table: str) -> None:
    if table in ENGINE_TABLES:
        raise HostError(
            "reading firewall rules",
            f"the nf_tables table 'ip {table}' holds rules that iptables cannot read or change",
            remedy=f"move them to a table of another name; `nft list table ip {table}` shows them",
        )
