"""The detail panel: everything about the object under the cursor, in tabs.

Owns the tab row, the text below it and the loading of a tab in a thread (after the cursor has rested a moment). What a
tab says comes from ``tui.details``; the panel throws away answers that come too late.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.timer import Timer

from tui import details
from tui.actions import Scope
from tui.cells import shorten
from tui.widgets.bars import PaneHead
from tui.widgets.rows import Cell
from tui.widgets.text import TextLine, TextView

if TYPE_CHECKING:
    from tui.logs import LogReader
    from tui.panes.pane import Item

REST = 0.15  # seconds the cursor rests before anything is read


class Detail(Vertical, inherit_bindings=False):
    """Tabs about one object."""

    DEFAULT_CSS = "Detail { height: 100%; }"

    class Loaded(Message):
        """A tab's text has been read (in a thread)."""

        def __init__(self, generation: int, lines: list[TextLine], problem: str = "") -> None:
            super().__init__()
            self.generation = generation
            self.lines = lines
            self.problem = problem

    class Arrived(Message):
        """New log lines are waiting in the reader."""

        def __init__(self, generation: int) -> None:
            super().__init__()
            self.generation = generation

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.head = PaneHead()
        self.text = TextView()
        self.kind = ""
        self.item: Item | None = None
        self.tab = ""
        self.generation = 0
        self._shown: tuple[str, str, str, Any] = ("", "", "", None)
        self._resting: Timer | None = None
        self._reader: LogReader | None = None
        self._chosen: dict[str, str] = {}

    def compose(self) -> ComposeResult:
        yield self.head
        yield self.text

    def on_mount(self) -> None:
        self.bind_keys()
        self.paint_head()

    def bind_keys(self) -> None:
        """Take the keys of the active keymap."""
        self.text._bindings = self.app.keymap.bindings(Scope.DETAIL, Scope.TEXT, Scope.MOVE)  # type: ignore[attr-defined]

    def on_unmount(self) -> None:
        self._close_reader()

    # what is shown

    def show(self, kind: str, item: Item | None, *, tab: str = "") -> None:
        """Turn to another object, soon."""
        self.kind, self.item = kind, item
        tabs = details.tabs(kind)
        chosen = tab or self._chosen.get(kind, "")
        self.tab = chosen if chosen in tabs else (tabs[0] if tabs else "")
        if tab:
            self._chosen[kind] = tab
        self.paint_head()
        if self._resting is not None:
            self._resting.stop()
        if not self.display or not self.is_attached:
            return
        self._resting = self.set_timer(REST, self.load)

    def turn(self, step: int) -> None:
        """The next (1) or previous (-1) tab."""
        tabs = details.tabs(self.kind)
        if tabs:
            self.tab = tabs[(tabs.index(self.tab) + step) % len(tabs)]
            self._chosen[self.kind] = self.tab
            self.paint_head()
            self.load()

    def refresh_data(self, item: Item | None) -> None:
        """The object itself may have changed: read the tab again if it has."""
        if item is not None and self.item is not None and item.key == self.item.key:
            changed = details.marker(item.value) != details.marker(self.item.value)
            self.item = item
            if changed:
                self.load(force=True)

    def load(self, *, force: bool = False) -> None:
        """Read the tab in a thread."""
        item = self.item
        now = (self.kind, item.key if item else "", self.tab, None)
        if now == self._shown and not force:
            return
        same_place = now == self._shown
        self._shown = now
        if self.tab == "logs" and same_place and self._reader is not None and not self._reader.finished:
            return
        self.generation += 1
        generation = self.generation
        self._close_reader()
        if not same_place:
            self.text.clear()
            self.text.pattern = ""
        self.text.empty = (Cell("reading" + self.app.glyphs.ellipsis, "faint"),)  # type: ignore[attr-defined]
        if item is None or not self.tab:
            self.text.empty = (Cell("nothing is selected", "faint"),)
            self.text.refresh()
            return
        self.text.set_following(self.tab == "logs")
        if self.tab == "logs":
            from tui.logs import LogReader

            self.text.clear()
            self._reader = LogReader(
                self.app.engine,  # type: ignore[attr-defined]
                item.key,
                lambda: self.post_message(self.Arrived(generation)),
            )
            self._reader.start()
            return
        kind, tab = self.kind, self.tab

        def read() -> None:
            try:
                lines = details.load(self.app.engine, kind, item, tab)  # type: ignore[attr-defined]
                self.post_message(self.Loaded(generation, lines))
            except Exception as error:
                self.post_message(self.Loaded(generation, [], str(error) or type(error).__name__))

        threading.Thread(target=read, daemon=True, name="detail").start()

    def _close_reader(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def on_detail_loaded(self, message: Detail.Loaded) -> None:
        message.stop()
        if message.generation != self.generation:
            return
        self.text.empty = (Cell(message.problem or "empty", "bad" if message.problem else "faint"),)
        self.text.set_lines(message.lines)
        self.text.refresh()
        self.paint_head()

    def on_detail_arrived(self, message: Detail.Arrived) -> None:
        message.stop()
        if message.generation != self.generation or self._reader is None:
            return
        lines = self._reader.take()
        self.text.dropped += self._reader.taken_drops
        self.text.empty = (Cell(self._reader.problem or "no output yet", "bad" if self._reader.problem else "faint"),)
        self.text.append(lines)
        if not lines:
            self.text.refresh()
        self.paint_head()

    # painting

    def on_text_view_painted(self, message: TextView.Painted) -> None:
        message.stop()
        self.paint_head()

    def on_descendant_focus(self) -> None:
        self.paint_head()

    def on_descendant_blur(self) -> None:
        self.paint_head()

    def paint_head(self) -> None:
        """The title row: the object, the tabs, the position."""
        name = details.name(self.item.value) if self.item is not None else "detail"
        notes: list[Cell] = []
        for tab in details.tabs(self.kind):
            notes.append(Cell(f"[{tab}]" if tab == self.tab else f" {tab} ", "text" if tab == self.tab else "faint"))
        right: list[Cell] = []
        if self.text.dropped:
            right.append(Cell(f"{self.text.dropped:,} dropped ", "warn"))
        if self.text.following and self.tab == "logs":
            right.append(Cell("following ", "ok"))
        if self.text.lines:
            right.append(Cell(f"{self.text.position()} ", "dim"))
        mark: str = self.app.glyphs.ellipsis  # type: ignore[attr-defined]
        title = shorten(name, max(12, self.size.width // 3), mark=mark)
        self.head.show(title, notes, right, self.text.has_focus)
