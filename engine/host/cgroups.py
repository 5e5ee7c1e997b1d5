"""Control groups on v1, hybrid and v2 hosts: where they are mounted, moving, freezing, reading, removing.

Owns the layout (cgroups(7), kernel doc cgroup-v1/ and cgroup-v2.rst). A group is named by its path below every
hierarchy's root, ``/pilothouse/ID``. Limits are set by the OCI runtime, never here.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

from engine.errors import HostError
from engine.values import dataclass

FREEZE_TIMEOUT_S = 5.0
REMOVE_TRIES = 50
KILL_ROUNDS = 100
_POLL_S = 0.001


@dataclass(frozen=True)
class Layout:
    """Mounted hierarchies: ``v1`` by controller (also ``name=systemd``), ``v2`` the unified tree or None."""

    v1: Mapping[str, Path]
    v2: Path | None

    @property
    def kind(self) -> str:
        """``v2`` (unified only), ``hybrid`` or ``v1``."""
        if self.v2 is None:
            return "v1"
        return "hybrid" if self.v1 else "v2"

    def roots(self) -> list[Path]:
        """The mount point of every hierarchy, each once."""
        return list(dict.fromkeys([*self.v1.values(), *([self.v2] if self.v2 else [])]))

    def controller(self, name: str) -> Path | None:
        """The hierarchy that carries controller ``name``: its v1 mount, else the unified tree."""
        return self.v1.get(name, self.v2)


def parse_layout(mountinfo: str) -> Layout:
    """The layout a /proc/self/mountinfo text shows (proc(5)); only hierarchies mounted whole count."""
    v1: dict[str, Path] = {}
    v2: Path | None = None
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        fields, tail = left.split(), right.split()
        if len(fields) < 5 or len(tail) < 3 or not tail[0].startswith("cgroup"):
            continue
        point = Path(fields[4])
        if tail[0] == "cgroup2":
            v2 = v2 or point
            continue
        for option in tail[2].split(","):
            if option not in ("rw", "ro", "xattr", "clone_children", "noprefix") and "release_agent" not in option:
                v1.setdefault(option, point)
    return Layout(v1, v2)


@lru_cache(maxsize=1)
def layout() -> Layout:
    """This host's layout, read once a process."""
    return parse_layout(Path("/proc/self/mountinfo").read_text())


def memberships(pid: int | str = "self") -> dict[str, str]:
    """``pid``'s group in each hierarchy: controllers as in /proc/PID/cgroup (empty for v2) to path."""
    found: dict[str, str] = {}
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        found[controllers] = path
    return found


def leave_caller(pid: int, target: str) -> None:
    """Move ``pid`` to group ``target`` wherever it sits in a group of its caller's; HostError names the hierarchy.

    A hierarchy in which it is at the root already is left alone: nothing there ends with the caller's session, and
    every move costs a grace period of the kernel's.
    """
    here = layout()
    top = "/" + target.strip("/").split("/", 1)[0]
    for controllers, path in memberships(pid).items():
        if path == "/" or path == top or path.startswith(top + "/"):
            continue
        root = here.v2 if not controllers else here.v1.get(controllers.split(",")[0])
        if root is None:
            continue
        group = root / target.lstrip("/")
        try:
            _make(root, group, "cpuset" in controllers.split(","))
            (group / "cgroup.procs").write_text(str(pid))
        except OSError as error:
            if error.errno == errno.ESRCH:
                return
            raise HostError(f"moving process {pid} to cgroup {group}", error.strerror) from error


def _make(root: Path, group: Path, cpuset: bool) -> None:
    if group.is_dir():
        return
    if group.parent != root:
        _make(root, group.parent, cpuset)
    group.mkdir(exist_ok=True)
    if cpuset:
        # A v1 cpuset starts empty, and no task may enter an empty one.
        for name in ("cpuset.cpus", "cpuset.mems"):
            own = group / name
            if own.exists() and not own.read_text().strip():
                own.write_text((group.parent / name).read_text())


def freeze(path: str) -> None:
    """Stop every process of the group and wait until all stand still; HostError when they do not."""
    _set_frozen(path, True)


