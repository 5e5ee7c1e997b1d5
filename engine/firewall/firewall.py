"""The engine's rules in the kernel, kept equal to what its bridges need.

Owns the round "save → compare → smallest restore" under one lock, and the record of the rules put into chains shared
with others (table ``firewall_rules``), so that a crash leaves nothing that is not found again. Never touches a rule
that is neither wanted nor on record, outside the chains that are the engine's alone.

Stdlib only: the exit hook calls it. It acts on the network namespace of the calling thread.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from engine.config import Config
from engine.errors import HostError
from engine.firewall import backends, docker_chains, nftables
from engine.firewall.listing import read_listing
from engine.firewall.model import BridgeSpec, SharedRule
from engine.firewall.plan import Plan, make_plan
from engine.host.netlink.connection import NETLINK_NETFILTER, NetlinkError, kept
from engine.state.database import Database
from engine.state.locks import Locks

if TYPE_CHECKING:
    from engine.firewall.meaning import Owners
    from engine.firewall.observe import RuleObserver, RuleSet

Bridges = Sequence[BridgeSpec] | Callable[[], Sequence[BridgeSpec]]
"""Every bridge of the engine in order of creation, or what computes them while the firewall lock is held."""

LOCK = ("firewall", "rules")
FAMILY = "v4"
_ATTEMPTS = 3
_DIRECT_REMOVALS = 100


class Firewall:
    """The firewall of one engine; safe to use from several threads and processes."""

    def __init__(self, config: Config, database: Database, locks: Locks) -> None:
        self._config = config
        self._database = database
        self._locks = locks

    @cached_property
    def backend(self) -> backends.Backend:
        """The backend rules are written to; HostError when iptables is not installed."""
        return backends.choose(self._config.firewall)

    def sync(self, bridges: Bridges, *, forward_drop: bool = False) -> Plan:
        """Make the kernel's rules follow ``bridges``; returns the plan that was carried out, false if there was none.

        Idempotent, and safe against a kill at any point: the next call completes it. Pass a callable where others may
        change the state meanwhile: it is called while the lock is held, so that the later of two callers never
        writes what the earlier one has overtaken. ``forward_drop`` also sets the policy of FORWARD to DROP (docker
        does, if it was the one to switch on ``ip_forward``). On return the loopback guard stands, so
        ``route_localnet`` may be set. With no bridge the rules of bridges go and the base chains stay.
        """
        with self._locks.hold(*LOCK):
            specs = _resolve(bridges)
            for attempts_left in reversed(range(_ATTEMPTS)):
                generation = self._generation()
                plan = self.plan(specs, forward_drop=forward_drop)
                self._remember(plan.remember)
                if not plan or self._carry_out(plan, generation, final=attempts_left == 0):
                    break
            self._forget(plan.forget)
            return plan

    def _carry_out(self, plan: Plan, generation: int, *, final: bool) -> bool:
        """Make the change; False if it was refused and another look at the rules may help."""
        if plan.only_removes and len(plan.removals) <= _DIRECT_REMOVALS and generation and not final:
            places = ((removal.table, removal.chain, removal.number) for removal in plan.removals)
            try:
                nftables.remove_rules(kept(NETLINK_NETFILTER), generation, places)
            except NetlinkError:
                return False
            return True
        try:
            self.backend.apply(plan.script())
        except backends.LockTaken:
            raise
        except HostError:
            # Somebody may have changed the rules after we listed them.
            if final:
                raise
            return False
        return True

    def _generation(self) -> int:
        """The generation of nf_tables before the rules are listed; 0 on the legacy backend."""
        return nftables.generation(kept(NETLINK_NETFILTER)) if self.backend.name == backends.NFT else 0

    def plan(self, bridges: Bridges, *, forward_drop: bool = False) -> Plan:
        """What ``sync`` would do now; changes nothing. Also tells drift: an empty plan means there is none."""
        layout = docker_chains.layout(_resolve(bridges), self._config.chain_prefix)
        return make_plan(
            read_listing(self.backend.read()),
            layout,
            self.remembered(),
            forward_drop=forward_drop,
            backend=self.backend.name,
        )

    def observe(self) -> RuleSet:
        """The rules both backends hold now, in packet order, with counters, rates, meanings and owners.

        For the console's sampler: rates are those since the call before, whoever made it.
        """
        return self._observer.observe(self.owners(), self.remembered())

    def owners(self) -> Owners:
        """Whose address, published port and bridge is whose, by the engine's own records."""
        from engine.firewall.meaning import Owners

        names = {row["id"]: row["name"] for row in self._database.all("SELECT id, name FROM containers")}
        endpoints = self._database.all("SELECT container, address FROM endpoints WHERE address IS NOT NULL")
        ports = self._database.all("SELECT container, protocol, host_port FROM port_reservations")
        rows = self._database.all("SELECT name, config FROM networks WHERE driver = 'bridge' ORDER BY rowid")
        networks = {row["name"]: json.loads(row["config"]) for row in rows}
        # Beside another engine the networks' chains have a prefix of their own.
        prefixes = [config["chain_prefix"] for config in networks.values() if config.get("chain_prefix")]
        return Owners(
            {row["address"]: names[row["container"]] for row in endpoints if row["container"] in names},
            {
                (row["protocol"], row["host_port"]): names[row["container"]]
                for row in ports
                if row["container"] in names
            },
            {config.get("bridge", ""): name for name, config in networks.items()},
            prefixes[0] if prefixes else self._config.chain_prefix,
        )

    @cached_property
    def _observer(self) -> RuleObserver:
        from engine.firewall.observe import RuleObserver

        return RuleObserver()

    def abandon(self, bridge: str) -> None:
        """Forget, without removing them, the rules on record that name ``bridge``.

        Another engine has the bridge now. It did not repeat the rules it found there, and counts on them.
        """
        with self._locks.hold(*LOCK):
            self._forget([rule for rule in self.remembered() if f" {bridge} " in f" {rule.rule} "])

    def remembered(self) -> frozenset[SharedRule]:
        """The rules on record as ours in chains that others use too."""
        rows = self._database.all("SELECT table_name, chain, rule FROM firewall_rules WHERE family = ?", (FAMILY,))
        return frozenset(SharedRule(row["table_name"], row["chain"], row["rule"]) for row in rows)

    def _remember(self, rules: Iterable[SharedRule]) -> None:
        self._record("INSERT OR IGNORE INTO firewall_rules(family, table_name, chain, rule) VALUES (?, ?, ?, ?)", rules)

    def _forget(self, rules: Iterable[SharedRule]) -> None:
        self._record("DELETE FROM firewall_rules WHERE family = ? AND table_name = ? AND chain = ? AND rule = ?", rules)

    def _record(self, statement: str, rules: Iterable[SharedRule]) -> None:
        rows = [(FAMILY, rule.table, rule.chain, rule.rule) for rule in rules]
        if rows:
            with self._database.transaction() as connection:
                connection.executemany(statement, rows)


def _resolve(bridges: Bridges) -> Sequence[BridgeSpec]:
    return bridges() if callable(bridges) else bridges
