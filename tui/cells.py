"""Text measured in terminal cells: fitted, padded and joined without ever cutting silently.

Pure functions. East Asian and emoji characters take two cells; a text that does not fit ends in the mark it is given.
"""

from __future__ import annotations

from rich.cells import cell_len, chop_cells, set_cell_size


def width_of(text: str) -> int:
    """Cells that ``text`` takes on a terminal."""
    return len(text) if text.isascii() else cell_len(text)


def fit(text: str, width: int, *, align: str = "left", mark: str = "…") -> str:
    """``text`` in exactly ``width`` cells: padded (``align`` is left or right), or cut and ended with ``mark``."""
    if width <= 0:
        return ""
    size = width_of(text)
    if size > width:
        return mark[:1] if width == 1 else set_cell_size(text, width - 1) + mark
    if size == width:
        return text
    return " " * (width - size) + text if align == "right" else text + " " * (width - size)


def shorten(text: str, width: int, *, mark: str = "…") -> str:
    """``text`` in at most ``width`` cells, ended with ``mark`` when something had to go."""
    return text if width_of(text) <= width else fit(text, width, mark=mark)


def wrap(text: str, width: int) -> list[str]:
    """``text`` chopped into lines of at most ``width`` cells; at least one line."""
    if width <= 0 or width_of(text) <= width:
        return [text]
    return chop_cells(text, width)


def window(text: str, start: int, width: int) -> str:
    """The part of ``text`` in ``width`` cells from cell ``start``; halves of wide characters become spaces."""
    if text.isascii():
        return text[start : start + width]
    out: list[str] = []
    position = 0
    for character in text:
        size = cell_len(character)
        if position >= start + width:
            break
        if position >= start and position + size <= start + width:
            out.append(character)
        elif position + size > start:
            out.append(" " * (min(position + size, start + width) - max(position, start)))
        position += size
    return "".join(out)
