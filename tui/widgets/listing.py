"""The list widget: one object per line, painted through the line API.

Owns cursor, marks, scrolling and the strips of the visible lines. Knows nothing of containers: a pane gives it columns
and rows. New rows are compared with the old line by line and only lines that differ are painted again; a cursor move
paints two lines.
"""

from __future__ import annotations

from collections.abc import Sequence

from textual import events
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui.cells import fit
from tui.widgets.line import Painter, paint
from tui.widgets.rows import GAP, Cell, Column, Row, fit_columns


class Listing(Painter, ScrollView, can_focus=True, inherit_bindings=False):
    """Rows under a cursor.

    The first cell of every line is the widget's own: cursor and mark. ``empty`` is shown when there are no rows.
    """

    DEFAULT_CSS = """
    Listing { height: 1fr; scrollbar-size-vertical: 0; scrollbar-size-horizontal: 0; overflow-x: hidden; }
    """

    class Moved(Message):
        """The cursor stands on another object."""

        def __init__(self, listing: Listing, key: str | None) -> None:
            super().__init__()
            self.listing = listing
            self.key = key

        @property
        def control(self) -> Listing:
            return self.listing

    class Opened(Message):
        """A line was clicked twice."""

        def __init__(self, listing: Listing) -> None:
            super().__init__()
            self.listing = listing

        @property
        def control(self) -> Listing:
            return self.listing

    class Painted(Message):
        """What the title shows (position, count, marks) has changed."""

        def __init__(self, listing: Listing) -> None:
            super().__init__()
            self.listing = listing

        @property
        def control(self) -> Listing:
            return self.listing

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.columns: tuple[Column, ...] = ()
        self.rows: tuple[Row, ...] = ()
        self.cursor = 0
        self.marks: set[str] = set()
        self.empty: tuple[Cell, ...] = ()
        self.layout_now: list[tuple[int, int]] = []
        self._strips: dict[int, tuple[Row, int, int, Strip]] = {}

    # content

    @property
    def current(self) -> Row | None:
        """The row under the cursor."""
        return self.rows[self.cursor] if 0 <= self.cursor < len(self.rows) else None

    def set_columns(self, columns: Sequence[Column]) -> None:
        """Show ``columns``; paints everything again only if they are others than before."""
        if tuple(columns) != self.columns:
            self.columns = tuple(columns)
            self._lay_out()

    def set_rows(self, rows: Sequence[Row]) -> None:
        """Show ``rows``; the cursor stays on its object, and only lines that changed are painted."""
        old, old_cursor = self.rows, self.cursor
        key = self.current.key if self.current else None
        self.rows = tuple(rows)
        if len(old) != len(self.rows):
            self.virtual_size = Size(0, len(self.rows))
        if key is not None and not (old_cursor < len(self.rows) and self.rows[old_cursor].key == key):
            where = next((index for index, row in enumerate(self.rows) if row.key == key), None)
            self.cursor = where if where is not None else min(old_cursor, max(0, len(self.rows) - 1))
        self.cursor = self._selectable(min(self.cursor, max(0, len(self.rows) - 1)), 1)
        if self.marks:
            self.marks &= {row.key for row in self.rows}
        top, bottom = self.scroll_offset.y, self.scroll_offset.y + self.size.height
        if not old or not self.rows:
            self.refresh()
        else:
            for index in range(top, min(bottom, max(len(old), len(self.rows)))):
                before = old[index] if index < len(old) else None
                after = self.rows[index] if index < len(self.rows) else None
                if before != after or (index in (old_cursor, self.cursor) and old_cursor != self.cursor):
                    self.refresh_line(index)
        if self.cursor != old_cursor:
            self._reveal()
        now = self.current.key if self.current else None
        if now != key:
            self.post_message(self.Moved(self, now))
        if len(old) != len(self.rows):
            self.post_message(self.Painted(self))

    # cursor

    def _selectable(self, index: int, step: int) -> int:
        """The nearest selectable line from ``index`` in the direction of ``step``, else the other way, else itself."""
        for direction in (step, -step):
            candidate = index
            while 0 <= candidate < len(self.rows):
                if self.rows[candidate].selectable:
                    return candidate
                candidate += direction
        return index

    def move_to(self, index: int, *, step: int = 1) -> None:
        """Put the cursor on a line and bring it into view."""
        if not self.rows:
            return
        index = self._selectable(max(0, min(index, len(self.rows) - 1)), step)
        if index == self.cursor:
            self._reveal()
            return
        before, self.cursor = self.cursor, index
        self.refresh_line(before)
        self.refresh_line(index)
        self._reveal()
        self.post_message(self.Moved(self, self.rows[index].key))
        self.post_message(self.Painted(self))

    def move_by(self, lines: int) -> None:
        """Move the cursor by ``lines``."""
        self.move_to(self.cursor + lines, step=1 if lines > 0 else -1)

    def move_to_key(self, key: str) -> bool:
        """Put the cursor on the row called ``key``; False if there is none."""
        for index, row in enumerate(self.rows):
            if row.key == key:
                self.move_to(index)
                return True
        return False

    def _reveal(self) -> None:
        """Scroll so that the cursor is in view; headings right above the first selectable line show too."""
        height = self.size.height
        if height <= 0:
            return
        top = self.scroll_offset.y
        first = self.cursor
        while first > 0 and not self.rows[first - 1].selectable and self.cursor - first < height - 1:
            first -= 1
        if first < top:
            self.scroll_to(y=first, animate=False, immediate=True)
        elif self.cursor >= top + height:
            self.scroll_to(y=self.cursor - height + 1, animate=False, immediate=True)

    def page(self, share: float) -> None:
        """Move by ``share`` of the visible height; 1.0 is a page down."""
        lines = max(1, int(abs(share) * max(1, self.size.height - 1)))
        self.move_by(lines if share > 0 else -lines)

    def edge(self, *, end: bool) -> None:
        """Go to the first or the last line."""
        self.move_to(len(self.rows) - 1 if end else 0, step=-1 if end else 1)

    def toggle_mark(self) -> None:
        """Mark or unmark the line under the cursor and step on."""
        if self.current and self.current.selectable:
            self.marks ^= {self.current.key}
            self.refresh_line(self.cursor)
            self.move_by(1)
            self.post_message(self.Painted(self))

    def set_marks(self, keys: set[str]) -> None:
        """Mark exactly ``keys``."""
        self.marks = {row.key for row in self.rows if row.key in keys and row.selectable}
        self.refresh()
        self.post_message(self.Painted(self))

    # painting

    def _lay_out(self) -> None:
        self.layout_now = fit_columns(self.columns, max(1, self.size.width - 2)) if self.columns else []
        self._strips.clear()
        self.refresh()
        self.post_message(self.Painted(self))

    def on_resize(self, event: events.Resize) -> None:
        self._lay_out()
        self._reveal()

    def on_mouse_down(self, event: events.MouseDown) -> None:
        self.move_to(self.scroll_offset.y + int(event.y))

    def on_click(self, event: events.Click) -> None:
        if event.chain == 2:
            self.post_message(self.Opened(self))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.move_by(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.move_by(-3)

    def on_focus(self) -> None:
        self._repaint_cursor()

    def on_blur(self) -> None:
        self._repaint_cursor()

    def _repaint_cursor(self) -> None:
        if self.rows:
            self.refresh_line(self.cursor)
        self.post_message(self.Painted(self))

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._strips.clear()

    def forget_strips(self) -> None:
        """Paint everything again: the colours or symbols changed."""
        self._strips.clear()
        self.refresh()

    def refresh_line(self, y: int) -> None:
        """Paint one line of the content again."""
        self.refresh(Region(0, y - self.scroll_offset.y, self.size.width, 1))

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        index = y + self.scroll_offset.y
        if index >= len(self.rows):
            if not self.rows and y == 1 and self.empty:
                return paint(self.palette, (Cell("  "), *self.empty), width, mark=self.glyphs.ellipsis)
            return Strip.blank(width, self.palette.style("text"))
        row = self.rows[index]
        here = index == self.cursor
        state = (2 if self.has_focus else 1) if here else 0
        state += 4 if row.key in self.marks else 0
        cached = self._strips.get(index)
        if cached is not None and cached[0] == row and cached[1] == state and cached[2] == width:
            return cached[3]
        strip = self._paint_row(row, state, width)
        if len(self._strips) > 2000:
            self._strips.clear()
        self._strips[index] = (row, state, width, strip)
        return strip

    def _paint_row(self, row: Row, state: int, width: int) -> Strip:
        glyphs = self.glyphs
        focused, marked = state & 3, bool(state & 4)
        ground = ("base", "cursor_idle", "cursor")[focused] if row.selectable else "base"
        if marked:
            lead = Cell(glyphs.cursor_mark if focused == 2 else glyphs.mark, "accent")
        elif focused == 2 and row.selectable:
            lead = Cell(glyphs.cursor, "info")
        else:
            lead = Cell(" ", row.cells[0].tone if row.cells else "text")
        cells = [lead]
        if row.span or not self.layout_now:
            cells.extend(row.cells)
        else:
            for position, (index, size) in enumerate(self.layout_now):
                if position:
                    cells.append(Cell(" " * GAP, cells[-1].tone))
                cell = row.cells[index] if index < len(row.cells) else Cell("")
                align = self.columns[index].align
                cells.append(Cell(fit(cell.text, size, align=align, mark=glyphs.ellipsis), cell.tone))
        if focused == 2 and row.selectable:
            # On the cursor line quiet tones rise to plain text: readable on the cursor's ground, and fewer bytes.
            cells = [Cell(cell.text, "text" if cell.tone in ("dim", "faint") else cell.tone) for cell in cells]
        return paint(self.palette, cells, width, ground, glyphs.ellipsis)

    def heading(self) -> list[Cell]:
        """The column titles, as wide as the columns."""
        cells = [Cell(" ", "faint")]
        for position, (index, size) in enumerate(self.layout_now):
            column = self.columns[index]
            text = fit(column.title, size, align=column.align, mark=self.glyphs.ellipsis)
            cells.append(Cell((" " * GAP if position else "") + text, "faint"))
        return cells
