"""The text widget: logs, inspect, help, build output.

Owns a bounded buffer of lines, following, wrapping, sideways scrolling and searching, painted through the line API.
What does not fit in the buffer is dropped from its beginning and counted. Lines come in sanitised; no other markup.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from rich.segment import Segment
from textual import events
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui.cells import width_of, window, wrap
from tui.widgets.line import Painter, paint
from tui.widgets.rows import Cell

MAX_LINES = 20_000
_DROP_AT_ONCE = 2_000


class TextLine(NamedTuple):
    """One line: its text, its tone, and when it was written (shown on request)."""

    text: str
    tone: str = "text"
    time: str = ""


class TextView(Painter, ScrollView, can_focus=True, inherit_bindings=False):
    """Lines of text under scrolling keys."""

    DEFAULT_CSS = """
    TextView { height: 1fr; scrollbar-size-vertical: 0; scrollbar-size-horizontal: 0; }
    """

    class Painted(Message):
        """What a title shows (position, following, dropped lines) has changed."""

        def __init__(self, view: TextView) -> None:
            super().__init__()
            self.view = view

        @property
        def control(self) -> TextView:
            return self.view

    def __init__(self, *, id: str | None = None, following: bool = False, max_lines: int = MAX_LINES) -> None:
        super().__init__(id=id)
        self.lines: list[TextLine] = []
        self.dropped = 0
        self.following = following
        self.wrapping = False
        self.times = False
        self.pattern = ""
        self.max_lines = max_lines
        self.empty: tuple[Cell, ...] = ()
        self._pieces: list[tuple[int, str]] = []  # wrapped pieces: (line, text); empty while not wrapping
        self._widest = 0

    # content

    def set_lines(self, lines: Iterable[TextLine]) -> None:
        """Show exactly ``lines``; keeps the scroll position where it can."""
        fresh = list(lines)[-self.max_lines :]
        if fresh == self.lines:
            return
        self.lines = fresh
        self.dropped = 0
        self._measure()

    def clear(self) -> None:
        """Show nothing."""
        self.lines = []
        self.dropped = 0
        self._measure()
        self.scroll_to(0, 0, animate=False, immediate=True)

    def append(self, lines: Iterable[TextLine]) -> None:
        """Add ``lines`` at the end."""
        fresh = list(lines)
        if not fresh:
            return
        start = len(self.lines)
        self.lines.extend(fresh)
        if len(self.lines) > self.max_lines + _DROP_AT_ONCE:
            excess = len(self.lines) - self.max_lines
            del self.lines[:excess]
            self.dropped += excess
            offset = self.scroll_offset.y
            self._measure()
            if not self.following:
                self.scroll_to(y=max(0, offset - excess), animate=False, immediate=True)
            return
        if self.wrapping:
            for index in range(start, len(self.lines)):
                self._pieces.extend((index, piece) for piece in wrap(self._full(index), self._room()))
        else:
            self._widest = max(self._widest, *(width_of(line.text) + 13 * self.times for line in fresh))
        self._sized(first=self._height() - len(fresh) if not self.wrapping else 0)

    def _room(self) -> int:
        return max(1, self.size.width - 1)

    def _full(self, index: int) -> str:
        line = self.lines[index]
        return f"{line.time} {line.text}" if self.times and line.time else line.text

    def _height(self) -> int:
        return len(self._pieces) if self.wrapping else len(self.lines)

    def _measure(self) -> None:
        """Everything changed: wrap again, size again, paint again."""
        self._pieces = []
        if self.wrapping:
            room = self._room()
            self._pieces = [
                (index, piece) for index in range(len(self.lines)) for piece in wrap(self._full(index), room)
            ]
            self._widest = 0
        else:
            self._widest = max((width_of(self._full(index)) for index in range(len(self.lines))), default=0)
        self._sized(first=0)

    def _sized(self, *, first: int) -> None:
        self.virtual_size = Size(min(self._widest + 1, 10_000) if not self.wrapping else 0, self._height())
        if self.following:
            # Forced: until the next layout Textual takes a text that was short for one that cannot scroll.
            self.scroll_to(y=self._end(), animate=False, immediate=True, force=True)
        if first < self.scroll_offset.y + self.size.height:
            self.refresh()
        self.post_message(self.Painted(self))

    def _end(self) -> int:
        return max(0, self._height() - self.size.height)

    # moving

    def move_by(self, lines: int) -> None:
        """Scroll by ``lines``; scrolling up stops following, reaching the end does not start it."""
        target = max(0, min(self.scroll_offset.y + lines, self._end()))
        if lines < 0 and self.following and target < self._end():
            self.following = False
        self.scroll_to(y=target, animate=False, immediate=True)
        self.post_message(self.Painted(self))

    def page(self, share: float) -> None:
        """Scroll by ``share`` of the visible height."""
        self.move_by(int(share * max(1, self.size.height - 1)))

    def edge(self, *, end: bool) -> None:
        """Go to the first or the last line."""
        self.move_by(self._height() if end else -self._height())

    def sideways(self, cells: int) -> None:
        """Scroll right by ``cells`` (negative: left)."""
        limit = max(0, self._widest + 1 - self.size.width)
        self.scroll_to(x=max(0, min(self.scroll_offset.x + cells, limit)), animate=False, immediate=True)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.move_by(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.move_by(-3)

    # switches

    def set_following(self, on: bool) -> None:
        """Stay at the end as lines arrive, or not."""
        self.following = on
        if on:
            self.scroll_to(y=self._end(), animate=False, immediate=True)
        self.post_message(self.Painted(self))

    def set_wrapping(self, on: bool) -> None:
        """Wrap long lines, or let them run out to the right."""
        self.wrapping = on
        self.scroll_to(x=0, animate=False, immediate=True)
        self._measure()

    def set_times(self, on: bool) -> None:
        """Show when each line was written, or not."""
        self.times = on
        self._measure()

    def search(self, pattern: str) -> int:
        """Highlight ``pattern`` (case ignored) and go to its first match from here; returns how many lines match."""
        self.pattern = pattern.lower()
        self.refresh()
        if not self.pattern:
            return 0
        found = sum(1 for index in range(self._height()) if self.pattern in self._piece(index)[1].lower())
        if found:
            self.next_match(1, from_here=True)
        return found

    def next_match(self, step: int, *, from_here: bool = False) -> bool:
        """Scroll to the next (``step`` 1) or previous (-1) line that matches; False if there is none."""
        height = self._height()
        if not self.pattern or not height:
            return False
        start = self.scroll_offset.y + (0 if from_here else step)
        for distance in range(height):
            index = (start + distance * step) % height
            if self.pattern in self._piece(index)[1].lower():
                self.following = False
                self.scroll_to(y=min(index, self._end()), animate=False, immediate=True)
                self.post_message(self.Painted(self))
                return True
        return False

    # painting

    def on_resize(self, event: events.Resize) -> None:
        if self.wrapping:
            self._measure()
        # Textual clamps scrolling by the size it had before: once more when the new one is in force.
        self.call_after_refresh(self._stay)
        self.post_message(self.Painted(self))

    def _stay(self) -> None:
        """At the end, while following."""
        if self.following:
            self.scroll_to(y=self._end(), animate=False, immediate=True)
            self.post_message(self.Painted(self))

    def forget_strips(self) -> None:
        """Paint everything again: the colours or symbols changed."""
        self.refresh()

    def _piece(self, index: int) -> tuple[int, str]:
        return self._pieces[index] if self.wrapping else (index, self._full(index))

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        index = y + self.scroll_offset.y
        if index >= self._height():
            if not self.lines and y == 1 and self.empty:
                return paint(self.palette, (Cell("  "), *self.empty), width, mark=self.glyphs.ellipsis)
            return Strip.blank(width, self.palette.style("text"))
        number, text = self._piece(index)
        line = self.lines[number]
        left = self.scroll_offset.x if not self.wrapping else 0
        room = width - 1
        seen = window(text, left, room)
        cut = not self.wrapping and width_of(text) > left + room
        cells = [Cell(" ", line.tone)]
        if self.times and line.time and not left and seen.startswith(line.time):
            cells.append(Cell(line.time, "faint"))
            seen = seen[len(line.time) :]
        if cut:
            seen = window(seen, 0, width_of(seen) - 1)
        cells.append(Cell(seen, line.tone))
        if cut:
            cells.append(Cell(self.glyphs.ellipsis, "faint"))
        strip = paint(self.palette, cells, width, mark=self.glyphs.ellipsis)
        return self._highlight(strip) if self.pattern else strip

    def _highlight(self, strip: Strip) -> Strip:
        """``strip`` with the matches of the pattern in reverse video."""
        out: list[Segment] = []
        for segment in strip:
            text, lower, start = segment.text, segment.text.lower(), 0
            while len(lower) == len(text) and (at := lower.find(self.pattern, start)) >= 0:
                end = at + len(self.pattern)
                out.append(Segment(text[start:at], segment.style))
                out.append(Segment(text[at:end], self.palette.style("accent", "chip")))
                start = end
            out.append(Segment(text[start:], segment.style))
        return Strip([segment for segment in out if segment.text], strip.cell_length)

    def position(self) -> str:
        """Where the view stands, for a title: ``120-141/5,000``."""
        height = self._height()
        if height <= self.size.height:
            return f"{height} lines" if height != 1 else "1 line"
        top = self.scroll_offset.y
        return f"{top + 1}-{min(top + self.size.height, height)}/{height:,}"
