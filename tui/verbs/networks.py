"""What the keys of the network list do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui.feed import NetworkRow

if TYPE_CHECKING:
    from tui.app import Console


def inspect(console: Console) -> None:
    """docker's JSON of the network."""
    from tui.verbs.containers import show_inspect

    item = console.main.pane.current
    if item is not None and isinstance(item.value, NetworkRow):
        row = item.value
        show_inspect(
            console, row.name, lambda: console.engine().networks.inspect(row.id), f"network inspect {row.name}"
        )
