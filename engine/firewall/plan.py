"""The smallest change that leads from the rules the kernel has to the rules the engine wants.

Owns the comparison, on lines of text, and the script for ``iptables-restore --noflush``. Pure: no exec, no state.
Never declares an existing chain again (``:CHAIN -`` would empty it) and never names a rule that is neither wanted nor
remembered as the engine's own, except in chains that are the engine's alone. Rules that stay keep their counters and
their order.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from engine.firewall.listing import ENGINE_TABLES, Listing
from engine.firewall.model import ChainLayout, Layout, SharedRule


class TableChange(NamedTuple):
    """Commands for one table, committed together."""

    table: str
    commands: tuple[str, ...]


class Removal(NamedTuple):
    """A rule to be removed, by its place in the listing (``number`` counts from 1), and the command that does it."""

    table: str
    chain: str
    number: int
    command: str


class Plan(NamedTuple):
    """A change of the rule set; an empty plan means the kernel has what is wanted.

    ``removals`` are those of its commands that remove a rule. ``remember`` are rules that must be on record before
    the change, ``forget`` those whose record can go after it.
    """

    backend: str = ""
    changes: tuple[TableChange, ...] = ()
    removals: tuple[Removal, ...] = ()
    remember: frozenset[SharedRule] = frozenset()
    forget: frozenset[SharedRule] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.changes)

    @property
    def only_removes(self) -> bool:
        """True if nothing is made, moved or set."""
        return bool(self.removals) and sum(len(change.commands) for change in self.changes) == len(self.removals)

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
    removals: list[Removal] = []
    additions: dict[str, list[str]] = {}
    for chain in layout.chains:
        listed = listing.get((chain.table, chain.chain))
        added = additions.setdefault(chain.table, [])
        if listed is None:
            if not layout.establish:
                continue
            if chain.owned or chain.kept:
                added.append(f"-N {chain.chain}")
        if not chain.kept:
            current = listed.rules if listed else ()
            outdated = {rule.rule for rule in stale if (rule.table, rule.chain) == (chain.table, chain.chain)}
            removed, inserted = _chain_commands(chain, current, outdated, layout.establish)
            removals += removed
            added += inserted
    removals += _strays(stale, layout, listing)
    if forward_drop and getattr(listing.get(("filter", "FORWARD")), "policy", "ACCEPT") != "DROP":
        additions.setdefault("filter", []).append("-P FORWARD DROP")
    tables = {removal.table for removal in removals} | additions.keys()
    changes = tuple(
        TableChange(table, tuple(commands))
        for table in _table_order(tables, setting_up=any(additions.values()))
        if (commands := _commands(table, removals, additions.get(table, ())))
    )
    return Plan(backend, changes, tuple(removals), remember=wanted - frozenset(remembered), forget=stale)


def _strays(stale: Collection[SharedRule], layout: Layout, listing: Listing) -> list[Removal]:
    """Rules on record in chains the layout does not speak of."""
    planned = {(chain.table, chain.chain) for chain in layout.chains}
    found = []
    for rule in sorted(stale, key=lambda rule: (rule.table, rule.chain, rule.rule)):
        place = rule.table, rule.chain
        if place not in planned and place in listing and rule.rule in listing[place].rules:
            number = listing[place].rules.index(rule.rule) + 1
            found.append(Removal(*place, number, f"-D {rule.chain} {rule.rule}"))
    return found


def _table_order(tables: Iterable[str], setting_up: bool) -> list[str]:
    """Guards stand before anything is let in; taking down goes the other way round."""
    ordered = sorted(tables, key=lambda name: ENGINE_TABLES.index(name) if name in ENGINE_TABLES else -1)
    return ordered if setting_up else ordered[::-1]


def _commands(table: str, removals: Iterable[Removal], additions: Sequence[str]) -> list[str]:
    """Commands for one table in the order in which each finds what it names."""
    created = [command for command in additions if command.startswith("-N ")]
    removed = [removal.command for removal in removals if removal.table == table]
    return [*created, *removed, *(command for command in additions if not command.startswith("-N "))]


def _chain_commands(
    chain: ChainLayout, current: Sequence[str], outdated: Collection[str], establish: bool
) -> tuple[list[Removal], list[str]]:
    """Removals and insertions for one chain, to be carried out in that order."""
    rules = chain.rules
    if not establish:
        present = set(current)
        rules = tuple(rule for rule in rules if rule in present)
    rank = {rule: place for place, rule in enumerate(rules)}
    stay = _longest_in_order(current, rank)
    settled = {current[index] for index in stay}
    working = list(current)
    gone: set[str] = set()
    removals: list[Removal] = []
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
        removals.append(Removal(chain.table, chain.chain, index + 1, f"-D {chain.chain} {name}"))
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
