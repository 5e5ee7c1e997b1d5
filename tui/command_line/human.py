"""Sizes, durations and times in docker's words.

Owns the rounding and wording of docker's go-units. Pure. Sizes are in bytes, durations in seconds.
"""

from __future__ import annotations

import re
import time

from engine import durations

_DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(?:Z|([+-])(\d\d):(\d\d))\Z")


def size(count: float, precision: int = 4) -> str:
    """``1.23GB``: powers of 1000 with ``precision`` significant digits."""
    return _scaled(count, 1000.0, _DECIMAL, precision)


def binary_size(count: float, precision: int = 4) -> str:
    """``1.2GiB``: powers of 1024."""
    return _scaled(count, 1024.0, _BINARY, precision)


def _scaled(count: float, base: float, units: tuple[str, ...], precision: int) -> str:
    index = 0
    while count >= base and index < len(units) - 1:
        count /= base
        index += 1
    return f"{count:.{precision}g}{units[index]}"


def seconds_of(text: str) -> float:
    """Seconds since the epoch of an RFC 3339 time with any number of fraction digits; 0 for docker's zero time."""
    match = _TIME.match(text)
    if match is None or text.startswith("0001-"):
        return 0.0
    whole = _epoch(*map(int, match[1].replace("T", "-").replace(":", "-").split("-")))
    if match[3]:
        offset = int(match[4]) * 3600 + int(match[5]) * 60
        whole -= offset if match[3] == "+" else -offset
    return whole + float(f"0.{match[2] or 0}")


def _epoch(year: int, month: int, day: int, hour: int, minute: int, second: int) -> int:
    """Seconds since the epoch of a UTC time; the modules that know this cost more than a listing may."""
    # In years that begin in March the leap day is the last one, and the months' lengths follow a line.
    year -= month <= 2
    days = 365 * year + year // 4 - year // 100 + year // 400 + (153 * ((month + 9) % 12) + 2) // 5 + day - 1 - 719_468
    return days * 86_400 + hour * 3600 + minute * 60 + second


def ago(text: str, now: float | None = None) -> str:
    """``3 minutes ago`` for an RFC 3339 time; ``N/A`` for no time and for docker's zero time."""
    if not text or text.startswith("0001-"):
        return "N/A"
    return f"{durations.in_words(max(0.0, (time.time() if now is None else now) - seconds_of(text)))} ago"


def stamp(text: str) -> str:
    """``2026-11-24 02:28:21 +0000 UTC``: how docker's tables spell an RFC 3339 time, in the local zone."""
    local = time.localtime(seconds_of(text))
    return time.strftime("%Y-%m-%d %H:%M:%S %z ", local) + (local.tm_zone or "")


def ellipsis(text: str, length: int) -> str:
    """``text`` cut to ``length`` characters, the last of which then is an ellipsis."""
    return text if len(text) <= length else text[: length - 1] + "…"
