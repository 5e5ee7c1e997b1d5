"""The container pane: state, name, image, load and ports of every container."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tui import wording
from tui.feed import CONTAINERS, ContainerRow, Snapshot
from tui.panes.pane import Item, Order, Pane
from tui.widgets.rows import Cell, Column, Row

_UP = ("running", "paused", "restarting")


class ContainersPane(Pane):
    """Containers, running ones first."""

    KIND, NUMBER, TITLE, SECTION = CONTAINERS, "1", "Containers", CONTAINERS
    ORDERS = (
        Order("state", lambda row: 0),
        Order("name", lambda row: row.name),
        Order("image", lambda row: (row.image, row.name)),
        Order("cpu", lambda row: row.cpu or 0.0, True),
        Order("memory", lambda row: row.memory or 0, True),
        Order("age", lambda row: row.created, True),
    )

    def columns(self, width: int) -> Sequence[Column]:
        if width < 60:
            return (
                Column("state", "", 1),
                Column("name", "NAME", 12, flex=3, limit=30),
                Column("status", "STATUS", 10),
                Column("cpu", "CPU", 6, rank=2, align="right"),
                Column("ports", "PORTS", 11, flex=2, rank=1, limit=24),
            )
        return (
            Column("state", "", 1),
            Column("name", "NAME", 20, flex=4, limit=40),
            Column("image", "IMAGE", 16, flex=3, limit=34, rank=3),
            Column("status", "STATUS", 10, flex=2, limit=22),
            Column("cpu", "CPU", 6, rank=2, align="right"),
            Column("memory", "MEM", 7, rank=2, align="right"),
            Column("ports", "PORTS", 11, flex=4, rank=1, limit=48),
            Column("address", "ADDRESS", 13, rank=4),
        )

    def objects(self, snapshot: Snapshot) -> list[Item]:
        rows = sorted(snapshot.containers, key=lambda row: (row.state not in _UP, row.name))
        return [
            Item(
                row.id,
                row,
                f"{row.name} {row.image} {row.state} {row.ports} {row.id} {row.address} {row.network}".lower(),
            )
            for row in rows
        ]

    def row(self, item: Item, widths: dict[str, int]) -> Row:
        value: ContainerRow = item.value
        tone = wording.state_tone(value.state)
        if value.state == "exited" and value.exit_code:
            tone = "bad"
        quiet = "faint" if value.state in ("exited", "dead", "created") else "dim"
        glyphs = self.app.glyphs  # type: ignore[attr-defined]
        glyph = glyphs.dead if tone == "bad" else wording.state_glyph(value.state, glyphs)
        cells = {
            "state": Cell(glyph, tone),
            "name": Cell(value.name, "dim" if quiet == "faint" else "text"),
            "image": Cell(value.image, quiet),
            "status": Cell(wording.status(value, self.snapshot.at, widths.get("status", 10)), quiet),
            "cpu": Cell(wording.percent(value.cpu), quiet),
            "memory": Cell(wording.memory(value.memory), quiet),
            "ports": Cell(
                _ports(value, widths.get("ports", 0)).replace("→", glyphs.arrow), "quiet" if quiet == "dim" else quiet
            ),
            "address": Cell(value.address, quiet),
        }
        if value.health == "unhealthy":
            cells["status"] = Cell(cells["status"].text, "bad")
        return Row(item.key, tuple(cells[column.id] for column in self.columns(self.listing.size.width - 2)))

    def summary(self, snapshot: Snapshot) -> list[Cell]:
        running = sum(1 for row in snapshot.containers if row.state == "running")
        cells = [Cell(f"{running} up", "ok" if running else "dim")]
        paused = sum(1 for row in snapshot.containers if row.state == "paused")
        stopped = len(snapshot.containers) - running - paused
        if paused:
            cells.append(Cell(f"  {paused} paused", "warn"))
        if stopped:
            cells.append(Cell(f"  {stopped} not", "dim"))
        return cells if snapshot.containers else []

    def idle(self, value: Any) -> bool:
        return value.state not in _UP

    def nothing(self) -> str:
        return "no containers: R runs one, B builds an image, or try `pilothouse demo`"


def _ports(row: ContainerRow, width: int) -> str:
    """The published ports, or the network mode where there can be none."""
    if not row.ports:
        if row.network in ("bridge", "default", ""):
            return ""
        return row.network if len(row.network) <= width else row.network.replace("container:", "via ")
    if len(row.ports) <= width:
        return row.ports
    parts = row.ports.split(" ")
    rest = f"{parts[0]} +{len(parts) - 1}"
    return rest if len(parts) > 1 else parts[0]
