"""The network pane: driver, subnet and use of every network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tui.feed import NETWORKS, NetworkRow, Snapshot
from tui.panes.pane import Item, Order, Pane
from tui.widgets.rows import Cell, Column, Row


class NetworksPane(Pane):
    """Networks by name."""

    KIND, NUMBER, TITLE, SECTION = NETWORKS, "3", "Networks", NETWORKS
    ORDERS = (Order("name", lambda row: row.name), Order("use", lambda row: row.endpoints, True))

    def columns(self, width: int) -> Sequence[Column]:
        return (
            Column("name", "NETWORK", 12, flex=1, limit=40),
            Column("driver", "DRIVER", 7),
            Column("subnet", "SUBNET", 15, flex=1, rank=1, limit=24),
            Column("gateway", "GATEWAY", 14, rank=3),
            Column("bridge", "BRIDGE", 12, rank=4),
            Column("use", "USED", 4, rank=2, align="right"),
        )

    def objects(self, snapshot: Snapshot) -> list[Item]:
        rows = sorted(snapshot.networks, key=lambda row: (row.driver != "bridge", row.name))
        return [
            Item(row.id, row, f"{row.name} {row.driver} {row.subnet} {row.bridge} {row.id}".lower()) for row in rows
        ]

    def row(self, item: Item, widths: dict[str, int]) -> Row:
        value: NetworkRow = item.value
        return Row(
            item.key,
            (
                Cell(value.name),
                Cell(value.driver, "dim"),
                Cell(value.subnet + (" internal" if value.internal else ""), "quiet"),
                Cell(value.gateway, "dim"),
                Cell(value.bridge, "dim"),
                Cell(str(value.endpoints) if value.endpoints else "-", "dim"),
            ),
        )

    def summary(self, snapshot: Snapshot) -> list[Cell]:
        return [Cell(str(len(snapshot.networks)), "dim")] if snapshot.networks else []

    def idle(self, value: Any) -> bool:
        return not value.endpoints

    def nothing(self) -> str:
        return "no networks yet: the first container makes docker0"
