"""Find an action by name and do it: the palette (all that works here) and the menu (the verbs of this list)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input

from tui.actions import Action
from tui.screens.form import FormInput
from tui.widgets.listing import Listing
from tui.widgets.rows import Cell, Column, Row

if TYPE_CHECKING:
    from tui.app import Console


class PaletteScreen(ModalScreen[str], inherit_bindings=False):
    """An input above a list of actions."""

    CSS = """
    PaletteScreen { align: center top; background: $background 60%; padding-top: 2; }
    #palette { width: 76; max-width: 96%; height: auto; max-height: 90%; background: $surface; padding: 1 1 1 1; }
    #palette Listing { height: auto; max-height: 16; margin-top: 1; }
    """

    app: Console

    def __init__(self, title: str, actions: Sequence[Action]) -> None:
        super().__init__()
        self.app.hold_keys()
        self.heading = title
        self.actions = tuple(actions)
        self.entry = FormInput(placeholder=title, compact=True)
        self.listing = Listing()
        self.listing.can_focus = False
        self.listing.set_columns((Column("key", "", 7), Column("title", "", 18), Column("help", "", 20, flex=1)))

    def compose(self) -> ComposeResult:
        with Vertical(id="palette"):
            yield self.entry
            yield self.listing

    def on_mount(self) -> None:
        self.set_focus(self.entry)
        self.app.release_keys()
        self.refill("")

    def refill(self, text: str) -> None:
        """Show the actions that contain the words typed; those whose name does come first."""
        terms = text.lower().split()
        keys = self.app.keymap
        found = [
            action
            for action in self.actions
            if all(term in f"{action.title} {action.help} {action.id}".lower() for term in terms)
        ]
        found.sort(key=lambda action: not all(term in action.title for term in terms))
        rows = [
            Row(
                action.id,
                (Cell(keys.shown(action.id).split(" ")[0], "key"), Cell(action.title), Cell(action.help, "dim")),
            )
            for action in found
        ]
        self.listing.styles.height = max(1, min(16, len(rows)))
        self.listing.empty = (Cell("no action is called that", "dim"),)
        self.listing.set_rows(rows)
        self.listing.move_to(0)

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self.refill(event.value)

    def step(self, by: int) -> None:
        """Move in the list; the input keeps the focus."""
        self.listing.move_by(by)

    def submit(self) -> None:
        """Do the highlighted action."""
        row = self.listing.current
        self.dismiss(row.key if row is not None else None)

    def cancel(self) -> None:
        """Do nothing."""
        self.dismiss(None)
