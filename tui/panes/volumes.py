"""The volume pane: named volumes and who mounts them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tui import wording
from tui.feed import VOLUMES, Snapshot, VolumeRow
from tui.panes.pane import Item, Order, Pane
from tui.widgets.rows import Cell, Column, Row


class VolumesPane(Pane):
    """Volumes by name."""

    KIND, NUMBER, TITLE, SECTION = VOLUMES, "4", "Volumes", VOLUMES
    ORDERS = (Order("name", lambda row: row.name), Order("age", lambda row: row.created, True))

    def columns(self, width: int) -> Sequence[Column]:
        return (
            Column("name", "VOLUME", 16, flex=1, limit=64),
            Column("users", "MOUNTED BY", 14, flex=1, limit=40),
            Column("age", "AGE", 4, align="right"),
            Column("path", "PATH", 40, flex=1, rank=1),
        )

    def objects(self, snapshot: Snapshot) -> list[Item]:
        rows = sorted(snapshot.volumes, key=lambda row: row.name)
        return [Item(row.name, row, f"{row.name} {' '.join(row.users)}".lower()) for row in rows]

    def row(self, item: Item, widths: dict[str, int]) -> Row:
        value: VolumeRow = item.value
        return Row(
            item.key,
            (
                Cell(value.name),
                Cell(", ".join(value.users) or "-", "dim"),
                Cell(wording.age(self.snapshot.at - value.created) if value.created else "", "dim"),
                Cell(value.path, "faint"),
            ),
        )

    def summary(self, snapshot: Snapshot) -> list[Cell]:
        return [Cell(str(len(snapshot.volumes)), "dim")] if snapshot.volumes else []

    def idle(self, value: Any) -> bool:
        return not value.users

    def nothing(self) -> str:
        return "no volumes: A creates one; `run -v NAME:/path` does, too"
