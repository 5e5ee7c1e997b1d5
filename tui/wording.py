"""Figures in words: ages, sizes, rates and states, short enough for a column and never cut.

Pure functions; all of them take what they need, the time of day too.
"""

from __future__ import annotations

from tui.feed import ContainerRow
from tui.glyphs import Glyphs

_TONES = {
    "running": "ok", "paused": "warn", "restarting": "warn", "dead": "bad", "created": "info", "exited": "faint",
}  # fmt: skip


def age(seconds: float) -> str:
    """A duration in at most three characters beyond the first minute: ``<1m 5m 3h 2d 6w 2y``."""
    seconds = max(0.0, seconds)
    if seconds < 60:
        return "<1m"
    for size, unit, limit in (
        (60, "m", 3600),
        (3600, "h", 86400),
        (86400, "d", 14 * 86400),
        (604800, "w", 2 * 31536000),
    ):
        if seconds < limit:
            return f"{int(seconds // size)}{unit}"
    return f"{int(seconds // 31536000)}y"


def size(count: float) -> str:
    """Bytes in docker's decimal units and at most six characters: ``612B 4.1kB 12MB 1.23GB``."""
    if count < 1000:
        return f"{int(count)}B"
    for unit in ("kB", "MB", "GB", "TB"):
        count /= 1000
        if count < 999.5 or unit == "TB":
            return f"{count:.3g}{unit}" if count < 99.95 else f"{count:.0f}{unit}"
    return ""


def memory(count: int | None) -> str:
    """Memory in binary units, at most six characters: ``6.2MiB`` would be eight, so ``6.2M``."""
    if count is None:
        return ""
    value = float(count)
    for unit in ("B", "K", "M", "G", "T"):
        if value < 1000 or unit == "T":
            return f"{value:.0f}{unit}" if value >= 99.5 or unit == "B" else f"{value:.1f}{unit}"
        value /= 1024
    return ""


def rate(value: float) -> str:
    """Bytes or packets a second in at most four characters: ``0 980 1.2k 88k 1.2M``."""
    if value < 0.5:
        return "0" if value < 0.05 else f"{value:.1f}"
    if value < 999.5:
        return f"{value:.0f}"
    for unit in ("k", "M", "G", "T"):
        value /= 1000
        if value < 999.5 or unit == "T":
            return f"{value:.1f}{unit}" if value < 9.95 else f"{value:.0f}{unit}"
    return ""


def count(value: int) -> str:
    """A counter in full up to six digits, then with a unit."""
    return f"{value:,}" if value < 1_000_000 else rate(float(value))


def percent(value: float | None) -> str:
    """CPU in percent of one core, at most five characters."""
    if value is None:
        return ""
    return f"{value:.1f}%" if value < 99.95 else f"{value:.0f}%"


def state_tone(state: str) -> str:
    """The tone of a container state."""
    return _TONES.get(state, "text")


def state_glyph(state: str, glyphs: Glyphs) -> str:
    """The symbol of a container state."""
    return str(getattr(glyphs, state, glyphs.created))


def status(row: ContainerRow, now: float, width: int) -> str:
    """A container's state in words, in the longest form that fits ``width``."""
    if row.state == "running":
        up = age(now - row.started) if row.started else ""
        forms = [f"Up {up} ({row.health})" if row.health else "", f"Up {up}", "Up"]
    elif row.state == "paused":
        # The age is that of its start, as docker's is: since when it is paused nobody writes down.
        forms = [f"Up {age(now - row.started)} (Paused)" if row.started else "", "Paused"]
    elif row.state in ("exited", "dead"):
        word = "Exit" if row.state == "exited" else "Dead"
        ago = age(now - row.finished) if row.finished else ""
        forms = [f"{word} {row.exit_code} {ago}".rstrip(), f"{word} {row.exit_code}"]
        if row.state == "exited" and ago:
            forms.insert(0, f"Exited ({row.exit_code}) {ago} ago")
    elif row.state == "restarting":
        forms = [f"Restarting ({row.exit_code})", "Restarting", "Restart"]
    else:
        forms = [row.state.capitalize()]
    fitting = [form for form in forms if form and len(form) <= width]
    return fitting[0] if fitting else forms[-1]


def plural(number: int, one: str, many: str = "") -> str:
    """``1 image``, ``2 images``."""
    return f"{number} {one if number == 1 else many or one + 's'}"
