"""Following a container's log without ever falling over it.

Owns the thread that reads and the bounded buffer between it and the screen: when the screen is slower than the
container, the oldest lines waiting are dropped and counted. Reads the engine's log, never an attach socket.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tui.sanitize import plain
from tui.widgets.text import TextLine

if TYPE_CHECKING:
    from engine.engine import Engine

WAITING = 10_000  # lines between reader and screen
TAIL = 1_000  # lines of the past to begin with
NUDGE = 0.05  # seconds between two nudges: 20 a second are enough for any eye


class LogReader:
    """Reads one container's log; ``nudge`` is called (from the thread) when lines are waiting."""

    def __init__(self, engine: Callable[[], Engine], container_id: str, nudge: Callable[[], Any]) -> None:
        self._engine = engine
        self._id = container_id
        self._nudge = nudge
        self._lock = threading.Lock()
        self._waiting: deque[TextLine] = deque()
        self._drops = 0
        self._closed = threading.Event()
        self._nudged = False
        self._last = 0.0
        self.taken_drops = 0
        self.problem = ""
        self.finished = False
        self.began = False

    def start(self) -> None:
        """Begin to read."""
        threading.Thread(target=self._run, daemon=True, name=f"logs-{self._id[:12]}").start()

    def close(self) -> None:
        """Stop reading, soon."""
        self._closed.set()

    def take(self) -> list[TextLine]:
        """The lines that are waiting; ``taken_drops`` says how many were lost before them."""
        with self._lock:
            lines = list(self._waiting)
            self._waiting.clear()
            self.taken_drops, self._drops = self._drops, 0
            self._nudged = False
        return lines

    def _put(self, line: TextLine) -> None:
        with self._lock:
            if len(self._waiting) >= WAITING:
                self._waiting.popleft()
                self._drops += 1
            self._waiting.append(line)

    def _tell(self, *, force: bool = False) -> None:
        """Nudge the screen, at most once until it has looked and not more than twenty times a second."""
        now = time.monotonic()
        if self._closed.is_set():
            return
        with self._lock:
            if self._nudged and not force:
                return
            if not force and now - self._last < NUDGE:
                return
            self._nudged, self._last = True, now
        self._nudge()

    def _run(self) -> None:
        try:
            container = self._engine().containers.get(self._id)
            for line in container.logs(tail=TAIL, follow=True, stop=self._stopping):
                if self._closed.is_set():
                    return
                self._put(_text_line(line))
                self._tell()
        except Exception as error:
            self.problem = str(error) or type(error).__name__
        finally:
            self.finished = True
            self._tell(force=True)

    def _stopping(self) -> bool:
        """Asked by the engine while it waits for more: a good moment to hand over what has come."""
        if self._waiting or not self.began:
            self.began = True
            self._tell()
        return self._closed.is_set()


def _text_line(line: Any) -> TextLine:
    text = line.text.decode("utf-8", "replace").rstrip("\r\n")
    if "\r" in text:  # a terminal shows what was written last over the line
        text = text.rsplit("\r", 1)[1]
    return TextLine(
        plain(text, lines=False) if "\t" not in text else plain(text).expandtabs(),
        "text" if line.stream == "stdout" else "warn",
        _clock(line),
    )


def _clock(line: Any) -> str:
    moment = time.localtime(line.time)
    return f"{moment.tm_hour:02}:{moment.tm_min:02}:{moment.tm_sec:02}.{int(line.time % 1 * 1000):03}"
