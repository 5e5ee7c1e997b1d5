"""What the engine wants of the firewall: bridges with endpoints and port maps, and the chain layout made of them.

Owns immutable data only. Never reads or writes the kernel; rule text is always exactly what ``iptables-save`` prints,
because that one spelling is what plans compare, what the state database remembers and what the console shows.

What does not leave the firewall is a NamedTuple, here and in the modules that plan and write: to define a frozen
dataclass takes half a millisecond, and every command and every exit hook begins by importing these.
"""

from __future__ import annotations

from typing import NamedTuple

from engine.values import dataclass

ANY_ADDRESS = "0.0.0.0"


@dataclass(frozen=True)
class PortMap:
    """One published port: packets to ``host_ip:host_port`` are led to ``container_port`` of the endpoint.

    ``protocol`` is ``tcp``, ``udp`` or ``sctp``; ``host_ip`` is an IPv4 address, ``0.0.0.0`` for every address of
    the host. Ports are 1–65535; a published range is one ``PortMap`` a port.
    """

    protocol: str
    host_ip: str
    host_port: int
    container_port: int


@dataclass(frozen=True)
class EndpointSpec:
    """One container's place on a bridge: its IPv4 address (no prefix) and what it publishes, in publishing order."""

    address: str
    ports: tuple[PortMap, ...] = ()


@dataclass(frozen=True)
class BridgeSpec:
    """One bridge network as its rules see it.

    ``bridge`` is the interface name, ``subnet`` its IPv4 prefix (``172.17.0.0/16``), ``gateway`` the bridge's own
    address. ``internal`` is true if the network has no way out and no way in. ``icc`` is true if its containers may
    talk to one another. ``masquerade`` is true if what leaves the bridge takes the host's address. ``endpoints`` are
    in the order in which they were attached.
    """

    bridge: str
    subnet: str
    gateway: str
    internal: bool = False
    icc: bool = True
    masquerade: bool = True
    endpoints: tuple[EndpointSpec, ...] = ()


class SharedRule(NamedTuple):
    """A rule of ours in a chain that is not ours alone (``PREROUTING``, ``POSTROUTING`` …)."""

    table: str
    chain: str
    rule: str


class ChainLayout(NamedTuple):
    """What the engine wants in one chain.

    ``owned`` is true if the chain is the engine's alone: it then holds exactly ``head`` followed by ``tail``. In a
    shared chain ``head`` goes in at the top and ``tail`` at the bottom, in that order, and all else is left alone.
    ``head_after`` names rules of others that stay above ``head`` where they already lead the chain. ``jumps`` are
    those rules that only lead to our chains: they stay for good, as docker's do. ``kept`` is true if the chain must
    exist while its content is the administrator's.
    """

    table: str
    chain: str
    owned: bool = False
    head: tuple[str, ...] = ()
    tail: tuple[str, ...] = ()
    head_after: tuple[str, ...] = ()
    jumps: frozenset[str] = frozenset()
    kept: bool = False

    @property
    def rules(self) -> tuple[str, ...]:
        """All rules wanted here, in order."""
        return self.head + self.tail


class Layout(NamedTuple):
    """Everything the engine wants in the rule set, chain by chain, tables in the order in which they are set up.

    ``establish`` is false if nothing needs the rules any more: what is there is reduced to the layout, and nothing is
    made that is missing.
    """

    chains: tuple[ChainLayout, ...] = ()
    establish: bool = True

    def passing_rules(self) -> frozenset[SharedRule]:
        """The rules in shared chains that come and go with bridges and endpoints: those that have to be remembered."""
        return frozenset(
            SharedRule(chain.table, chain.chain, rule)
            for chain in self.chains
            if not chain.owned
            for rule in chain.rules
            if rule not in chain.jumps
        )
