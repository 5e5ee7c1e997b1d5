"""What the status row and the journal row say.

Owns the words and their order; reads the console, changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui.cells import width_of
from tui.journal import Entry
from tui.widgets.rows import Cell

if TYPE_CHECKING:
    from tui.app import Console
    from tui.glyphs import Glyphs

WORKING_AFTER = 0.2  # seconds until a job is shown as working
_LEVEL_TONES = {"done": "ok", "note": "info", "warn": "warn", "error": "bad"}


def status(console: Console) -> tuple[list[Cell], list[Cell]]:
    """Left and right end of the status row: host, counts, lock, filter; jobs, link."""
    snapshot = console.feed.snapshot
    running = sum(1 for row in snapshot.containers if row.state == "running")
    cells = [Cell(" pilothouse ", "key"), Cell(f" {console.host}", "text")]
    if snapshot.containers:
        cells.append(Cell(f"   {running} of {len(snapshot.containers)} up", "dim"))
    if console.locked:
        cells.append(Cell("   LOCK", "warn"))
    if console.feed.frozen:
        cells.append(Cell("   FROZEN", "warn"))
    filters = [pane.filter for pane in console.main.panes.values() if pane.filter]
    if filters:
        cells.append(Cell(f"   /{filters[0]}", "accent"))
    right: list[Cell] = []
    if console.jobs:
        right.append(Cell(f"{len(console.jobs)} job{'s' * (len(console.jobs) > 1)}   ", "accent"))
    if console.link_rate:
        right.append(Cell(f"terminal {console.link_rate} KB/s   ", "faint"))
    right.append(Cell(f"{console.keymap.first('find.help')} help ", "faint"))
    return cells, right


def journal(console: Console) -> tuple[list[Cell], list[Cell]]:
    """Left and right end of the journal row: what is being done, else the last entry."""
    slow = [job for job in console.jobs if job.seconds >= WORKING_AFTER]
    if slow:
        job = slow[-1]
        frames = console.glyphs.working
        waited = f" {job.seconds:.0f} s" if job.seconds >= 2 else ""
        more = f"  and {len(slow) - 1} more" if len(slow) > 1 else ""
        progress = f"  {job.progress}" if job.progress else ""
        key = console.keymap.first("global.cancel")
        return (
            [Cell(f" {frames[console.frame % len(frames)]} ", "accent"), Cell(f"{job.title}{console.glyphs.ellipsis}"),
             Cell(f"{waited}{progress}{more}", "dim")],
            [Cell(f"{key} cancels ", "faint")] if job.cancellable else [],
        )  # fmt: skip
    entry = console.journal.last
    if entry is None:
        return [Cell(" ", "dim")], []
    return entry_cells(entry, console.glyphs, console.size.width), []


def entry_cells(entry: Entry, glyphs: Glyphs, width: int) -> list[Cell]:
    """One journal entry as cells, an error so that its cause can be read in ``width`` cells."""
    glyph = {"done": glyphs.good, "error": glyphs.bad, "warn": glyphs.warn}.get(entry.level, glyphs.separator)
    cells = [Cell(f" {glyph} ", _LEVEL_TONES.get(entry.level, "text"))]
    error = entry.level == "error"
    text = shortened(entry.text, width - 3, glyphs.ellipsis) if error else entry.text
    cells.append(Cell(text, "bad" if error else "text"))
    if entry.detail and error and "\n" not in entry.detail:
        cells.append(Cell(f"; {entry.detail}", "dim"))
    if entry.command:
        cells.append(Cell(f"   {entry.command}", "faint"))
    return cells


def shortened(text: str, room: int, ellipsis: str) -> str:
    """``what: where: why`` in ``room`` cells: what was done and the cause stay, the clauses between give way."""
    first, *rest = text.split(": ")
    if width_of(text) <= room or len(rest) < 2:
        return text
    for dropped in range(1, len(rest)):
        shorter = ": ".join((first, ellipsis, *rest[dropped:]))
        if width_of(shorter) <= room or dropped == len(rest) - 1:
            return shorter
    return text
