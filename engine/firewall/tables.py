"""What the kernel has: tables, chains, rules with their counters.

Owns frozen data only, as ``iptables-save -c`` gives it; see ``parse``.
"""

from __future__ import annotations

from engine.values import dataclass


@dataclass(frozen=True)
class Rule:
    """One rule of a chain: its text without ``-A CHAIN ``, its place in the chain (from 1) and what it has counted."""

    text: str
    number: int = 0
    packets: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class Chain:
    """One chain and its rules in order.

    ``policy`` is ``ACCEPT`` or ``DROP`` for a built-in chain and empty for a chain somebody made; the counters are
    those of the policy.
    """

    name: str
    policy: str = ""
    rules: tuple[Rule, ...] = ()
    packets: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class Table:
    """One table of one backend, chains in the order in which the backend lists them."""

    name: str
    chains: tuple[Chain, ...] = ()

    def chain(self, name: str) -> Chain | None:
        """The chain of that name, if the table has it."""
        return next((chain for chain in self.chains if chain.name == name), None)
