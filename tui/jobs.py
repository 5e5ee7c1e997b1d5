"""Work that touches the engine, away from the screen's thread.

Owns the job record and the thread it runs in. Daemon threads rather than a pool: a hung disk or registry must not keep
the console from being left. Reports once, through the callback it is given; never touches a widget.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from itertools import count
from typing import Any

from engine.values import dataclass, field

_NUMBERS = count(1)


@dataclass
class Job:
    """One piece of work: ``title`` says what is being done (``stopping web``), ``command`` how a shell does it.

    ``progress`` may be set by the work itself and is shown behind the title. Setting ``cancel`` asks it to stop, which
    it heeds if it is ``cancellable``.
    """

    title: str
    command: str = ""
    sections: tuple[str, ...] = ()
    number: int = field(default_factory=lambda: next(_NUMBERS))
    started: float = field(default_factory=time.monotonic)
    cancel: threading.Event = field(default_factory=threading.Event)
    progress: str = ""
    cancellable: bool = False
    result: Any = None
    error: BaseException | None = None
    finished: bool = False
    then: Callable[[Any], None] | None = None

    @property
    def seconds(self) -> float:
        """How long it has been running."""
        return time.monotonic() - self.started


def start(job: Job, work: Callable[[Job], Any], report: Callable[[Job], None]) -> None:
    """Run ``work`` in a thread; ``report`` is called from that thread when it has ended, however it ended."""

    def run() -> None:
        try:
            job.result = work(job)
        except BaseException as error:
            job.error = error
        job.finished = True
        report(job)

    threading.Thread(target=run, daemon=True, name=f"job-{job.number}").start()
