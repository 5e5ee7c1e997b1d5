"""The rule sets the kernel has, both backends', in the order in which a packet meets them.

Owns the picture: chains by hook, counters and rates, what each rule means and whose it is. Reads only, and never makes
a table by reading it. It does not decide what is wrong; it shows.

A refresh is cheap: while the generation of nf_tables stands still only the counters are fetched, and texts already
explained are not explained again.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from engine.errors import HostError
from engine.firewall import backends, nftables
from engine.firewall.docker_chains import chain_names
from engine.firewall.meaning import NOBODY, Meaning, Owners, explain
from engine.firewall.model import SharedRule
from engine.firewall.parse import RuleSyntaxError, parse_rule, parse_save
from engine.firewall.tables import Chain, Rule, Table
from engine.values import dataclass, replace

PACKET_ORDER: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("PREROUTING", ("raw", "mangle", "nat")),
    ("INPUT", ("mangle", "filter", "security", "nat")),
    ("FORWARD", ("mangle", "filter", "security")),
    ("OUTPUT", ("raw", "mangle", "nat", "filter", "security")),
    ("POSTROUTING", ("mangle", "nat")),
)
"""Hooks, and the tables each calls in the order of their priorities (linux/netfilter_ipv4.h, nf_ip_hook_priorities)."""

_LEGACY_TABLES = Path("/proc/thread-self/net/ip_tables_names")
_EXPLAINED_LIMIT = 1 << 15


@dataclass(frozen=True)
class ObservedRule:
    """One rule as it stands in the kernel.

    ``number`` counts from 1 in its chain; ``packets`` and ``bytes`` are totals, ``packet_rate`` is in packets per
    second since the observation before. ``target`` is the verdict or the chain it leads to. ``ours`` is true if the
    engine put it there; ``owner`` names the container it belongs to.
    """

    number: int
    text: str
    packets: int
    bytes: int
    packet_rate: float
    target: str
    meaning: str
    owner: str
    ours: bool

    @property
    def hot(self) -> bool:
        """True if it counted since the observation before."""
        return self.packet_rate > 0


@dataclass(frozen=True)
class ObservedChain:
    """One chain in packet order.

    ``hook`` is the built-in chain through which packets get here, empty if none leads here; ``depth`` is 0 for that
    chain itself and one more for each jump below it. ``policy`` is empty unless the chain is built in; the counters
    are the policy's.
    """

    backend: str
    hook: str
    table: str
    name: str
    depth: int
    policy: str
    packets: int
    bytes: int
    packet_rate: float
    ours: bool
    rules: tuple[ObservedRule, ...]


@dataclass(frozen=True)
class RuleSet:
    """Everything both backends hold, at one moment.

    ``taken`` is in seconds of the monotonic clock. ``generation`` is nf_tables' own count of changes, 0 without it.
    ``backends`` names those that hold tables; two of them are worth a warning. ``troubles`` says in words what could
    not be read.
    """

    taken: float = 0.0
    generation: int = 0
    backends: tuple[str, ...] = ()
    chains: tuple[ObservedChain, ...] = ()
    troubles: tuple[str, ...] = ()

    @property
    def rule_count(self) -> int:
        """Number of rules in all chains."""
        return sum(len(chain.rules) for chain in self.chains)

    def chain(self, table: str, name: str, backend: str | None = None) -> ObservedChain | None:
        """The chain of that name, of any backend unless one is named."""
        for chain in self.chains:
            if (chain.table, chain.name) == (table, name) and backend in (None, chain.backend):
                return chain
        return None

    def of_container(self, name: str) -> tuple[tuple[ObservedChain, ObservedRule], ...]:
        """The rules that belong to a container, in packet order."""
        return tuple((chain, rule) for chain in self.chains for rule in chain.rules if rule.owner == name)


AnyRule = TypeVar("AnyRule", Rule, ObservedRule)


class RuleObserver:
    """Takes rule sets, one after the other."""

    def __init__(self, sources: Sequence[backends.Backend] | None = None) -> None:
        # Where no program names its backend there is only one.
        self._sources = (backends.installed() or (backends.choose(),)) if sources is None else tuple(sources)
        self._painter = _Painter()
        self._generation = 0
        self._texts: dict[str, tuple[Table, ...]] = {}
        self._last = RuleSet()
        self._guard = threading.Lock()

    def observe(self, owners: Owners = NOBODY, placed: Collection[SharedRule] = ()) -> RuleSet:
        """The rule sets now; what cannot be read is among the ``troubles`` instead of an error.

        ``placed`` are the rules the engine has on record in chains it shares with others.
        """
        with self._guard:
            self._last = self._observe(owners, placed)
            return self._last

    def _observe(self, owners: Owners, placed: Collection[SharedRule]) -> RuleSet:
        taken = time.monotonic()
        tables: dict[str, tuple[Table, ...]] = {}
        troubles: list[str] = []
        for source in self._sources:
            try:
                tables[source.name] = self._read(source)
            except (HostError, RuleSyntaxError) as error:
                troubles.append(f"{source.name}: {error}")
        held = {name: found for name, found in tables.items() if any(table.chains for table in found)}
        self._painter.prepare(owners, placed, self._last, taken)
        chains = tuple(_in_packet_order(held, self._painter))
        return RuleSet(taken, self._generation, tuple(held), chains, tuple(troubles))

    def _read(self, source: backends.Backend) -> tuple[Table, ...]:
        if source.name == backends.LEGACY:
            return parse_save(source.read(counters=True)) if _legacy_tables() else ()
        with nftables.connect() as connection:
            generation = nftables.generation(connection)
            known = self._texts.get(source.name)
            if known is not None and generation == self._generation:
                counted = _recounted(known, nftables.rule_counters(connection), nftables.policy_counters(connection))
                if counted is not None and nftables.generation(connection) == generation:
                    self._texts[source.name] = counted
                    return counted
            self._texts[source.name] = parse_save(source.read(counters=True))
            self._generation = generation
        return self._texts[source.name]


def _legacy_tables() -> list[str]:
    """The legacy tables that exist in this namespace; asking makes none."""
    try:
        return _LEGACY_TABLES.read_text().split()
    except OSError:
        return []


def _recounted(
    tables: Iterable[Table],
    rules: Mapping[nftables.Place, Sequence[nftables.Counted]],
    policies: Mapping[nftables.Place, nftables.Counted],
) -> tuple[Table, ...] | None:
    """``tables`` with the counters just read; None if they do not fit (then the texts have to be read again)."""
    found = []
    for table in tables:
        chains = []
        for chain in table.chains:
            place = table.name, chain.name
            counted = rules.get(place, ())
            if len(counted) != len(chain.rules):
                return None
            packets, count = policies.get(place, (0, 0))
            if [(rule.packets, rule.bytes) for rule in chain.rules] == counted:
                same = chain.rules
            else:
                same = tuple(
                    Rule(rule.text, rule.number, *pair) for rule, pair in zip(chain.rules, counted, strict=True)
                )
            chains.append(Chain(chain.name, chain.policy, same, packets, count))
        found.append(Table(table.name, tuple(chains)))
    return tuple(found)


class _Painter:
    """Turns chains of the kernel into observed ones: meaning, owner and rate of every rule.

    An observed rule in which nothing has changed is the very object of the observation before.
    """

    def __init__(self) -> None:
        self._owners = NOBODY
        self._placed: Collection[SharedRule] = ()
        self._explained: dict[tuple[str, str], tuple[str, Meaning]] = {}
        self._former: dict[tuple[str, str, str], ObservedChain] = {}
        self._own_chains: Collection[str] = ()
        self._own_targets: Collection[str] = ()
        self._elapsed = 0.0

    def prepare(self, owners: Owners, placed: Collection[SharedRule], last: RuleSet, taken: float) -> None:
        """Get ready for an observation at ``taken`` that follows ``last``."""
        if owners != self._owners or placed != self._placed:
            self._owners, self._placed = owners, placed
            self._explained.clear()
            last = replace(last, chains=tuple(_forgetful(chain) for chain in last.chains))
        prefix = owners.chain_prefix
        self._own_chains = chain_names(prefix) - {f"{prefix}-USER"}
        self._own_targets = chain_names(prefix)
        self._elapsed = taken - last.taken
        self._former = {(chain.backend, chain.table, chain.name): chain for chain in last.chains}

    def paint(self, backend: str, table: str, hook: str, depth: int, chain: Chain) -> ObservedChain:
        """The observed form of ``chain``."""
        ours = chain.name in self._own_chains
        former = self._former.get((backend, table, chain.name))
        before = _matched(former.rules, chain.rules) if former else [None] * len(chain.rules)
        rules = tuple(
            self._rule(table, chain.name, rule, known, ours) for rule, known in zip(chain.rules, before, strict=True)
        )
        rate = self._rate(chain.packets, former.packets) if former else 0.0
        return ObservedChain(
            backend, hook, table, chain.name, depth, chain.policy, chain.packets, chain.bytes, rate, ours, rules
        )

    def _rule(self, table: str, chain: str, rule: Rule, known: ObservedRule | None, ours: bool) -> ObservedRule:
        rate = self._rate(rule.packets, known.packets) if known else 0.0
        if (
            known
            and known.meaning
            and (known.number, known.packets, known.bytes, known.packet_rate)
            == (
                rule.number,
                rule.packets,
                rule.bytes,
                rate,
            )
        ):
            return known
        target, meaning = self._explain(table, rule.text)
        ours = ours or target in self._own_targets or SharedRule(table, chain, rule.text) in self._placed
        return ObservedRule(
            rule.number, rule.text, rule.packets, rule.bytes, rate, target, meaning.text, meaning.owner, ours
        )

    def _rate(self, packets: int, before: int) -> float:
        # Counters that were set back to zero say nothing about the time between.
        return max(0, packets - before) / self._elapsed if self._elapsed > 0 else 0.0

    def _explain(self, table: str, text: str) -> tuple[str, Meaning]:
        """Target and meaning of a rule's text."""
        explained = self._explained.get((table, text))
        if explained is None:
            try:
                rule = parse_rule(text)
                explained = rule.target, explain(table, rule, self._owners)
            except RuleSyntaxError:
                explained = "", Meaning("a rule this program cannot read")
            if len(self._explained) > _EXPLAINED_LIMIT:
                self._explained.clear()
            self._explained[table, text] = explained
        return explained


