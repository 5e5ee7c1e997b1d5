"""``--chmod``: octal and symbolic modes.

Owns chmod(1)'s symbolic language as COPY and ADD take it. Pure.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Callable

from engine.build.arguments import ArgumentError

_CLAUSE = re.compile(r"([ugoa]*)((?:[-+=](?:[rwxXst]*|[ugo]))+)\Z")
_ACTION = re.compile(r"([-+=])([ugo](?![rwxXst])|[rwxXst]*)")
_WHO = {"u": 0o4700, "g": 0o2070, "o": 0o1007}
_BITS = {"r": 0o444, "w": 0o222, "x": 0o111}

Change = Callable[[int], int]


def parse(text: str) -> Change:
    """A function from a whole st_mode to the new permission bits; raises ArgumentError in docker's words."""
    if re.fullmatch(r"[0-9]+", text):
        if not re.fullmatch(r"[0-7]+", text) or int(text, 8) > 0o7777:
            raise ArgumentError(f"invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777")
        fixed = int(text, 8)
        return lambda mode: fixed
    clauses = [_CLAUSE.match(clause) for clause in text.split(",")]
    if not all(clauses):
        raise ArgumentError(f"invalid chmod parameter: '{text}'. it should be octal, or symbolic as in u=rwX,go=rX")

    def change(mode: int) -> int:
        for clause in clauses:
            assert clause is not None
            for operator, what in _ACTION.findall(clause[2]):
                mode = _apply(mode, clause[1] or "a", operator, what)
        return stat.S_IMODE(mode)

    return change


def _apply(mode: int, who: str, operator: str, what: str) -> int:
    everyone = "a" in who
    mask = 0o7777 if everyone else 0
    for letter in who:
        mask |= _WHO.get(letter, 0)
    bits = _wanted(mode, what) & mask
    if "t" in what and (everyone or "o" in who or not who):
        bits |= stat.S_ISVTX
    if operator == "+":
        return mode | bits
    if operator == "-":
        return mode & ~bits
    return (mode & ~(mask & 0o777)) | bits


def _wanted(mode: int, what: str) -> int:
    if what in ("u", "g", "o"):
        shift = {"u": 6, "g": 3, "o": 0}[what]
        return ((mode >> shift) & 7) * 0o111
    bits = 0
    for letter in what:
        if letter in _BITS:
            bits |= _BITS[letter]
        elif letter == "X" and (stat.S_ISDIR(mode) or mode & 0o111):
            bits |= 0o111
        elif letter == "s":
            bits |= stat.S_ISUID | stat.S_ISGID
    return bits
