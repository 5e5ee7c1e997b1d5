"""The firewall pane and the chains of the network view: rules in packet order with moving counters.

Painting only: order, meaning and owner of each rule come from the engine. "Hot only" and the zeroed display base are
kept here; the kernel's counters are never touched.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tui import wording
from tui.feed import RULES, RuleRow, Snapshot
from tui.panes.pane import Item, Pane
from tui.widgets.rows import Cell, Column, Row

_VERDICT_TONES = {"drop": "bad", "reject": "bad", "accept": "ok", "dnat": "info", "masquerade": "info", "snat": "info"}
_BAR = 4


class FirewallPane(Pane):
    """Every rule of every table, chain by chain."""

    KIND, NUMBER, TITLE, SECTION = "firewall", "5", "Firewall", RULES
    HIDE_ACTION, HIDING, HIDDEN = "firewall.hot", "hot only", "no rule is counting now"

    def __init__(self) -> None:
        super().__init__()
        self.base: dict[str, int] = {}
        self.busiest = 1.0

    def wanted(self, rule: RuleRow) -> bool:
        """True if the pane shows this rule at all."""
        return True

    def columns(self, width: int) -> Sequence[Column]:
        if width < 50:
            return (
                Column("number", "#", 3, align="right"),
                Column("rate", "PKT/S", 5, align="right"),
                Column("meaning", "MEANING", 20, flex=1),
            )
        if width < 90:  # the meaning names the owner, too
            return (
                Column("number", "#", 3, align="right"),
                Column("packets", "PKTS", 7, rank=3, align="right"),
                Column("rate", "PKT/S", 5, align="right"),
                Column("bar", "", _BAR, rank=4),
                Column("meaning", "MEANING", 30, flex=1, limit=72),
            )
        return (
            Column("number", "#", 3, align="right"),
            Column("packets", "PKTS", 7, rank=3, align="right"),
            Column("rate", "PKT/S", 5, align="right"),
            Column("bar", "", _BAR, rank=4),
            Column("meaning", "MEANING", 30, flex=8, limit=72),
            Column("owner", "OWNER", 10, rank=5, flex=1, limit=16),
            Column("text", "RULE", 24, flex=3, rank=6),
        )

    def objects(self, snapshot: Snapshot) -> list[Item]:
        items: list[Item] = []
        chain = ("", "", "")
        rules = [rule for rule in snapshot.rules if self.wanted(rule)]
        self.busiest = max((rule.rate for rule in rules), default=1.0)
        for rule in rules:
            where = (rule.backend, rule.table, rule.chain)
            if where != chain:
                chain = where
                items.append(Item(f"{rule.backend}/{rule.table}/{rule.chain}", rule, heading=True))
            if rule.number:
                words = f"{rule.table} {rule.chain} {rule.text} {rule.meaning} {rule.owner}".lower()
                items.append(Item(rule.key, rule, words))
        return items

    def row(self, item: Item, widths: dict[str, int]) -> Row:
        rule: RuleRow = item.value
        if item.heading:
            return self._heading(item.key, rule)
        tone = _VERDICT_TONES.get(rule.verdict, "text")
        if tone == "bad" and rule.ours:
            tone = "text"  # the engine's own guards are no alarm
        packets = rule.packets - self.base.get(rule.key, 0)
        busy = rule.rate >= 0.05
        meaning = rule.meaning or rule.text
        if tone == "bad":
            meaning = f"{self.app.glyphs.bad} {meaning}"  # type: ignore[attr-defined]
        cells = {
            "number": Cell(str(rule.number), "faint"),
            "packets": Cell(wording.count(packets), "dim"),
            "rate": Cell(wording.rate(rule.rate) if busy else "", "accent" if busy else "faint"),
            "bar": Cell(self._bar(rule.rate), "accent"),
            "meaning": Cell(meaning, tone if busy or tone == "bad" else "dim"),
            "owner": Cell(rule.owner, "quiet"),
            "text": Cell(rule.text, "faint"),
        }
        return Row(item.key, tuple(cells[column.id] for column in self.columns(self.listing.size.width - 2)))

    def _heading(self, key: str, rule: RuleRow) -> Row:
        cells = [Cell(f"{rule.table} ", "dim"), Cell(rule.chain, "key")]
        if rule.number == 0:
            tone = "warn" if rule.verdict == "drop" else "dim"
            cells.append(Cell(f"  policy {rule.verdict.upper()}", tone))
            cells.append(Cell(f"  {wording.count(rule.packets)} packets", "faint"))
        elif rule.hook:
            cells.append(Cell(f"  from {rule.hook}", "faint"))
        if rule.backend == "legacy":
            cells.append(Cell("  legacy backend", "warn"))
        return Row(key, tuple(cells), span=True, selectable=False)

    def _bar(self, rate: float) -> str:
        """A bar of at most four cells, on a logarithmic scale of the busiest rule."""
        if rate < 0.05:
            return ""
        steps = self.app.glyphs.bar  # type: ignore[attr-defined]
        share = math.log1p(rate) / max(math.log1p(self.busiest), 1e-9)
        eighths = max(1, round(share * _BAR * 8))
        full, rest = divmod(eighths, 8)
        return str(steps[8] * full + (steps[rest] if rest else ""))

    def summary(self, snapshot: Snapshot) -> list[Cell]:
        rules = [rule for rule in snapshot.rules if rule.number and self.wanted(rule)]
        if not rules:
            return []
        hot = sum(1 for rule in rules if rule.rate >= 0.05)
        cells = [Cell(wording.plural(len(rules), "rule"), "dim")]
        if hot:
            cells.append(Cell(f"  {hot} hot", "accent"))
        return cells

    def idle(self, value: Any) -> bool:
        return bool(value.rate < 0.05)

    def zero(self) -> None:
        """Count from now on."""
        self.base = {rule.key: rule.packets for rule in self.snapshot.rules}
        self.rebuild()

    def nothing(self) -> str:
        return "no rules: the first container with a network makes them"


class ChainsPane(FirewallPane):
    """The chains that matter to containers, below the topology."""

    KIND, NUMBER, TITLE, CHAIN = "chains", "", "NAT and filter chains", "view"

    def wanted(self, rule: RuleRow) -> bool:
        return rule.table in ("nat", "filter") and (rule.chain.startswith(("DOCKER", "PILOT")) or rule.chain in (
            "PREROUTING", "POSTROUTING", "OUTPUT", "FORWARD",
        ))  # fmt: skip