def thaw(path: str) -> None:
    """Let a frozen group go on."""
    _set_frozen(path, False)


def is_frozen(path: str) -> bool:
    """True when the group is frozen; False for one that is gone."""
    file, _, _, frozen = _freezer(path, True)
    try:
        return frozen in file.read_text().split("\n")
    except OSError:
        return False


def _freezer(path: str, frozen: bool) -> tuple[Path, str, Path, str]:
    """(file that tells, word to write, file to write, line that tells it is done)."""
    here = layout()
    below = path.lstrip("/")
    if "freezer" in here.v1:
        file = here.v1["freezer"] / below / "freezer.state"
        word = "FROZEN" if frozen else "THAWED"
        return file, word, file, word
    if here.v2 is None:
        raise HostError("freezing processes", "no freezer hierarchy is mounted", remedy="run ./bootstrap setup")
    group = here.v2 / below
    return group / "cgroup.events", "1" if frozen else "0", group / "cgroup.freeze", f"frozen {int(frozen)}"


def _set_frozen(path: str, frozen: bool) -> None:
    tells, word, writes, done = _freezer(path, frozen)
    step = f"{'freezing' if frozen else 'thawing'} cgroup {path}"
    deadline = time.monotonic() + FREEZE_TIMEOUT_S
    try:
        writes.write_text(word)
        while done not in tells.read_text().split("\n"):
            if time.monotonic() > deadline:
                writes.write_text("THAWED" if word in ("FROZEN", "THAWED") else "0")
                raise HostError(
                    step, f"not done after {FREEZE_TIMEOUT_S:g} s", remedy="see what its processes wait for"
                )
            time.sleep(_POLL_S)
            if frozen and word == "FROZEN":
                # v1: a task that was forking may slip through; writing again catches it (freezer-subsystem.rst).
                writes.write_text(word)
    except OSError as error:
        raise HostError(step, error.strerror) from error


def oom_kills(path: str) -> int:
    """How many processes of the group the kernel killed for memory; 0 where it does not tell."""
    root = layout().controller("memory")
    if root is None:
        return 0
    group = root / path.lstrip("/")
    for name in ("memory.events", "memory.oom_control"):
        try:
            lines = (group / name).read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            key, _, value = line.partition(" ")
            if key == "oom_kill":
                return int(value)
    return 0


def processes(path: str) -> list[int]:
    """Pids in the group and below, from whichever hierarchy has it."""
    found: set[int] = set()
    for root in layout().roots():
        group = root / path.lstrip("/")
        if not group.is_dir():
            continue
        for directory in _tree(group):
            try:
                found.update(int(line) for line in (directory / "cgroup.procs").read_text().split())
            except OSError:
                continue
    return sorted(found)


def kill(path: str) -> None:
    """Kill every process of the group, frozen or not; the ones that fork meanwhile too."""
    if is_frozen(path):
        thaw(path)
    for _ in range(KILL_ROUNDS):
        left = [pid for pid in processes(path) if _kill_one(pid)]
        if not left:
            return
        time.sleep(_POLL_S)


def _kill_one(pid: int) -> bool:
    """False when ``pid`` is gone; a pidfd keeps the signal from whoever gets its number next."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)


def exists(path: str) -> bool:
    """True when any hierarchy has the group."""
    return any((root / path.lstrip("/")).is_dir() for root in layout().roots())


def remove(path: str) -> None:
    """Remove the group and those below it from every hierarchy; waits a little for the last process to leave.

    Idempotent. HostError when processes stay in it.
    """
    for root in layout().roots():
        group = root / path.lstrip("/")
        for directory in _tree(group):
            _remove_one(directory)


def _tree(group: Path) -> Iterator[Path]:
    """``group`` and the groups below it, deepest first."""
    try:
        with os.scandir(group) as entries:
            below = [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return
    for directory in below:
        yield from _tree(directory)
    yield group


def _remove_one(directory: Path) -> None:
    for attempt in range(REMOVE_TRIES):
        try:
            directory.rmdir()
            return
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.EBUSY or attempt == REMOVE_TRIES - 1:
                raise HostError(f"removing cgroup {directory}", error.strerror) from error
        time.sleep(0.002)
