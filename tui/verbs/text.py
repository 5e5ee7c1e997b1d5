"""Switches of the text views: follow, wrap, times, matches, save."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from tui.widgets.text import TextView

if TYPE_CHECKING:
    from tui.app import Console


def _view(console: Console) -> TextView | None:
    view = getattr(console.screen, "text_view", None)
    return view if isinstance(view, TextView) else None


def follow(console: Console) -> None:
    if view := _view(console):
        view.set_following(not view.following)


def wrap(console: Console) -> None:
    if view := _view(console):
        view.set_wrapping(not view.wrapping)


def times(console: Console) -> None:
    if view := _view(console):
        view.set_times(not view.times)


def next_match(console: Console) -> None:
    if view := _view(console):
        view.next_match(1)


def previous_match(console: Console) -> None:
    if view := _view(console):
        view.next_match(-1)


def save(console: Console) -> None:
    """Write the text to a new file in the working directory; an existing file is never overwritten."""
    view = _view(console)
    if view is None:
        return
    title = getattr(console.screen, "heading", "") or "text"
    stem = "".join(character if character.isalnum() else "-" for character in title).strip("-") or "text"
    body = "".join(f"{line.time + ' ' if line.time else ''}{line.text}\n" for line in view.lines)
    for number in range(1, 1000):
        path = Path.cwd() / (f"{stem}.txt" if number == 1 else f"{stem}-{number}.txt")
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        except FileExistsError:
            continue
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(body)
        console.tell("done", f"saved {len(view.lines)} lines to {path}")
        return
