"""Text from outside: what reaches a terminal and what does not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.sanitize import coloured, plain

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("web-1", "web-1"),
        ("日本語 ü", "日本語 ü"),
        ("a\x1b[31mred\x1b[0mb", "aredb"),
        ("a\x1b]0;title\x07b", "ab"),
        ("a\x1b]8;;http://x\x1b\\b", "ab"),
        ("a\x1b]52;c;never ended", "a"),
        ("a\x9b2Jb", "ab"),
        ("a\x1bPdevice\x1b\\b", "ab"),
        ("a\x1bcb", "ab"),
        ("a\x07\x08\x0d\x7fb", "ab"),
        ("abc\u202edef", "abcdef"),
        ("one\ntwo\tthree", "one\ntwo\tthree"),
        ("\udcff", "\ufffd"),
        ("end\x1b", "end"),
        ("end\x1b[", "end"),
    ],
)
def test_plain(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_a_cell_is_one_line() -> None:
    assert plain("a\nb\tc", lines=False) == "a b c"


def test_colours_may_stay_and_are_ended() -> None:
    assert coloured("\x1b[1;31mred\x1b[2J\x1b]0;x\x07") == "\x1b[1;31mred\x1b[0m"
    assert coloured("a\x07b") == "ab"


@given(st.text())
def test_nothing_that_moves_a_cursor_survives(text: str) -> None:
    shown = plain(text)
    assert not any(character < " " and character not in "\n\t" for character in shown)
    assert not any("\x7f" <= character <= "\x9f" for character in shown)
    shown.encode("utf-8")
    assert plain(shown) == shown
