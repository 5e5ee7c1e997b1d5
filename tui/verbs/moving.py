"""Moving in whatever has the focus: a list's cursor, a text's window."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui.widgets.listing import Listing
from tui.widgets.text import TextView

if TYPE_CHECKING:
    from tui.app import Console


def _movable(console: Console) -> Listing | TextView | None:
    focused = console.screen.focused
    return focused if isinstance(focused, (Listing, TextView)) else None


def down(console: Console) -> None:
    if target := _movable(console):
        target.move_by(1)


def up(console: Console) -> None:
    if target := _movable(console):
        target.move_by(-1)


def page_down(console: Console) -> None:
    if target := _movable(console):
        target.page(1.0)


def page_up(console: Console) -> None:
    if target := _movable(console):
        target.page(-1.0)


def half_down(console: Console) -> None:
    if target := _movable(console):
        target.page(0.5)


def half_up(console: Console) -> None:
    if target := _movable(console):
        target.page(-0.5)


def top(console: Console) -> None:
    if target := _movable(console):
        target.edge(end=False)


def bottom(console: Console) -> None:
    if target := _movable(console):
        target.edge(end=True)


def left(console: Console) -> None:
    if isinstance(text := _movable(console), TextView):
        text.sideways(-8)


def right(console: Console) -> None:
    if isinstance(text := _movable(console), TextView):
        text.sideways(8)
