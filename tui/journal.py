"""What was done from this console, and what went wrong, in words.

Owns a bounded list of entries. The screen shows the last one; the journal screen shows them all. It is this console's
own memory: the engine's event log is another thing and outlives it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from engine.values import dataclass, field

KEEP = 2_000


@dataclass(frozen=True)
class Entry:
    """One entry: ``level`` is done, note, warn or error; ``command`` the equivalent command line, if there is one."""

    time: float
    level: str
    text: str
    command: str = ""
    detail: str = ""


@dataclass
class Journal:
    """The entries, oldest first."""

    clock: Callable[[], float] = time.time
    entries: deque[Entry] = field(default_factory=lambda: deque(maxlen=KEEP))

    def add(self, level: str, text: str, command: str = "", detail: str = "") -> Entry:
        """Write one entry."""
        entry = Entry(self.clock(), level, text, command, detail)
        self.entries.append(entry)
        return entry

    @property
    def last(self) -> Entry | None:
        """The newest entry."""
        return self.entries[-1] if self.entries else None
