"""The smallest change that leads from the rules the kernel has to the rules the engine wants.

Owns the comparison, on lines of text, and the script for ``iptables-restore --noflush``. Pure: no exec, no state.
Never declares an existing chain again (``:CHAIN -`` would empty it) and never names a rule that is neither wanted nor
remembered as the engine's own, except in chains that are the engine's alone. Rules that stay keep their counters and
their order.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from engine.firewall.listing import ENGINE_TABLES, Listing
from engine.firewall.model import ChainLayout, Layout, SharedRule


@dataclass(frozen=True)
class TableChange:
    """Commands for one table, committed together."""

    table: str
    commands: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """A change of the rule set; an empty plan means the kernel has what is wanted.

    ``remember`` are rules that must be on record before the change, ``forget`` those whose record can go after it.
    """

    backend: str = ""
    changes: tuple[TableChange, ...] = ()
    remember: frozenset[SharedRule] = field(default=frozenset())
    forget: frozenset[SharedRule] = field(default=frozenset())

    def __bool__(self) -> bool:
        return bool(self.changes)

    def script(self) -> str:
        """Input for ``iptables-restore --noflush``: one commit a table."""
        return "".join("\n".join((f"*{change.table}", *change.commands, "COMMIT", "")) for change in self.changes)

    def render(self) -> str:
        """The plan as the commands an operator could type."""
        if not self.changes:
            return "firewall: nothing to change\n"
        return "".join(
            f"iptables -t {change.table} {command}\n" for change in self.changes for command in change.commands
        )


def make_plan(
    listing: Listing,
    layout: Layout,
    remembered: Collection[SharedRule] = (),
    *,
    forward_drop: bool = False,
    backend: str = "",
) -> Plan:
    """The plan that makes ``listing`` follow ``layout``.

    ``remembered`` are the rules the engine put into shared chains before: those no longer wanted are removed.
    ``forward_drop`` also sets the policy of filter FORWARD to DROP; it is never set back.
    """
    wanted = layout.passing_rules()
    stale = frozenset(remembered) - wanted
    removals: dict[str, list[str]] = {}
    additions: dict[str, list[str]] = {}
    planned: set[tuple[str, str]] = set()
    for chain in layout.chains:
        planned.add((chain.table, chain.chain))
        listed = listing.get((chain.table, chain.chain))
        created = additions.setdefault(chain.table, [])
        if listed is None:
            if not layout.establish:
                continue
            if chain.owned or chain.kept:
                created.append(f"-N {chain.chain}")
        if chain.kept:
            continue
        current = listed.rules if listed else ()
        outdated = {rule.rule for rule in stale if (rule.table, rule.chain) == (chain.table, chain.chain)}
        removed, added = _chain_commands(chain, current, outdated, layout.establish)
        removals.setdefault(chain.table, []).extend(removed)
        created.extend(added)
    for rule in sorted(stale, key=lambda rule: (rule.table, rule.chain, rule.rule)):
        listed = listing.get((rule.table, rule.chain))
        if (rule.table, rule.chain) not in planned and listed and rule.rule in listed.rules:
            removals.setdefault(rule.table, []).append(f"-D {rule.chain} {rule.rule}")
    if forward_drop and getattr(listing.get(("filter", "FORWARD")), "policy", "ACCEPT") != "DROP":
        additions.setdefault("filter", []).append("-P FORWARD DROP")
    setting_up = any(additions.values())
    changes = tuple(
        TableChange(table, tuple(commands))
        for table in _table_order(removals.keys() | additions.keys(), setting_up)
        if (commands := _created_first(removals.get(table, ()), additions.get(table, ())))
    )
    return Plan(backend, changes, remember=wanted - frozenset(remembered), forget=stale)


def _table_order(tables: Iterable[str], setting_up: bool) -> list[str]:
    """Guards stand before anything is let in; taking down goes the other way round."""
    ordered = sorted(tables, key=lambda name: ENGINE_TABLES.index(name) if name in ENGINE_TABLES else -1)
    return ordered if setting_up else ordered[::-1]


def _created_first(removals: Sequence[str], additions: Sequence[str]) -> list[str]:
    """Commands of one table in the order in which each finds what it names."""
    created = [command for command in additions if command.startswith("-N ")]
    return [*created, *removals, *(command for command in additions if not command.startswith("-N "))]


def _chain_commands(
    chain: ChainLayout, current: Sequence[str], outdated: Collection[str], establish: bool
) -> tuple[list[str], list[str]]:
    """Removals and additions for one chain, to be carried out in that order."""
    rules = chain.rules
    if not establish:
        present = set(current)
        rules = tuple(rule for rule in rules if rule in present)
    rank = {rule: place for place, rule in enumerate(rules)}
    stay = _longest_in_order(current, rank)
    settled = {current[index] for index in stay}
    working = list(current)
    gone: set[str] = set()
    removals: list[str] = []
    doomed = []
    for index, rule in enumerate(current):
        if index in stay:
            continue
        # In a shared chain a second copy of a rule of ours is somebody else's; a rule out of order is moved.
        misplaced = rule in rank and rule not in settled
        if chain.owned or ((misplaced or rule in outdated) and rule not in gone):
            gone.add(rule)
            doomed.append(index)
    for index in reversed(doomed):
        # By text, so that a change made by another program since the listing can't make us delete its rule; by
        # number only where the text is ambiguous.
        name = str(index + 1) if working.count(working[index]) > 1 else working[index]
        removals.append(f"-D {chain.chain} {name}")
        del working[index]
    return removals, _insertions(chain, rules, settled, working)


def _insertions(chain: ChainLayout, rules: Sequence[str], settled: set[str], working: list[str]) -> list[str]:
    """Commands that put the missing ones of ``rules`` into ``working`` (changed on the way)."""
    commands: list[str] = []
    head = len(rules) if chain.owned else sum(rule in chain.head for rule in rules)
    for place, rule in enumerate(rules):
        if rule in settled:
            continue
        if place >= head:
            following = next((other for other in rules[place + 1 :] if other in settled), None)
            position = len(working) if following is None else working.index(following)
        elif place:
            position = working.index(rules[place - 1]) + 1
        else:
            position = 0
            while position < len(working) and working[position] in chain.head_after:
                position += 1
        if position == len(working):
            commands.append(f"-A {chain.chain} {rule}")
        else:
            commands.append(f"-I {chain.chain} {position + 1} {rule}")
        working.insert(position, rule)
        settled.add(rule)
    return commands


def _longest_in_order(current: Sequence[str], rank: Mapping[str, int]) -> set[int]:
    """Indices of the longest run of wanted rules that already stand in the wanted order (patience sorting)."""
    ends: list[int] = []  # rank of the last rule of the best run of each length
    tails: list[int] = []  # its index in current
    before: dict[int, int] = {}
    for index, rule in enumerate(current):
        place = rank.get(rule)
        if place is None:
            continue
        length = bisect_left(ends, place)
        if length:
            before[index] = tails[length - 1]
        if length == len(ends):
            ends.append(place)
            tails.append(index)
        else:
            ends[length] = place
            tails[length] = index
    run: set[int] = set()
    index = tails[-1] if tails else -1
    while index >= 0:
        run.add(index)
        index = before.get(index, -1)
    return run
