"""The system pane: the host, the engine and the latest events."""

from __future__ import annotations

import time
from collections.abc import Sequence

from tui.feed import SYSTEM, EventRow, Snapshot
from tui.panes.pane import Item, Pane
from tui.widgets.rows import Cell, Column, Row


class SystemPane(Pane):
    """Figures above, events below, newest first."""

    KIND, NUMBER, TITLE, SECTION = SYSTEM, "7", "System and events", SYSTEM

    def columns(self, width: int) -> Sequence[Column]:
        return (Column("label", "WHEN", 16), Column("value", "WHAT", 20, flex=1))

    def objects(self, snapshot: Snapshot) -> list[Item]:
        items = [Item("figures", "this machine", heading=True)] if snapshot.system.figures else []
        items += [
            Item(f"figure/{label}", (label, value), f"{label} {value}".lower())
            for label, value in snapshot.system.figures
        ]
        if snapshot.system.events:
            items.append(Item("events", "latest events", heading=True))
        for number, event in enumerate(reversed(snapshot.system.events)):
            items.append(Item(f"event/{number}", event, event.what.lower()))
        return items

    def row(self, item: Item, widths: dict[str, int]) -> Row:
        if item.heading:
            return Row(item.key, (Cell(item.value, "key"),), span=True, selectable=False)
        if isinstance(item.value, EventRow):
            moment = time.strftime("%d %b %H:%M:%S", time.localtime(item.value.time))
            return Row(item.key, (Cell(moment, "faint"), Cell(item.value.what)))
        label, value = item.value
        return Row(item.key, (Cell(label, "dim"), Cell(value)))

    def summary(self, snapshot: Snapshot) -> list[Cell]:
        return [Cell(snapshot.system.host, "dim")]