def _matched(former: Sequence[ObservedRule], rules: Sequence[Rule]) -> Sequence[ObservedRule | None]:
    """For each of ``rules`` what was observed of it before; it is known again by its text and how often that occurs."""
    if len(former) == len(rules) and all(old.text == new.text for old, new in zip(former, rules, strict=True)):
        return former
    known = dict(_by_occurrence(former))
    return [known.get(key) for key, _ in _by_occurrence(rules)]


def _by_occurrence(rules: Iterable[AnyRule]) -> Iterator[tuple[tuple[str, int], AnyRule]]:
    occurrences: Counter[str] = Counter()
    for rule in rules:
        occurrences[rule.text] += 1
        yield (rule.text, occurrences[rule.text]), rule


def _forgetful(chain: ObservedChain) -> ObservedChain:
    """``chain`` with its counters but without meanings, which have to be found anew."""
    return replace(chain, rules=tuple(replace(rule, meaning="") for rule in chain.rules))


def _in_packet_order(held: Mapping[str, tuple[Table, ...]], painter: _Painter) -> Iterator[ObservedChain]:
    """Every chain once: under the first hook that leads to it, then those no packet reaches."""
    chains = {
        (backend, table.name): {chain.name: chain for chain in table.chains}
        for backend, tables in held.items()
        for table in tables
    }
    seen: set[tuple[str, str, str]] = set()

    def reached(backend: str, table: str, hook: str, name: str, depth: int) -> Iterator[ObservedChain]:
        chain = chains[backend, table].get(name)
        if chain is None or (backend, table, name) in seen:
            return
        seen.add((backend, table, name))
        painted = painter.paint(backend, table, hook, depth, chain)
        yield painted
        for rule in painted.rules:
            yield from reached(backend, table, hook, rule.target, depth + 1)

    for hook, tables in PACKET_ORDER:
        for table in tables:
            for backend in held:
                if (backend, table) in chains:
                    yield from reached(backend, table, hook, hook, 0)
    for (backend, table), named in chains.items():
        for name, chain in named.items():
            if (backend, table, name) not in seen:
                yield painter.paint(backend, table, "", 0, chain)
