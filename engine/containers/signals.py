"""Signal names as docker's command line takes them."""

from __future__ import annotations

import signal
from functools import lru_cache

from engine.errors import InvalidInput


@lru_cache(maxsize=1)
def _numbers() -> dict[str, int]:
    numbers = {each.name: int(each) for each in signal.Signals}
    # RTMIN+n and RTMAX-n, as the kernel's headers name them.
    first, last = int(signal.SIGRTMIN), int(signal.SIGRTMAX)
    numbers.update({f"SIGRTMIN+{offset}": first + offset for offset in range(last - first + 1)})
    numbers.update({f"SIGRTMAX-{offset}": last - offset for offset in range(last - first + 1)})
    return numbers


def parse(text: str | int) -> int:
    """The number of ``9``, ``KILL`` or ``sigkill``; InvalidInput in docker's words."""
    word = str(text).strip()
    if word.isdigit():
        number = int(word)
        if 0 < number <= int(signal.SIGRTMAX):
            return number
    else:
        upper = word.upper()
        number = _numbers().get(upper if upper.startswith("SIG") else f"SIG{upper}", 0)
        if number:
            return number
    raise InvalidInput(f"Invalid signal: {text}", remedy="kill -l lists the names; a number works as well")
