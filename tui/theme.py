"""Colours: themes from TOML, and the named tones that every widget paints with.

Owns reading ``themes/*.toml`` and ``~/.config/pilothouse/themes/*.toml``. A broken user theme is reported in words and
skipped; start-up never depends on one. Widgets know tones (``ok``, ``dim``, ``cursor``…), never colours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from rich.style import Style

from engine.values import dataclass, field
from tui import shipped

if TYPE_CHECKING:
    from textual.theme import Theme

DEFAULT = "harbour"
COLOURS = (
    "background", "surface", "panel", "foreground", "primary", "secondary", "accent", "success", "warning", "error",
)  # fmt: skip
TONES = ("cursor", "cursor_idle", "dim", "faint")
_HEX = re.compile(r"#[0-9a-fA-F]{6}\Z")

# Should the shipped files themselves be missing, the console still opens.
_LAST_RESORT: Mapping[str, str] = {
    "background": "#11161d", "surface": "#161d26", "panel": "#1d2732", "foreground": "#c8d3de", "primary": "#6fb3e8",
    "secondary": "#7cc4b8", "accent": "#e6b673", "success": "#86c58e", "warning": "#e3b65f", "error": "#ee8277",
}  # fmt: skip


def _blend(first: str, second: str, share: float) -> str:
    """``share`` of ``first`` over ``second``, both #rrggbb."""
    pairs = ((int(first[i : i + 2], 16), int(second[i : i + 2], 16)) for i in (1, 3, 5))
    return "#" + "".join(f"{round(a * share + b * (1 - share)):02x}" for a, b in pairs)


@dataclass(frozen=True)
class Palette:
    """One theme's colours as the widgets use them."""

    name: str = DEFAULT
    dark: bool = True
    colours: Mapping[str, str] = field(default_factory=lambda: dict(_LAST_RESORT))
    tones: Mapping[str, str] = field(default_factory=dict)

    def __hash__(self) -> int:
        return hash((self.name, tuple(sorted(self.colours.items())), tuple(sorted(self.tones.items()))))

    def foreground(self, tone: str) -> tuple[str, bool]:
        """Colour and boldness of a tone."""
        colours = self.colours
        plain = {
            "text": colours["foreground"],
            "title": colours["foreground"],
            "ok": colours["success"],
            "warn": colours["warning"],
            "bad": colours["error"],
            "accent": colours["accent"],
            "info": colours["primary"],
            "key": colours["primary"],
            "quiet": colours["secondary"],
        }
        if tone in ("dim", "faint"):
            share = 0.65 if tone == "dim" else 0.4
            return self.tones.get(tone) or _blend(colours["foreground"], colours["background"], share), False
        return plain.get(tone, colours["foreground"]), tone in ("title", "key", "bad")

    def background(self, ground: str) -> str:
        """Colour behind the text: ``base``, ``panel``, ``surface``, ``cursor``, ``cursor_idle`` or ``chip``."""
        colours = self.colours
        if ground == "chip":
            return colours["primary"]
        if ground in ("cursor", "cursor_idle"):
            share = 0.3 if ground == "cursor" else 0.1
            return self.tones.get(ground) or _blend(colours["primary"], colours["background"], share)
        return colours.get("background" if ground == "base" else ground, colours["background"])

    @lru_cache(maxsize=256)  # noqa: B019 - a palette lives as long as the program
    def style(self, tone: str, ground: str = "base") -> Style:
        """The Rich style of ``tone`` on ``ground``."""
        colour, bold = self.foreground(tone)
        if ground == "chip":
            colour, bold = self.colours["background"], True
        return Style(color=colour, bgcolor=self.background(ground), bold=bold or None)

    def textual(self) -> Theme:
        """The same colours for Textual's own widgets (inputs, toasts)."""
        from textual.theme import Theme

        colours = self.colours
        return Theme(
            self.name, colours["primary"], colours["secondary"], colours["warning"], colours["error"],
            colours["success"], colours["accent"], colours["foreground"], colours["background"], colours["surface"],
            colours["panel"], dark=self.dark,
        )  # fmt: skip


def read(path: Path) -> Palette:
    """The theme in ``path``; ``ValueError`` says in words what is wrong with it."""
    import tomli

    try:
        table = tomli.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomli.TOMLDecodeError) as error:
        raise ValueError(f"theme {path.name}: {error}") from error
    colours, tones = table.get("colours", table.get("colors", {})), table.get("tones", {})
    if not isinstance(colours, dict) or not isinstance(tones, dict):
        raise ValueError(f"theme {path.name}: [colours] and [tones] must be tables")
    missing = [name for name in COLOURS if name not in colours]
    if missing:
        raise ValueError(f"theme {path.name}: [colours] lacks {', '.join(missing)}")
    for name, value in [*colours.items(), *tones.items()]:
        if name not in COLOURS and name not in TONES:
            raise ValueError(f"theme {path.name}: there is no colour '{name}'")
        if not isinstance(value, str) or not _HEX.match(value):
            raise ValueError(f"theme {path.name}: {name} is not a colour like #6fb3e8")
    return Palette(str(table.get("name") or path.stem), bool(table.get("dark", True)), dict(colours), dict(tones))


def load(name: str = DEFAULT, *, folders: Iterable[Path] | None = None) -> tuple[Palette, tuple[str, ...]]:
    """The theme called ``name`` (the user's file first), else the default; with what went wrong, in words."""
    problems: list[str] = []
    own = tuple(folders) if folders is not None else (shipped.user_folder("themes"),)
    tried = [(folder, name) for folder in (*own, shipped.folder("themes"))]
    tried.append((shipped.folder("themes"), DEFAULT))
    found = False
    for folder, stem in tried:
        path = folder / f"{stem}.toml"
        if not path.is_file():
            continue
        found = found or stem == name
        try:
            palette = read(path)
        except ValueError as error:
            problems.append(f"{error}; it is not used")
            continue
        if not found:
            problems.append(f"there is no theme '{name}'; {palette.name} is used")
        return palette, tuple(problems)
    return Palette(), (*problems, "no theme file could be read; built-in colours are used")


def names() -> list[str]:
    """Every theme that could be chosen, shipped and the user's."""
    folders = (shipped.folder("themes"), shipped.user_folder("themes"))
    return sorted({path.stem for folder in folders if folder.is_dir() for path in folder.glob("*.toml")})
