"""The warden's program: ``python -I -S warden.py DATA_ROOT RUN_DIR CONFIG_JSON``.

Owns one flock (at most one warden a run dir), the poke fifo and the clock. It daemonises, leaves its caller's cgroup,
waits for the next due duty, runs ``restart.py`` for it as a child and goes away when the list is empty.

Coming and going without losing a duty: whoever adds one commits it first and then pokes. A warden that sees an empty
list closes the fifo *before* it looks once more; a poke that fails from then on starts a new warden, which waits for
the lock.
"""

from __future__ import annotations

import fcntl
import os
import select
import sys
import time
from pathlib import Path

LOCK_FILE = "warden.lock"
LOCK_TIMEOUT_S = 5.0
MAX_CHILDREN = 4
RETRY_S = 5.0
IDLE_S = 30.0


def main(arguments: list[str]) -> int:
    """The program; it returns at once in the caller's process and goes on in the background."""
    if os.fork():
        return 0
    os.setsid()
    os.umask(0o022)
    sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
    lock = _take_lock(Path(arguments[1]))
    if lock is None:
        return 0
    _leave_cgroup(arguments)
    Warden(arguments).run()
    return 0


def _take_lock(run_dir: Path) -> int | None:
    """The lock, or None when another warden keeps it and listens."""
    from engine.containers.duties import FIFO

    run_dir.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(run_dir / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if _listens(run_dir / FIFO) or time.monotonic() > deadline:
                os.close(descriptor)
                return None
        time.sleep(0.01)


def _listens(fifo: Path) -> bool:
    """Poke whoever holds the lock; False when it is on its way out."""
    try:
        descriptor = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.write(descriptor, b"!")
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _leave_cgroup(arguments: list[str]) -> None:
    import json

    from engine.errors import EngineError
    from engine.host import cgroups

    try:
        cgroups.leave_caller(os.getpid(), f"{json.loads(arguments[2])['cgroup_parent']}/warden")
    except EngineError:
        return  # A logout may then end it; the next verb starts another one.


class Warden:
    """The loop."""

    def __init__(self, arguments: list[str]) -> None:
        from engine.containers.duties import FIFO, Duties
        from engine.state.database import Database

        self._arguments = arguments
        self._duties = Duties(Database(Path(arguments[0]) / "state.db"))
        self._fifo = Path(arguments[1]) / FIFO
        self._children: dict[int, tuple[str, str]] = {}

    def run(self) -> None:
        """Until no duty is left."""
        while True:
            poke = self._listen()
            try:
                while self._once(poke):
                    pass
            finally:
                os.close(poke)
            # Nobody can poke us any more: what was added before is seen now, what comes later starts another warden.
            if not self._duties.all():
                return

    def _listen(self) -> int:
        if not self._fifo.exists():
            os.mkfifo(self._fifo, 0o600)
        # For reading and writing: a fifo without a writer would be readable for ever.
        return os.open(self._fifo, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def _once(self, poke: int) -> bool:
        """Start what is due and wait for the next thing to happen; False when there is nothing left to wait for."""
        self._reap()
        now = time.time()
        working = set(self._children.values())
        waiting = [duty for duty in self._duties.all() if (duty.kind, duty.subject) not in working]
        if not waiting and not self._children:
            return False
        for duty in waiting:
            if duty.due > now or len(self._children) >= MAX_CHILDREN:
                break
            # If the child dies before it takes the duty off the list, it is tried again, but not at once.
            if self._duties.postpone(duty.kind, duty.subject, now + RETRY_S):
                self._children[self._spawn(duty.subject)] = (duty.kind, duty.subject)
        pending = [duty.due for duty in waiting if duty.due > now]
        patience = min([*(due - now for due in pending), IDLE_S])
        if self._children:
            patience = min(patience, 0.02)
        ready, _, _ = select.select([poke], [], [], max(0.0, patience))
        if ready:
            os.read(poke, 4096)
        return True

    def _spawn(self, id: str) -> int:
        script = Path(__file__).resolve().parent / "restart.py"
        command = [sys.executable, "-I", "-S", str(script), *self._arguments, id]
        return os.posix_spawn(sys.executable, command, dict(os.environ))

    def _reap(self) -> None:
        while self._children:
            pid, _ = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            self._children.pop(pid, None)


if __name__ == "__main__":
    os._exit(main(sys.argv[1:]))
