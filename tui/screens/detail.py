"""The detail tabs over the whole screen, where the layout has no room for them beside the lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.screen import Screen
from textual.widget import Widget

from tui.actions import CHAINS, Scope
from tui.widgets.bars import HintBar, JournalBar
from tui.widgets.detail import Detail
from tui.widgets.text import TextView

if TYPE_CHECKING:
    from tui.app import Console
    from tui.panes.pane import Item


class DetailScreen(Screen[None], inherit_bindings=False):
    """One object, in tabs."""

    app: Console

    def __init__(self, kind: str, item: Item) -> None:
        super().__init__()
        self.detail = Detail(id="detail")
        self.journal = JournalBar(id="journal")
        self.hints = HintBar(id="hints")
        self.prompt: Widget | None = None
        self.kind, self.item = kind, item
        self.detail.styles.height = "1fr"

    def compose(self) -> ComposeResult:
        yield self.detail
        yield self.journal
        yield self.hints

    def on_mount(self) -> None:
        self.detail.text.focus()
        self.detail.show(self.kind, self.item)
        self.app.call_after_refresh(self.paint_hints)
        self.app.call_after_refresh(self.app.paint_journal)

    @property
    def text_view(self) -> TextView:
        """The text that text keys mean."""
        return self.detail.text

    @property
    def chain(self) -> tuple[Scope, ...]:
        """The scopes of the keys that work here."""
        return CHAINS["detail"]

    def on_resize(self) -> None:
        self.call_after_refresh(self.paint_hints)

    def prompt_closed(self) -> None:
        """The search line is gone: back to the text."""
        self.detail.text.focus()
        self.call_after_refresh(self.paint_hints)

    def paint_hints(self) -> None:
        """The hints row: the way back first."""
        if self.prompt is None:
            self.hints.hints([(self.app.keymap.first("global.quit"), "back"), *self.app.hint_pairs(self.chain)])
