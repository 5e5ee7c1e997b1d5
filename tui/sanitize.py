"""Makes text from outside safe to paint on a terminal.

Owns the one rule for names, labels, errors, image histories and log lines: what could move the cursor, change the
terminal's state or reorder the line is taken out before it is shown. Every face uses it; nothing stored is changed.
The output of a container itself (``logs``, ``exec``, ``attach`` on the command line) is passed on raw, as docker does.
"""

from __future__ import annotations

import re

# Kept as text: most commands print plain words only, and compiling these is as dear as ten imports. re keeps what it
# has compiled.
# ECMA-48: CSI; the string commands OSC, DCS, SOS, PM, APC up to their terminator (or the end, if it never comes);
# then every other escape. The 8-bit forms of the same count too: UTF-8 terminals may obey them.
_CSI = r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
_STRING = r"(?:\x1b[\]PX^_]|[\x90\x98\x9d\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
_ESCAPE = r"\x1b[ -/]*[0-~]?"
_SEQUENCE = f"{_CSI}|{_STRING}|{_ESCAPE}"
_COLOUR = r"\x1b\[[0-9;:]*m"

# C0 without tab and newline, DEL, C1, line and paragraph separators, and the characters that reorder or hide text.
_CONTROL = "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u061c\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]"
_SURROGATE = "[\ud800-\udfff]"


def plain(text: str, *, lines: bool = True) -> str:
    """``text`` without escape sequences and control characters.

    Newlines and tabs stay, or become one space each with ``lines=False`` (a table cell, a title). Bytes that were no
    UTF-8 show as the replacement character.
    """
    if not (text.isascii() and text.isprintable()):
        text = re.sub(_SEQUENCE, "", text)
        text = re.sub(_CONTROL, "", text)
        text = re.sub(_SURROGATE, "\ufffd", text)
        if not lines:
            text = text.replace("\n", " ").replace("\t", " ")
    return text


def coloured(text: str) -> str:
    """Like ``plain``, but colours and other attributes (SGR) stay; a reset ends them if there were any."""
    if text.isascii() and text.isprintable():
        return text
    kept: list[str] = []
    position = 0
    found = False
    for match in re.finditer(_SEQUENCE, text):
        kept.append(plain(text[position : match.start()]))
        position = match.end()
        if re.fullmatch(_COLOUR, match.group()):
            kept.append(match.group())
            found = True
    kept.append(plain(text[position:]))
    if found:
        kept.append("\x1b[0m")
    return "".join(kept)
