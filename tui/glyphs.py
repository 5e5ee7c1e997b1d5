"""The few symbols the console draws with, in Unicode and in ASCII.

Owns both sets and the choice between them (the locale's encoding decides). A symbol never carries meaning alone: the
word stands beside it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

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


def choose(*, ascii_only: bool = False, environment: Mapping[str, str] | None = None) -> Glyphs:
    """The set the terminal can show: ASCII when asked for, or when the operator's locale is not a UTF-8 one.

    A host that names no locale at all is taken for a bare one with a terminal of today.
    """
    given = _as_started() if environment is None else environment
    if ascii_only or given.get("TERM") == "dumb":
        return ASCII
    locale = next((given[name] for name in ("LC_ALL", "LC_CTYPE", "LANG") if given.get(name)), "")
    return UNICODE if not locale or "utf8" in locale.replace("-", "").lower() else ASCII


def _as_started() -> Mapping[str, str]:
    """The environment this process was started with: in the C locale Python turns its own copy, and the encoding that
    it reports, to UTF-8 (PEP 538, PEP 540).
    """
    try:
        with open("/proc/self/environ", "rb") as file:
            entries = os.fsdecode(file.read()).split("\0")
    except OSError:
        return os.environ
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)
