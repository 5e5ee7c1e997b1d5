"""The line at the bottom in which a filter, a search or a command is typed.

Owns the input, its history and its label. Tells the screen's verbs what was typed; does nothing with it.
"""

from __future__ import annotations

from collections.abc import Callable

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Input, Static

from tui.actions import Scope


class PromptInput(Input):
    """An input whose escape, ctrl+c and arrows belong to the prompt."""

    DEFAULT_CSS = """
    PromptInput, PromptInput:focus { border: none; height: 1; padding: 0; background: $panel; color: $foreground; }
    """

    def on_mount(self) -> None:
        self._bindings = self._bindings.merge([self._bindings])
        own = self.app.keymap.bindings(Scope.PROMPT)  # type: ignore[attr-defined]
        self._bindings.key_to_bindings.update(own.key_to_bindings)
        for key in ("tab", "shift+tab"):
            self._bindings.key_to_bindings.pop(key, None)


class Prompt(Horizontal):
    """``/`` or ``:`` and what follows it."""

    DEFAULT_CSS = """
    Prompt { height: 1; width: 100%; background: $panel; }
    Prompt > Static { width: auto; color: $primary; text-style: bold; padding: 0 0 0 1; }
    Prompt > PromptInput { width: 1fr; }
    """

    def __init__(
        self,
        label: str,
        *,
        value: str = "",
        history: list[str] | None = None,
        changed: Callable[[str], None] | None = None,
        done: Callable[[str], None],
        left: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(id="prompt")
        self.label = label
        self.input = PromptInput(value=value, compact=True, select_on_focus=False)
        self.history = history if history is not None else []
        self._place = len(self.history)
        self._changed, self._done, self._left = changed, done, left

    def compose(self) -> ComposeResult:
        yield Static(self.label, markup=False)
        yield self.input

    def on_mount(self) -> None:
        self.screen.set_focus(self.input, scroll_visible=False)
        self.input.cursor_position = len(self.input.value)
        self.app.release_keys()  # type: ignore[attr-defined]

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        if self._changed is not None:
            self._changed(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        text = event.value.strip()
        if text and (not self.history or self.history[-1] != text):
            self.history.append(text)
        self.close()
        self._done(text)

    def recall(self, step: int) -> None:
        """An older (-1) or newer (1) line of the history."""
        if not self.history:
            return
        self._place = max(0, min(self._place + step, len(self.history)))
        self.input.value = self.history[self._place] if self._place < len(self.history) else ""
        self.input.cursor_position = len(self.input.value)

    def cancel(self) -> None:
        """Leave without doing anything."""
        self.close()
        if self._left is not None:
            self._left()

    def close(self) -> None:
        """Go away and give the row back to the hints."""
        screen = self.screen
        screen.prompt = None  # type: ignore[attr-defined]
        self.remove()
        hints = screen.query("#hints")
        for row in hints:
            row.display = True
        restore = getattr(screen, "prompt_closed", None)
        if restore is not None:
            restore()
