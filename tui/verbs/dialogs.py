"""Answers: in a confirmation, a form, the palette and the prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tui.app import Console


def _call(console: Console, name: str, *arguments: object) -> None:
    method = getattr(console.screen, name, None)
    if method is not None:
        method(*arguments)


def accept(console: Console) -> None:
    _call(console, "answer", True)


def cancel(console: Console) -> None:
    from tui.screens.confirm import ConfirmScreen

    if isinstance(console.screen, ConfirmScreen):
        console.screen.answer(False)
    else:
        _call(console, "cancel")


def choose(console: Console) -> None:
    """The highlighted answer: Cancel, unless the operator has moved."""
    from tui.screens.confirm import ConfirmScreen

    if isinstance(console.screen, ConfirmScreen):
        console.screen.answer(console.screen.question.yes)


def other(console: Console) -> None:
    _call(console, "turn")


def submit(console: Console) -> None:
    _call(console, "submit")


def next_field(console: Console) -> None:
    _call(console, "step", 1)


def previous_field(console: Console) -> None:
    _call(console, "step", -1)


def _prompt(console: Console) -> object:
    return getattr(console.screen, "prompt", None)


def cancel_prompt(console: Console) -> None:
    prompt = _prompt(console)
    if prompt is not None:
        prompt.cancel()  # type: ignore[attr-defined]


def older(console: Console) -> None:
    prompt = _prompt(console)
    if prompt is not None:
        prompt.recall(-1)  # type: ignore[attr-defined]


def newer(console: Console) -> None:
    prompt = _prompt(console)
    if prompt is not None:
        prompt.recall(1)  # type: ignore[attr-defined]
