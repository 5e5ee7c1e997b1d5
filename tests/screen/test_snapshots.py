"""The screen as text, at the three sizes and both ends of content: goldens a person can read in a diff.

``PILOTHOUSE_UPDATE_GOLDENS=1`` writes them anew; look at the diff before keeping it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.screen.recorded import EMPTY, STRANGE, THREE, Recording, console, many
from tui.app import Console
from tui.cells import width_of
from tui.glyphs import ASCII, UNICODE

pytestmark = pytest.mark.screen

GOLDENS = Path(__file__).parent / "goldens"
SIZES = ((80, 24), (120, 40), (200, 50))


def lines_of(app: Console) -> list[str]:
    """What the screen shows, line by line."""
    return [strip.text.rstrip() for strip in app.screen._compositor.render_strips()]


async def screen_text(app: Console, size: tuple[int, int], *keys: str) -> list[str]:
    """The screen after ``keys``, once it is at rest."""
    async with app.run_test(size=size) as pilot:
        for _ in range(1500):
            await pilot.pause(0.02)
            if len(app.feed.snapshot.seen) == 7:
                break
        await at_rest(app, pilot)
        for key in keys:
            await pilot.press(key)
        return await at_rest(app, pilot)


async def at_rest(app: Console, pilot: Any) -> list[str]:
    """The screen once it has been the same for four looks; a loaded machine paints late."""
    seen: list[list[str]] = []
    for _ in range(200):
        await pilot.pause(0.1)
        seen.append(lines_of(app))
        if len(seen) >= 4 and all(each == seen[-1] for each in seen[-4:]):
            break
    return seen[-1]


def compare(name: str, lines: list[str]) -> None:
    """Against the golden of that name."""
    path = GOLDENS / f"{name}.txt"
    text = "\n".join(lines) + "\n"
    if os.environ.get("PILOTHOUSE_UPDATE_GOLDENS"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


SCENES = {
    "three": (Recording(), ()),
    "strange": (Recording(containers=THREE + STRANGE), ()),
    "empty": (Recording(**EMPTY), ()),
    "many": (Recording(containers=many(200)), ("G", "k", "space")),
    "network": (Recording(), ("6",)),
    "network-empty": (Recording(**EMPTY), ("6",)),
    "firewall": (Recording(), ("5",)),
    "images": (Recording(), ("2",)),
    "system": (Recording(), ("7",)),
    "help": (Recording(), ("question_mark",)),
}


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("scene", list(SCENES))
async def test_screen(scene: str, size: tuple[int, int]) -> None:
    recording, keys = SCENES[scene]
    lines = await screen_text(console(recording), size, *keys)
    compare(f"{scene}-{size[0]}x{size[1]}", lines)


@pytest.mark.parametrize("scene", ["three", "network"])
async def test_screen_in_ascii(scene: str) -> None:
    recording, keys = SCENES[scene]
    lines = await screen_text(console(recording, glyphs=ASCII), (80, 24), *keys)
    compare(f"{scene}-ascii", lines)
    assert all(line.isascii() for line in lines)


@pytest.mark.parametrize("width", [60, 61, 79, 80, 99, 100, 119, 121, 159, 160, 240])
async def test_every_width_fills_every_line_exactly(width: int) -> None:
    app = console(Recording(containers=THREE + STRANGE))
    async with app.run_test(size=(width, 30)) as pilot:
        await pilot.pause(0.4)
        for key in ("1", "2", "5", "6"):
            await pilot.press(key)
            await pilot.pause(0.1)
            strips = app.screen._compositor.render_strips()
            assert {strip.cell_length for strip in strips} == {width}
            assert {width_of(strip.text) for strip in strips} == {width}, "a wide character was counted wrongly"


async def test_control_codes_of_names_never_reach_the_screen() -> None:
    from engine.values import replace
    from tui.engine_source import line

    evil = "bad\x1b[31m\x1b]0;title\x07\x9b2J\u202ename"
    rows = (replace(THREE[0], name=line(evil)),)
    lines = await screen_text(console(Recording(containers=rows)), (80, 24))
    assert "badname" in lines[3]
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for row in lines for character in row)


async def test_what_is_cut_says_so() -> None:
    lines = await screen_text(console(Recording(containers=STRANGE)), (80, 24))
    assert "n…" in "".join(lines) and UNICODE.ellipsis == "…"


async def test_too_small() -> None:
    lines = await screen_text(console(), (40, 10))
    text = "\n".join(lines)
    assert "too small" in text and "40x10" in text
