"""A build under way: its steps above, what the running step prints below.

Owns the screen. The build itself is a job of the console: leaving the screen does not stop it, the key that opens the
build form brings the screen back.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from textual.app import ComposeResult

from engine.values import dataclass
from tui.actions import CHAINS, Scope
from tui.sanitize import plain
from tui.screens.text import TextScreen
from tui.widgets.listing import Listing
from tui.widgets.rows import Cell, Column, Row
from tui.widgets.text import TextLine

if TYPE_CHECKING:
    from engine.build.events import BuildEvent
    from tui.app import Console
    from tui.jobs import Job


@dataclass
class Step:
    """One step of the build as the screen knows it; ``state`` is running, done, cached or failed."""

    number: int
    text: str
    state: str = "running"
    seconds: float = 0.0
    started: float = 0.0


class BuildScreen(TextScreen):
    """Steps and output."""

    CHAIN = "build"
    CSS = """
    #steps { height: auto; max-height: 45%; }
    """

    def __init__(self, title: str, command: str) -> None:
        super().__init__(title, following=True, command=command)
        self.steps: dict[int, Step] = {}
        self.total = 0
        self.job: Job | None = None
        self.outcome = ""
        self.steps_list = Listing(id="steps")
        self.steps_list.can_focus = False
        self.steps_list.set_columns((
            Column("state", "", 9), Column("step", "", 7, align="right"), Column("text", "", 20, flex=1),
            Column("time", "", 7, align="right"),
        ))  # fmt: skip
        self._owner: Console = self.app  # for the build's thread, where no application is the active one
        self._waiting: deque[Any] = deque(maxlen=5_000)
        self._nudged = threading.Event()

    def compose(self) -> ComposeResult:
        yield self.head
        yield self.steps_list
        yield self.text
        yield self.journal
        yield self.hints

    def on_mount(self) -> None:
        super().on_mount()
        self.text.empty = (Cell("waiting for the first step", "faint"),)
        self.set_interval(0.5, self._tick)

    @property
    def tells(self) -> str:
        """The job whose failure is told here: no toast may hide its words."""
        return self.job.title if self.job is not None else ""

    @property
    def chain(self) -> tuple[Scope, ...]:
        """While it builds the build's own keys; then those of any text, for there is nothing left to cancel."""
        return CHAINS["text" if self.outcome else self.CHAIN]

    # events, from the build's thread

    def report(self, event: BuildEvent) -> None:
        """Called by the builder in its thread."""
        self._waiting.append(event)
        if not self._nudged.is_set():
            self._nudged.set()
            self._owner.call_later(self.arrived)

    def arrived(self) -> None:
        """Show what has come since the last time."""
        self._nudged.clear()
        lines: list[TextLine] = []
        while self._waiting:
            event = self._waiting.popleft()
            text = plain(event.text).expandtabs()
            if event.kind == "output":
                lines += [TextLine(line) for line in text.splitlines()]
                continue
            self.total = max(self.total, event.total)
            if event.kind == "step":
                self._close_running()
                self.steps[event.step] = Step(event.step, text.replace("\n", " "), started=time.monotonic())
                lines.append(TextLine(f"step {event.step}/{event.total}  {text}".replace("\n", " "), "key"))
            elif event.kind == "cached":
                self.steps[event.step] = Step(event.step, self._text(event.step), "cached")
            elif event.kind == "done":
                self._close_running()
            elif event.kind == "warning":
                lines += [TextLine(line, "warn") for line in text.splitlines()]
            elif event.kind == "error" and event.step in self.steps:
                self.steps[event.step].state = "failed"  # its words come with the end of the build
        self.text.append(lines)
        self.paint_steps()
        self.paint_head()

    def _text(self, number: int) -> str:
        return self.steps[number].text if number in self.steps else ""

    def _close_running(self) -> None:
        for step in self.steps.values():
            if step.state == "running":
                step.state = "done"
                step.seconds = time.monotonic() - step.started

    def ended(self, outcome: str, lines: list[TextLine], *, good: bool) -> None:
        """The build is over, one way or the other."""
        self.arrived()
        for step in self.steps.values():
            if step.state == "running":
                step.state = "done" if good else "failed"
                step.seconds = step.seconds or time.monotonic() - step.started
        self.outcome = outcome
        self.text.append([TextLine(""), *lines])
        self.notes = (Cell(outcome, "ok" if good else "bad"),)
        self.paint_steps()
        self.paint_head()
        self.paint_hints()

    # painting

    def _tick(self) -> None:
        if not self.outcome and self.is_current:
            self.paint_steps()

    def paint_steps(self) -> None:
        """The list of steps, the running one in view."""
        rows = [self._row(self.steps[number]) for number in sorted(self.steps)]
        self.steps_list.set_rows(rows)
        if rows:
            self.steps_list.move_to(len(rows) - 1)

    def _row(self, step: Step) -> Row:
        glyphs = self.app.glyphs
        looks = {
            "running": (glyphs.running, "accent"), "done": (glyphs.good, "ok"), "cached": (glyphs.good, "info"),
            "failed": (glyphs.bad, "bad"),
        }  # fmt: skip
        glyph, tone = looks[step.state]
        seconds = step.seconds or (time.monotonic() - step.started if step.state == "running" else 0.0)
        return Row(
            str(step.number),
            (
                Cell(f"{glyph} {step.state}", tone),
                Cell(f"{step.number}/{self.total}", "dim"),
                Cell(step.text, "text" if step.state == "running" else "dim"),
                Cell(f"{seconds:.1f} s" if seconds >= 0.05 else "", "dim"),
            ),
        )
