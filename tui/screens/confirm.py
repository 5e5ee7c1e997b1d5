"""The question before something is destroyed: what, which objects, and Cancel as the answer that enter gives."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.screen import ModalScreen

from tui.actions import CHAINS
from tui.cells import fit, shorten
from tui.sanitize import plain
from tui.widgets.line import LineWidget, paint
from tui.widgets.rows import Cell

if TYPE_CHECKING:
    from textual.strip import Strip

    from tui.app import Console

SHOWN = 10
TEXT_WIDTH = 50  # fits the dialog at 60 columns, the narrowest there is


class Question(LineWidget, can_focus=True, inherit_bindings=False):
    """The text and the two answers."""

    DEFAULT_CSS = "Question { width: 100%; height: auto; }"

    def __init__(self, lines: Sequence[tuple[str, str]], verb: str) -> None:
        super().__init__()
        self.lines = list(lines)
        self.verb = verb
        self.yes = False

    def get_content_height(self, *_: object) -> int:
        return len(self.lines) + 2

    def render_line(self, y: int) -> Strip:
        width, mark = self.size.width, self.glyphs.ellipsis
        if y < len(self.lines):
            text, tone = self.lines[y]
            return paint(self.palette, (Cell(fit(text, width, mark=mark), tone),), width, "surface", mark)
        if y == len(self.lines) + 1:
            keys = self.app.keymap  # type: ignore[attr-defined]
            left, right = (" ", self.glyphs.focus) if self.yes else (self.glyphs.focus, " ")
            cancel = f"{left} {keys.first('dialog.cancel')} cancel "
            accept = f"{right} {keys.first('dialog.accept')} {self.verb} "
            from textual.strip import Strip

            return Strip.join([
                paint(self.palette, (Cell(cancel),), len(cancel), "surface" if self.yes else "chip"),
                paint(self.palette, (Cell("  "),), 2, "surface"),
                paint(self.palette, (Cell(accept, "bad"),), len(accept), "chip" if self.yes else "surface"),
                paint(self.palette, (Cell(""),), max(0, width - len(cancel) - len(accept) - 2), "surface"),
            ])  # fmt: skip
        return paint(self.palette, (), width, "surface")


class ConfirmScreen(ModalScreen[bool], inherit_bindings=False):
    """Yes or, by default, no."""

    CSS = """
    ConfirmScreen { align: center middle; background: $background 60%; }
    #dialog { width: 64; max-width: 90%; height: auto; background: $surface; padding: 1 2; }
    """

    app: Console

    def __init__(self, verb: str, names: Sequence[str], warning: str) -> None:
        super().__init__()
        many = f"these {len(names)}" if len(names) != 1 else "this one"
        lines = [(f"{verb.capitalize()} {many}?", "title"), ("", "text")]
        lines += [(f"  {shorten(plain(name, lines=False), 56)}", "text") for name in names[:SHOWN]]
        if len(names) > SHOWN:
            lines.append((f"  and {len(names) - SHOWN} more", "dim"))
        words = plain(warning[:1].upper() + warning[1:], lines=False) + "."
        lines += [("", "text"), *((part, "dim") for part in textwrap.wrap(words, TEXT_WIDTH, break_on_hyphens=False))]
        self.question = Question(lines, verb)

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog"):
            yield self.question

    def on_mount(self) -> None:
        self.app.clear_notifications()  # a toast would cover the answers
        self.question._bindings = self.app.keymap.bindings(*CHAINS["dialog"])
        self.question.focus()

    def answer(self, yes: bool) -> None:
        """Leave with an answer."""
        self.dismiss(yes)

    def turn(self) -> None:
        """Highlight the other answer."""
        self.question.yes = not self.question.yes
        self.question.refresh()
