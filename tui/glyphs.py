"""The few symbols the console draws with, in Unicode and in ASCII.

Owns both sets and the choice between them (the locale's encoding decides). A symbol never carries meaning alone: the
word stands beside it.
"""

from __future__ import annotations

import locale
import os

from engine.values import dataclass


@dataclass(frozen=True)
class Glyphs:
    """One symbol set; every field is exactly one cell wide unless its name says otherwise."""

    running: str = "▶"
    paused: str = "‖"
    exited: str = "■"
    created: str = "○"
    restarting: str = "↻"
    dead: str = "✗"
    good: str = "✓"
    bad: str = "✗"
    warn: str = "!"
    working: str = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"  # frames
    cursor: str = "▌"
    mark: str = "●"
    cursor_mark: str = "◉"
    focus: str = "▸"
    ellipsis: str = "…"
    separator: str = "·"
    rule: str = "─"
    branch: str = "├"
    last_branch: str = "└"
    vertical: str = "│"
    arrow: str = "→"
    link: str = "─"
    bridge: str = "▐"
    open_fold: str = "▾"
    closed_fold: str = "▸"
    bar: str = " ▏▎▍▌▋▊▉█"  # ninths of a cell
    up: str = "▲"
    down: str = "▼"


UNICODE = Glyphs()
ASCII = Glyphs(
    running=">",
    paused="=",
    exited="-",
    created="o",
    restarting="@",
    dead="x",
    good="+",
    bad="x",
    warn="!",
    working="|/-\\",
    cursor=">",
    mark="*",
    cursor_mark="#",
    focus=">",
    ellipsis="~",
    separator="|",
    rule="-",
    branch="+",
    last_branch="`",
    vertical="|",
    arrow=">",
    link="-",
    bridge="#",
    open_fold="-",
    closed_fold="+",
    bar=" ..::==##",
    up="^",
    down="v",
)


def choose(*, ascii_only: bool = False) -> Glyphs:
    """The set the terminal can show: ASCII when asked for, or when the locale's encoding is not UTF-8."""
    if ascii_only or os.environ.get("TERM") == "dumb":
        return ASCII
    encoding = (locale.getpreferredencoding(False) or "").replace("-", "").lower()
    return UNICODE if encoding == "utf8" else ASCII
