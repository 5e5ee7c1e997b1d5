"""Themes: the shipped ones are whole, and a broken one never keeps the console from opening."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.screen.recorded import console
from tui import theme

pytestmark = pytest.mark.screen

TONES = ("text", "title", "ok", "warn", "bad", "accent", "info", "key", "quiet", "dim", "faint")


def contrast(first: str, second: str) -> float:
    """WCAG 2 contrast of two #rrggbb colours."""

    def light(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((light(first), light(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("name", ["harbour", "chart"])
def test_shipped_theme_is_whole_and_readable(name: str) -> None:
    palette, problems = theme.load(name, folders=())
    assert (palette.name, problems) == (name, ())
    for tone in TONES:
        least = 2.4 if tone == "faint" else 4.5
        assert contrast(palette.foreground(tone)[0], palette.background("base")) >= least, tone
    for tone in ("text", "ok", "bad", "accent", "quiet", "warn"):
        assert contrast(palette.foreground(tone)[0], palette.background("cursor")) >= 3.5, f"{tone} on the cursor"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("colours = [", "theme mine.toml"),
        ('[colours]\nbackground = "#000000"\n', "lacks surface"),
        ('[colours]\nbackground = "black"\n', "lacks"),
        ("\x00", "mine.toml"),
    ],
)
def test_broken_user_theme_is_said_and_the_default_is_used(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "mine.toml").write_text(text)
    palette, problems = theme.load("mine", folders=[tmp_path])
    assert palette.name == "harbour"
    assert words in problems[0]


def test_wrong_colour_is_named(tmp_path: Path) -> None:
    body = (theme.shipped.folder("themes") / "harbour.toml").read_text().replace("#6fb3e8", "bluish")
    (tmp_path / "mine.toml").write_text(body)
    with pytest.raises(ValueError, match="primary is not a colour"):
        theme.read(tmp_path / "mine.toml")


async def test_theme_switches_live() -> None:
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        app.use_palette(theme.load("chart", folders=())[0])
        await pilot.pause()
        strip = app.screen._compositor.render_strips()[3]
        grounds = {segment.style.bgcolor.triplet.hex for segment in strip if segment.style and segment.style.bgcolor}
        assert grounds <= {"#f8f6f0", "#c5dcef"}
