"""Full-screen text: logs, inspect, help, the journal, the output of a command.

Owns the screen around a ``TextView``: title, journal row, hints, search. What stands in it is handed in, at once or in
pieces; subclasses say where it comes from.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from textual import events
from textual.app import ComposeResult
from textual.screen import Screen
from textual.widget import Widget

from tui.actions import CHAINS, Scope
from tui.widgets.bars import HintBar, JournalBar, PaneHead
from tui.widgets.rows import Cell
from tui.widgets.text import TextLine, TextView

if TYPE_CHECKING:
    from tui.app import Console


class TextScreen(Screen[None], inherit_bindings=False):
    """A title and a text."""

    CHAIN = "text"
    app: Console

    def __init__(
        self, title: str, lines: Iterable[TextLine] = (), *, following: bool = False, command: str = ""
    ) -> None:
        super().__init__()
        self.heading = title
        self.head = PaneHead()
        self.text = TextView(following=following)
        self.journal = JournalBar(id="journal")
        self.hints = HintBar(id="hints")
        self.prompt: Widget | None = None
        self.notes: Sequence[Cell] = (Cell(command, "faint"),) if command else ()
        self._first = list(lines)

    def compose(self) -> ComposeResult:
        yield self.head
        yield self.text
        yield self.journal
        yield self.hints

    def on_mount(self) -> None:
        self.bind_keys()
        self.text.set_lines(self._first)
        self.text.focus()
        self.paint_head()
        self.app.call_after_refresh(self.paint_hints)
        self.app.call_after_refresh(self.app.paint_journal)

    def bind_keys(self) -> None:
        """Take the keys of the active keymap."""
        scopes = [scope for scope in CHAINS[self.CHAIN] if scope is not Scope.GLOBAL]
        self.text._bindings = self.app.keymap.bindings(*scopes)

    @property
    def text_view(self) -> TextView:
        """The text that text keys mean."""
        return self.text

    @property
    def chain(self) -> tuple[Scope, ...]:
        """The scopes of the keys that work here."""
        return CHAINS[self.CHAIN]

    def on_resize(self, event: events.Resize) -> None:
        self.call_after_refresh(self.paint_hints)

    def on_text_view_painted(self, message: TextView.Painted) -> None:
        message.stop()
        self.paint_head()

    def prompt_closed(self) -> None:
        """The search line is gone: back to the text."""
        self.text.focus()
        self.call_after_refresh(self.paint_hints)

    def on_descendant_focus(self) -> None:
        self.paint_head()

    def paint_head(self) -> None:
        """The title row."""
        right: list[Cell] = []
        text = self.text
        if text.pattern:
            right.append(Cell(f"/{text.pattern}  ", "accent"))
        if text.dropped:
            right.append(Cell(f"{text.dropped:,} dropped  ", "warn"))
        if text.wrapping:
            right.append(Cell("wrapped  ", "dim"))
        if text.following:
            right.append(Cell("following  ", "ok"))
        right.append(Cell(f"{text.position()} ", "dim"))
        self.head.show(self.heading, self.notes, right, True)

    def paint_hints(self) -> None:
        """The hints row: the way back first."""
        if self.prompt is None:
            back = (self.app.keymap.first("global.quit"), "back")
            self.hints.hints([back, *self.app.hint_pairs(self.chain)])


class LogsScreen(TextScreen):
    """A container's output, following."""

    def __init__(self, name: str, container_id: str) -> None:
        super().__init__(f"logs {name}", following=True, command=f"pilothouse logs -f {name}")
        self.container_id = container_id

    def on_mount(self) -> None:
        from tui.logs import LogReader

        super().on_mount()
        self.text.empty = (Cell("no output yet", "faint"),)
        self.reader = LogReader(self.app.engine, self.container_id, lambda: self.call_later(self.arrived))
        self.reader.start()

    def on_unmount(self) -> None:
        self.reader.close()

    def arrived(self) -> None:
        """Lines are waiting in the reader."""
        lines = self.reader.take()
        self.text.dropped += self.reader.taken_drops
        self.text.append(lines)
        if self.reader.problem:
            self.text.empty = (Cell(self.reader.problem, "bad"),)
            self.text.refresh()
        if self.reader.finished:
            self.notes = (Cell("the container has ended: this is all of its output", "dim"),)
        self.paint_head()
