"""The image pane: tags, ids, sizes, ages, and how many containers stand on each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tui import wording
from tui.feed import IMAGES, ImageRow, Snapshot
from tui.panes.pane import Item, Order, Pane
from tui.widgets.rows import Cell, Column, Row


class ImagesPane(Pane):
    """Images, newest first."""

    KIND, NUMBER, TITLE, SECTION = IMAGES, "2", "Images", IMAGES
    ORDERS = (
        Order("age", lambda row: 0),
        Order("name", lambda row: row.names or ("~",)),
        Order("size", lambda row: row.size, True),
    )

    def columns(self, width: int) -> Sequence[Column]:
        return (
            Column("name", "IMAGE", 18, flex=1, limit=70),
            Column("id", "ID", 12, rank=2),
            Column("size", "SIZE", 7, align="right"),
            Column("age", "AGE", 4, align="right"),
            Column("used", "USED BY", 8, rank=1, align="right"),
        )

    def objects(self, snapshot: Snapshot) -> list[Item]:
        rows = sorted(snapshot.images, key=lambda row: (-row.created, row.names))
        return [Item(row.id, row, f"{' '.join(row.names)} {row.id}".lower()) for row in rows]

    def row(self, item: Item, widths: dict[str, int]) -> Row:
        value: ImageRow = item.value
        names = ", ".join(value.names) or "<none>"
        return Row(
            item.key,
            (
                Cell(names, "text" if value.names else "faint"),
                Cell(value.id.removeprefix("sha256:")[:12], "faint"),
                Cell(wording.size(value.size), "dim"),
                Cell(wording.age(self.snapshot.at - value.created) if value.created else "", "dim"),
                Cell(str(value.containers) if value.containers else "-", "dim"),
            ),
        )

    def summary(self, snapshot: Snapshot) -> list[Cell]:
        if not snapshot.images:
            return []
        total = sum(row.size for row in snapshot.images)
        return [Cell(f"{len(snapshot.images)}  {wording.size(total)}", "dim")]

    def idle(self, value: Any) -> bool:
        return not value.containers

    def nothing(self) -> str:
        return "no images: B builds one, or `:run busybox` makes busybox from this host"
