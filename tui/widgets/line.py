"""The base of every one-line and line-by-line widget: tones to strips.

Owns turning cells into Textual strips, with as few style changes as possible (each costs some 40 bytes on the wire).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.segment import Segment
from textual.strip import Strip
from textual.widget import Widget

from tui.cells import shorten, width_of
from tui.widgets.rows import Cell

if TYPE_CHECKING:
    from textual.app import App

    from tui.glyphs import Glyphs
    from tui.theme import Palette


def paint(palette: Palette, cells: Iterable[Cell], width: int, ground: str = "base", mark: str = "…") -> Strip:
    """``cells`` one after the other in exactly ``width`` cells; neighbours of one tone become one segment."""
    segments: list[Segment] = []
    left = width
    pending, tone = "", ""
    for cell in cells:
        if left <= 0:
            break
        text = shorten(cell.text, left, mark=mark)
        if not text:
            continue
        left -= width_of(text)
        # Spaces show no foreground: they join whatever stands before them.
        if cell.tone == tone or (pending and text.isspace()):
            pending += text
        else:
            if pending:
                segments.append(Segment(pending, palette.style(tone, ground)))
            pending, tone = text, cell.tone
    if left > 0:
        pending, tone = pending + " " * left, tone or "text"
    if pending:
        segments.append(Segment(pending, palette.style(tone, ground)))
    return Strip(segments, width)


def paint_sides(
    palette: Palette, left: Sequence[Cell], right: Sequence[Cell], width: int, ground: str = "base", mark: str = "…"
) -> Strip:
    """``left`` and ``right`` at the two ends of ``width`` cells; where they meet, the left gives way."""
    reserved = sum(width_of(cell.text) for cell in right)
    if reserved >= width:
        return paint(palette, left, width, ground, mark)
    room = width - reserved
    used = sum(width_of(cell.text) for cell in left)
    if used >= room > 1 and used and reserved:
        cells: list[Cell] = []
        rest = room - 1
        for cell in left:
            text = shorten(cell.text, rest, mark=mark) if rest > 0 else ""
            if text:
                cells.append(Cell(text, cell.tone))
                rest -= width_of(text)
        return paint(palette, [*cells, Cell(" " * (rest + 1)), *right], width, ground, mark)
    return paint(palette, [*left, Cell(" " * (room - used)), *right], width, ground, mark)


class Painter:
    """What a widget needs to paint in the tones of the app's palette; mixed into Textual widgets."""

    app: App[object]

    @property
    def palette(self) -> Palette:
        """The colours in use."""
        return self.app.palette  # type: ignore[attr-defined,no-any-return]

    @property
    def glyphs(self) -> Glyphs:
        """The symbols in use."""
        return self.app.glyphs  # type: ignore[attr-defined,no-any-return]


class LineWidget(Painter, Widget):
    """A one-line widget that paints itself."""

    DEFAULT_CSS = "LineWidget { height: 1; width: 100%; }"
