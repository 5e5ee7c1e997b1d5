"""A small form: labelled fields, checked while typing, with the equivalent command below.

Owns the screen. What the fields are, how they are checked and what is done with them is the caller's: the checks are
the engine's own parsers, so a form accepts exactly what the command line accepts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from engine.values import dataclass
from tui.actions import CHAINS, Scope
from tui.sanitize import plain
from tui.widgets.bars import HintBar
from tui.widgets.line import LineWidget, paint
from tui.widgets.rows import Cell

if TYPE_CHECKING:
    from textual.strip import Strip

    from tui.app import Console

Values = Mapping[str, str]


@dataclass(frozen=True)
class Field:
    """One field: ``check`` raises the engine's error, in its words, for a text that will not do."""

    id: str
    label: str
    placeholder: str = ""
    value: str = ""
    check: Callable[[str], object] | None = None
    required: bool = False


class FormInput(Input):
    """An input whose enter, tab, arrows and escape belong to the form."""

    DEFAULT_CSS = """
    FormInput, FormInput:focus {
        border: none; height: 1; padding: 0 1; width: 1fr; color: $foreground; background: $panel;
    }
    FormInput:focus { background: $primary 25%; }
    FormInput > .input--placeholder { color: $foreground 40%; }
    """

    def on_mount(self) -> None:
        own = self.app.keymap.bindings(*CHAINS["form"])  # type: ignore[attr-defined]
        merged = self._bindings.merge([self._bindings])
        merged.key_to_bindings.update(own.key_to_bindings)
        self._bindings = merged


class Note(LineWidget):
    """One line below the fields: what is wrong, or the equivalent command."""

    def __init__(self) -> None:
        super().__init__()
        self.cells: tuple[Cell, ...] = ()
        self.styles.height = 2

    def say(self, *cells: Cell) -> None:
        """Show this."""
        if cells != self.cells:
            self.cells = cells
            self.refresh()

    def render_line(self, y: int) -> Strip:
        from tui.cells import wrap

        width = self.size.width
        text = "".join(cell.text for cell in self.cells)
        pieces = wrap(text, width)
        if len(pieces) > 2:
            pieces = [pieces[0], pieces[1][: width - 1] + self.glyphs.ellipsis]
        piece = pieces[y] if y < len(pieces) else ""
        tone = self.cells[0].tone if self.cells else "dim"
        return paint(self.palette, (Cell(piece, tone),), width, "surface", self.glyphs.ellipsis)


class FormScreen(ModalScreen[dict[str, str]], inherit_bindings=False):
    """Fields one below the other."""

    CSS = """
    FormScreen { align: center middle; background: $background 60%; }
    #form { width: 84; max-width: 100%; height: auto; max-height: 100%; background: $surface; padding: 1 2 0 2; }
    #form .title { color: $foreground; text-style: bold; height: 2; }
    #form Horizontal { height: 1; }
    #form .label { width: 14; color: $foreground 70%; }
    #form .bad { color: $error; }
    #form Note { margin-top: 1; }
    #form HintBar { margin-top: 1; }
    """

    app: Console

    def __init__(
        self, title: str, fields: Sequence[Field], command: Callable[[Values], str], *, note: str = ""
    ) -> None:
        super().__init__()
        self.app.hold_keys()
        self.heading = title
        self.fields = tuple(fields)
        self.command = command
        self.note_text = note
        self.inputs: dict[str, FormInput] = {}
        self.labels: dict[str, Static] = {}
        self.note = Note()
        self.hints = HintBar()
        self.submitted = False

    def compose(self) -> ComposeResult:
        with Vertical(id="form"):
            yield Static(self.heading, classes="title", markup=False)
            for field in self.fields:
                with Horizontal():
                    label = Static(field.label, classes="label", markup=False)
                    entry = FormInput(
                        value=field.value, placeholder=field.placeholder, compact=True, select_on_focus=True
                    )
                    self.labels[field.id], self.inputs[field.id] = label, entry
                    yield label
                    yield entry
            yield self.note
            yield self.hints

    def on_mount(self) -> None:
        self.app.clear_notifications()  # a toast would cover the answers
        # Always the first field, even a prefilled one: what is typed blindly must not land in another. The prefilled
        # text is selected, so typing replaces it.
        self.set_focus(self.inputs[self.fields[0].id])
        self.app.release_keys()
        self.review()
        self.call_after_refresh(lambda: self.hints.hints(self.app.hint_pairs(CHAINS["form"])))

    @property
    def chain(self) -> tuple[Scope, ...]:
        """The scopes of the keys that work here."""
        return CHAINS["form"]

    @property
    def values(self) -> dict[str, str]:
        """What stands in the fields."""
        return {name: entry.value.strip() for name, entry in self.inputs.items()}

    def problems(self) -> dict[str, str]:
        """Field id → what is wrong with it, in the engine's words."""
        found: dict[str, str] = {}
        for field in self.fields:
            text = self.inputs[field.id].value.strip()
            if not text:
                if field.required:
                    found[field.id] = f"{field.label} is needed"
                continue
            if field.check is not None:
                try:
                    field.check(text)
                except Exception as error:
                    found[field.id] = plain(str(error), lines=False)
        return found

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self.review()

    def review(self) -> None:
        """Check the fields and say what is wrong, or what the form would do."""
        problems = self.problems()
        filled = {name: text for name, text in problems.items() if self.inputs[name].value.strip()}
        for name, label in self.labels.items():
            label.set_class(name in filled or (self.submitted and name in problems), "bad")
        shown = problems if self.submitted else filled
        if shown:
            self.note.say(Cell(f"{self.app.glyphs.bad} {next(iter(shown.values()))}", "bad"))
        else:
            self.note.say(Cell(self.command(self.values), "quiet"))

    def submit(self) -> None:
        """Leave with the values, if they will do."""
        self.submitted = True
        problems = self.problems()
        if problems:
            self.review()
            self.set_focus(self.inputs[next(iter(problems))])
        else:
            self.dismiss(self.values)

    def step(self, by: int) -> None:
        """The focus to the next or the previous field."""
        entries = list(self.inputs.values())
        index = entries.index(self.focused) if self.focused in entries else 0
        self.set_focus(entries[(index + by) % len(entries)])

    def cancel(self) -> None:
        """Leave without doing anything."""
        self.dismiss(None)
