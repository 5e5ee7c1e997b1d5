"""Rows and columns as data, and how columns share a width.

Pure: what a list shows, apart from how it is painted. A row is a tuple of cells, a cell is a text and a tone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Cell(NamedTuple):
    """One piece of text and the tone it is painted in."""

    text: str
    tone: str = "text"


class Row(NamedTuple):
    """One line of a list.

    ``key`` names the object and is unique in the list. With ``span`` True the cells flow one after the other over the
    whole line instead of standing in columns. ``selectable`` False: the cursor steps over it.
    """

    key: str
    cells: tuple[Cell, ...]
    span: bool = False
    selectable: bool = True


class Column(NamedTuple):
    """One column: ``width`` cells at least, and ``flex`` shares of what is left (0 fixed).

    ``rank`` 0 is always shown; where the width does not suffice the highest rank goes first. ``limit`` caps growth.
    """

    id: str
    title: str
    width: int
    flex: int = 0
    rank: int = 0
    align: str = "left"
    limit: int = 0


GAP = 1


def fit_columns(columns: Sequence[Column], width: int) -> list[tuple[int, int]]:
    """(index, width) of the columns shown in ``width`` cells, with one cell of gap between two of them."""
    kept = list(range(len(columns)))

    def needed() -> int:
        return sum(columns[index].width for index in kept) + GAP * (len(kept) - 1)

    while needed() > width:
        droppable = [index for index in kept if columns[index].rank > 0]
        if not droppable:
            break
        kept.remove(max(droppable, key=lambda index: (columns[index].rank, index)))
    widths = {index: columns[index].width for index in kept}
    spare = width - needed()
    growing = [index for index in kept if columns[index].flex]
    while spare > 0 and growing:
        shares = sum(columns[index].flex for index in growing)
        given = 0
        for index in list(growing):
            share = max(1, spare * columns[index].flex // shares)
            if columns[index].limit:
                share = min(share, columns[index].limit - widths[index])
            share = max(0, min(share, spare - given))
            widths[index] += share
            given += share
            if columns[index].limit and widths[index] >= columns[index].limit:
                growing.remove(index)
        if not given:
            break
        spare -= given
    while needed() > width and kept:  # even the columns that must stay do not fit: the widest gives way
        over = sum(widths.values()) + GAP * (len(kept) - 1) - width
        if over <= 0:
            break
        widest = max(kept, key=lambda index: widths[index])
        if widths[widest] <= 1:
            break
        widths[widest] = max(1, widths[widest] - over)
    return [(index, widths[index]) for index in kept]
