"""The written forms of sizes, processor shares and restart policies on docker's command line.

Owns parsing text into numbers and the errors for text that cannot be read. Knows no container.
"""

from __future__ import annotations

import re

from engine.errors import InvalidInput
from engine.values import dataclass

MINIMUM_MEMORY = 6 * 1024 * 1024
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kKmMgGtTpP])?(?:i?[bB])?\Z")
_POWERS = {"k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
RESTART_NAMES = ("no", "always", "unless-stopped", "on-failure")


@dataclass(frozen=True)
class RestartPolicy:
    """``name`` is no, always, unless-stopped or on-failure; ``max_retries`` 0 means without end (on-failure only)."""

    name: str = "no"
    max_retries: int = 0

    @property
    def active(self) -> bool:
        """True if this policy can ever restart a container."""
        return self.name != "no"


def parse_size(text: str, what: str = "size") -> int:
    """Bytes of ``512m``, ``1.5g``, ``4096``, ``64MiB``; binary multiples, as docker reads them."""
    match = _SIZE.match(text.strip())
    if match is None:
        raise InvalidInput(
            f"invalid {what}: '{text}'", remedy="write a number with an optional unit b, k, m or g, for example 512m"
        )
    power = _POWERS.get((match[2] or "").lower(), 0)
    return int(float(match[1]) * 1024**power)


def parse_memory(text: str) -> int:
    """``--memory``: bytes, 0 for no limit; docker's lower bound of 6 MB holds."""
    size = parse_size(text, "memory size")
    if 0 < size < MINIMUM_MEMORY:
        raise InvalidInput("Minimum memory limit allowed is 6MB", remedy="give --memory 6m or more, or leave it out")
    return size


def parse_cpus(text: str) -> int:
    """``--cpus``: billionths of a processor, 0 for no limit."""
    try:
        nano = round(float(text) * 1_000_000_000)
    except (ValueError, OverflowError):
        nano = -1
    if nano < 0 or (nano == 0 and text.strip("0.") != ""):
        raise InvalidInput(
            f"failed to parse {text} as a rational number", remedy="write how many processors, for example 1.5"
        )
    return nano


def parse_restart(text: str) -> RestartPolicy:
    """``--restart``: no, always, unless-stopped, on-failure or on-failure:N."""
    name, colon, count = text.partition(":")
    if name not in RESTART_NAMES and not (name == "" and not colon):
        raise InvalidInput(
            f"invalid restart policy: unknown policy '{name}'; use one of 'no', 'always', 'on-failure', or "
            "'unless-stopped'",
            remedy="write --restart unless-stopped, or on-failure:5 to give up after five tries",
        )
    if not colon:
        return RestartPolicy(name or "no")
    if not count.isdigit():
        raise InvalidInput(
            "invalid restart policy format: maximum retry count must be an integer", remedy="write on-failure:5"
        )
    if name != "on-failure":
        raise InvalidInput(
            "invalid restart policy: maximum retry count can only be used with 'on-failure'",
            remedy=f"write --restart {name}",
        )
    return RestartPolicy(name, int(count))
