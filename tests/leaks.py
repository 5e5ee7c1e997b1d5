"""What a test may have left behind: in its private machine, and on the machine everybody shares.

Owns observing and comparing. Changes nothing, but for the cgroups of a dead test's containers, which no namespace
holds. ``Private`` is read inside a test's namespaces, ``Shared`` outside of all of them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from engine.values import dataclass

CGROUP_ROOT = Path("/sys/fs/cgroup")
# A bridge and the base chains may stay when the last container is gone, as docker's do.
BRIDGES = ("docker0", "pilot0")
SAVE_PROGRAMS = ("iptables-nft-save", "iptables-legacy-save", "ip6tables-nft-save", "ip6tables-legacy-save")


@dataclass(frozen=True)
class Private:
    """Kernel objects of one test's namespaces."""

    mounts: frozenset[str]
    links: frozenset[str]
    namespaces: frozenset[str]

    @classmethod
    def observe(cls) -> Private:
        return cls(_mounts(), _links(), _names(Path("/run/netns")))

    def beyond(self, before: Private) -> list[str]:
        """What is here and was not ``before``, in words."""
        found = [f"mount {point}" for point in sorted(self.mounts - before.mounts) if point != "/run/netns"]
        found += [f"link {name}" for name in sorted(self.links - before.links) if name not in BRIDGES]
        return found + [f"network namespace {name}" for name in sorted(self.namespaces - before.namespaces)]


@dataclass(frozen=True)
class Shared:
    """Everything of the shared machine that a session could change."""

    objects: frozenset[str]

    @classmethod
    def observe(cls) -> Shared:
        found = {f"mount {point}" for point in _mounts()}
        found |= {f"network namespace {name}" for name in _names(Path("/run/netns"))}
        found |= {f"{word} {line}" for word in ("link", "addr", "route") for line in _ip(word)}
        found |= {f"firewall rule {line}" for line in _rules()}
        found |= {f"cgroup {path}" for path in _own_cgroups("pilothouse-*")}
        return cls(frozenset(found))

    def changes(self, before: Shared, session: str) -> list[str]:
        """What differs from ``before``, and processes of the session that still live.

        Other sessions may run on this machine at the same time: a cgroup with processes, or one under the name that
        every installation uses, is theirs, and a short-lived one is given a second to go.
        """
        extra = self.objects - before.objects
        suspects = {Path(line[7:]) for line in extra if line.startswith("cgroup ")}
        if suspects:
            time.sleep(1)
        stale = {f"cgroup {path}" for path in suspects if path.is_dir() and not _has_processes(path)}
        found = [f"new: {line}" for line in sorted(extra) if not line.startswith("cgroup ") or line in stale]
        found += [f"gone: {line}" for line in sorted(before.objects - self.objects) if not line.startswith("cgroup ")]
        deadline = time.monotonic() + 2
        while (left := list(processes_of(session))) and time.monotonic() < deadline:
            time.sleep(0.05)
        return found + [f"process {pid} {_arguments(pid)}" for pid in left]


def processes_of(session: str) -> Iterator[int]:
    """Pids of other processes whose environment or arguments carry the session's mark.

    Python's own helper of ``multiprocessing`` ends with the pytest process that started it.
    """
    mark = session.encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            arguments = (entry / "cmdline").read_bytes()
            if b"multiprocessing.resource_tracker" in arguments:
                continue
            if mark in arguments or mark in (entry / "environ").read_bytes():
                yield int(entry.name)


def _arguments(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def cgroup_parent(workspace: Path) -> str:
    """The cgroup, in every hierarchy, below which the containers of the test with this workspace live."""
    return f"/pilothouse-{workspace.parent.name}"


def cgroups_of(workspace: Path) -> list[str]:
    """Cgroups of containers and build steps that a test left; those of monitors and the warden may stay."""
    return [
        f"cgroup {path}"
        for path in _own_cgroups(cgroup_parent(workspace).lstrip("/"))
        if path.name not in ("conmon", "warden")
    ]


def remove_cgroups_of(workspace: Path) -> None:
    """Remove every cgroup of a test whose processes are all dead."""
    for hierarchy in _hierarchies():
        top = hierarchy / cgroup_parent(workspace).lstrip("/")
        for directory in [*sorted((p for p in top.rglob("*") if p.is_dir()), reverse=True), top]:
            with contextlib.suppress(OSError):
                directory.rmdir()


def _hierarchies() -> list[Path]:
    if not CGROUP_ROOT.is_dir():
        return []
    return [CGROUP_ROOT, *(path for path in CGROUP_ROOT.iterdir() if path.is_dir())]


def _own_cgroups(parents: str) -> list[Path]:
    """Directories below the cgroups ``parents`` (a pattern), in every hierarchy."""
    found = []
    for hierarchy in _hierarchies():
        with contextlib.suppress(OSError):
            for parent in hierarchy.glob(parents):
                found += [path for path in parent.iterdir() if path.is_dir()]
    return found


def _has_processes(path: Path) -> bool:
    with contextlib.suppress(OSError):
        return any((d / "cgroup.procs").read_text().strip() for d in [path, *path.rglob("*")] if d.is_dir())
    return False


def _mounts() -> frozenset[str]:
    with open("/proc/self/mountinfo", errors="replace") as table:
        return frozenset(line.split(" ", 5)[4] for line in table)


def _links() -> frozenset[str]:
    with open("/proc/self/net/dev") as table:
        return frozenset(line.split(":")[0].strip() for line in table.readlines()[2:])


def _names(directory: Path) -> frozenset[str]:
    return frozenset(os.listdir(directory)) if directory.is_dir() else frozenset()


def _ip(what: str) -> Iterator[str]:
    output = subprocess.run(["ip", "-o", what, "show"], capture_output=True, text=True, check=True).stdout
    for line in output.splitlines():
        # Lifetimes and queue states move by themselves.
        yield " ".join(line.split()[1:4]) if what != "route" else line


def _rules() -> Iterator[str]:
    for program in SAVE_PROGRAMS:
        if shutil.which(program):
            table = ""
            output = subprocess.run([program], capture_output=True, text=True, check=False).stdout
            for line in output.splitlines():
                if line.startswith("*"):
                    table = line[1:]
                if line.startswith(("-A", ":")):
                    yield f"{program} {table}: {line.partition(' [')[0]}"
