"""The text widget and the log reader: bounded, following, searched, and never cut without a mark."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from tests.screen.recorded import console
from tests.screen.test_snapshots import lines_of
from tui.logs import WAITING, LogReader, _text_line
from tui.screens.text import TextScreen
from tui.widgets.text import MAX_LINES, TextLine, TextView

pytestmark = pytest.mark.screen


def numbered(first: int, last: int) -> list[TextLine]:
    return [TextLine(f"line {number}") for number in range(first, last)]


async def test_the_buffer_is_bounded_and_says_what_it_dropped() -> None:
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        screen = TextScreen("log", following=True)
        await app.push_screen(screen)
        for start in range(0, MAX_LINES + 6_000, 1_000):
            screen.text.append(numbered(start, start + 1_000))
        await pilot.pause()
        assert len(screen.text.lines) <= MAX_LINES + 2_000
        assert screen.text.dropped + len(screen.text.lines) == MAX_LINES + 6_000
        assert "dropped" in lines_of(app)[0] and f"line {MAX_LINES + 5_999}" in "\n".join(lines_of(app))


async def test_scrolling_up_stops_following_and_f_resumes() -> None:
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        screen = TextScreen("log", numbered(0, 100), following=True)
        await app.push_screen(screen)
        await pilot.pause()
        await pilot.press("k")
        assert not screen.text.following
        place = screen.text.scroll_offset.y
        screen.text.append(numbered(100, 110))
        assert screen.text.scroll_offset.y == place, "new lines move nothing under the reader's eyes"
        await pilot.press("f")
        await pilot.pause()
        assert screen.text.following and "line 109" in "\n".join(lines_of(app))


async def test_long_lines_are_marked_wrapped_and_scrolled() -> None:
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        screen = TextScreen("text", [TextLine("a" * 200 + "END"), TextLine("日本語" * 30)])
        await app.push_screen(screen)
        await pilot.pause()
        assert lines_of(app)[1].endswith("a…") and lines_of(app)[2].endswith("…")
        await pilot.press("w")
        await pilot.pause()
        assert "END" in "\n".join(lines_of(app)) and "…" not in "".join(lines_of(app)[1:6])
        await pilot.press("w", *["right"] * 20)
        await pilot.pause()
        assert "END" in lines_of(app)[1]


async def test_search_finds_forward_and_backward() -> None:
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        screen = TextScreen("text", numbered(0, 300))
        await app.push_screen(screen)
        await pilot.pause()
        await pilot.press("slash", *"line 17", "enter")
        await pilot.pause()
        assert screen.text.scroll_offset.y == 17
        await pilot.press("n")
        assert screen.text.scroll_offset.y == 170
        await pilot.press("N")
        assert screen.text.scroll_offset.y == 17
        await pilot.press("escape")
        assert not screen.text.pattern and app.screen is screen


def test_a_log_line_shows_what_a_terminal_would_show() -> None:
    line = SimpleNamespace(text=b"10%\r50%\r100% \x1b[32mdone\x1b[0m\xff\n", stream="stderr", time=0.25)
    assert _text_line(line).text == "100% done�"
    assert _text_line(line).tone == "warn" and _text_line(line).time.endswith(".250")


def test_the_reader_drops_the_oldest_when_the_screen_is_slower() -> None:
    done = threading.Event()

    def logs(**_: Any) -> Any:
        for number in range(WAITING + 500):
            yield SimpleNamespace(text=f"{number}\n".encode(), stream="stdout", time=0.0)

    engine = SimpleNamespace(containers=SimpleNamespace(get=lambda id: SimpleNamespace(logs=logs)))
    reader: LogReader

    def nudge() -> None:
        if reader.finished:
            done.set()

    reader = LogReader(lambda: engine, "id", nudge)  # type: ignore[arg-type,return-value]
    reader.start()
    assert done.wait(20)
    lines = reader.take()
    assert len(lines) == WAITING and lines[-1].text == str(WAITING + 499)
    assert reader.taken_drops == 500


def test_an_empty_view_has_a_position() -> None:
    assert TextView().position() == "0 lines"


async def test_a_following_text_that_was_emptied_follows_again() -> None:
    app = console()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause(0.5)
        text = app.main.detail.text
        app.main.detail._close_reader()
        text.set_following(True)
        for _ in range(2):
            text.clear()
            await pilot.pause(0.2)
            text.append([TextLine(str(number)) for number in range(200)])
            await pilot.pause(0.3)
            assert text.scroll_offset.y == 200 - text.size.height
