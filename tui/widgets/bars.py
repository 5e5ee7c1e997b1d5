"""The three fixed rows of the screen: status on top, journal and key hints at the bottom; and a pane's title.

Each paints itself and repaints only when what it says has changed. They know nothing of the engine.
"""

from __future__ import annotations

from collections.abc import Sequence

from textual.geometry import Region
from textual.strip import Strip

from tui.cells import width_of
from tui.widgets.line import LineWidget, paint, paint_sides
from tui.widgets.rows import Cell


class Bar(LineWidget):
    """One row with something at its left and something at its right."""

    DEFAULT_CSS = "Bar { height: 1; width: 100%; }"
    GROUND = "panel"

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.left: tuple[Cell, ...] = ()
        self.right: tuple[Cell, ...] = ()

    def show(self, left: Sequence[Cell], right: Sequence[Cell] = ()) -> None:
        """Say this; paints nothing when it says so already, and only the right end when only that differs."""
        left, right = tuple(left), tuple(right)
        if left == self.left and right == self.right:
            return
        old = sum(width_of(cell.text) for cell in self.right)
        new = sum(width_of(cell.text) for cell in right)
        fits = sum(width_of(cell.text) for cell in left) + max(old, new) <= self.size.width
        only_right = left == self.left and fits and new < self.size.width
        self.left, self.right = left, right
        if only_right:
            span = max(old, new)
            self.refresh(Region(self.size.width - span, 0, span, 1))
        else:
            self.refresh(Region(0, 0, max(1, self.size.width), 1))

    def render_line(self, y: int) -> Strip:
        if y:
            return Strip.blank(self.size.width, self.palette.style("text", self.GROUND))
        return paint_sides(self.palette, self.left, self.right, self.size.width, self.GROUND, self.glyphs.ellipsis)


class StatusBar(Bar):
    """Host, lock, filter, link rate, jobs."""


class JournalBar(Bar):
    """The last action or error, in words; while a job runs, what is being done."""

    GROUND = "surface"


class HintBar(Bar):
    """The keys that work here."""

    GROUND = "panel"
    pairs: Sequence[tuple[str, str]] = ()

    def on_resize(self) -> None:
        self.hints(self.pairs)

    def hints(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Show (key, title) pairs, as many as fit; the last pairs of the row are the first to go."""
        self.pairs = tuple(pairs)
        cells: list[Cell] = [Cell(" ", "key")]
        room = self.size.width - 1
        for key, title in pairs:
            size = width_of(key) + width_of(title) + 3
            if size - 2 > room:
                break
            cells += [Cell(key, "key"), Cell(f" {title}  ", "dim")]
            room -= size
        self.show(cells)


class PaneMark(LineWidget):
    """The right end of a title row, a widget of its own: Textual paints a row from the widget's left edge on, and this
    part changes with every cursor move.
    """

    DEFAULT_CSS = "PaneMark { layer: above; dock: right; height: 1; width: 1; }"

    def __init__(self) -> None:
        super().__init__()
        self.cells: tuple[Cell, ...] = ()
        self.taken = 1

    def show(self, cells: Sequence[Cell]) -> None:
        """Say this."""
        cells = tuple(cells)
        if cells == self.cells:
            return
        self.cells = cells
        size = max(1, sum(width_of(cell.text) for cell in cells))
        if size != self.taken:
            self.taken = size
            self.styles.width = size
        self.refresh()

    def render_line(self, y: int) -> Strip:
        return paint(self.palette, self.cells, self.size.width, "panel", self.glyphs.ellipsis)


class PaneHead(LineWidget):
    """A pane's title row and, below it where there is room, its column titles."""

    DEFAULT_CSS = "PaneHead { height: 1; width: 100%; } PaneHead.-tall { height: 2; }"

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.chip = ""
        self.notes: tuple[Cell, ...] = ()
        self.right: tuple[Cell, ...] = ()
        self.columns: tuple[Cell, ...] = ()
        self.focused_pane = False

    def show(self, chip: str, notes: Sequence[Cell], right: Sequence[Cell], focused: bool) -> None:
        """Set the title; repaints the row only if something differs, and only its end if only that does."""
        notes, right = tuple(notes), tuple(right)
        same_left = (chip, notes, focused) == (self.chip, self.notes, self.focused_pane)
        if same_left and right == self.right:
            return
        span = max(sum(width_of(cell.text) for cell in side) for side in (self.right, right))
        self.chip, self.notes, self.right, self.focused_pane = chip, notes, right, focused
        if same_left and span < self.size.width:
            self.refresh(Region(self.size.width - span, 0, span, 1))
        else:
            self.refresh(Region(0, 0, max(1, self.size.width), 1))

    def show_columns(self, cells: Sequence[Cell]) -> None:
        """Set the column titles."""
        if tuple(cells) != self.columns:
            self.columns = tuple(cells)
            self.refresh(Region(0, 1, max(1, self.size.width), 1))

    def render_line(self, y: int) -> Strip:
        width, palette, glyphs = self.size.width, self.palette, self.glyphs
        if y == 1:
            return paint(palette, self.columns, width, "base", glyphs.ellipsis)
        if y > 1:
            return Strip.blank(width, palette.style("text"))
        chip_text = f"{glyphs.focus if self.focused_pane else ' '}{self.chip} "
        ground = "chip" if self.focused_pane else "panel"
        chip = paint(palette, (Cell(chip_text, "title"),), min(width, width_of(chip_text)), ground, glyphs.ellipsis)
        room = max(0, width - chip.cell_length)
        rest = paint_sides(palette, (Cell(" "), *self.notes), self.right, room, "panel", glyphs.ellipsis)
        return Strip.join([chip, rest])
