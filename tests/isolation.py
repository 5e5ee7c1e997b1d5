"""A private machine for each kernel test: a forked child in its own network and mount namespaces.

Owns forking, the namespaces, the time limit, carrying pytest's reports back, and the end of every process the test
started. Knows nothing of what a test does. Three processes take part:

    pytest ── supervisor (subreaper, makes the namespaces, keeps the time limit) ── child (runs the test)

Whatever the test daemonises (conmon, the warden, a container's init) falls to the supervisor, so after the test every
process that is left is one of its descendants: it is named as a leak and killed by pid, never by name.
"""

from __future__ import annotations

import faulthandler
import fcntl
import os
import pickle
import signal
import socket
import struct
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from _pytest.runner import runtestprotocol

from engine.host import chroots, syscalls
from engine.values import dataclass, field
from tests import leaks

DEFAULT_LIMIT_S = 120.0
GRACE_S = 5.0
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1
# Programs that talk to systemd or read its resolver file still find them on the private /run.
KEPT_IN_RUN = ("systemd", "dbus", "resolvconf", "NetworkManager")


@dataclass
class Outcome:
    """What the supervisor tells pytest."""

    reports: list[dict[str, Any]] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)
    trouble: str = ""


def run(item: pytest.Item, workspace: Path) -> list[pytest.TestReport]:
    """Run ``item`` on a private machine; its reports, with a failure added for a crash, a time-out or a leak."""
    workspace.mkdir(parents=True)
    started = time.time()
    supervisor = os.fork()
    if supervisor == 0:
        _never_return(lambda: _supervise(item, workspace))
    try:
        os.waitpid(supervisor, 0)
    except BaseException:
        os.kill(supervisor, signal.SIGTERM)
        os.waitpid(supervisor, 0)
        raise
    outcome = _read(workspace)
    reports = [item.config.hook.pytest_report_from_serializable(config=item.config, data=d) for d in outcome.reports]
    failed = any(report.failed for report in reports)
    if outcome.trouble or not reports:
        reports.append(_failure(item, "call", outcome.trouble or "the supervisor died", workspace, started))
    elif outcome.leaks and not failed:
        reports.append(_failure(item, "teardown", "left behind:\n  " + "\n  ".join(outcome.leaks), workspace, started))
    return reports


def time_limit(item: pytest.Item) -> float:
    """Seconds the test may take: ``@pytest.mark.limit(seconds)``, else the default."""
    marker = item.get_closest_marker("limit")
    return float(marker.args[0]) if marker else DEFAULT_LIMIT_S


def enter_private_machine() -> None:
    """Own network namespace with lo up; own mounts, a private /run, so ip netns and the iptables lock are private."""
    directory = Path.cwd()
    if chroots.is_chroot():
        chroots.enter_own_root()
        os.chdir(directory)
    syscalls.unshare(syscalls.CLONE_NEWNS | syscalls.CLONE_NEWNET)
    syscalls.mount("none", "/", "", syscalls.MS_REC | syscalls.MS_PRIVATE)
    host_run = os.open("/run", os.O_PATH | os.O_DIRECTORY)
    try:
        syscalls.mount("tmpfs", "/run", "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, "mode=755")
        for name in KEPT_IN_RUN:
            if Path(f"/proc/self/fd/{host_run}/{name}").is_dir():
                Path("/run", name).mkdir()
                syscalls.mount(f"/proc/self/fd/{host_run}/{name}", f"/run/{name}", "", syscalls.MS_BIND)
    finally:
        os.close(host_run)
    Path("/run/netns").mkdir()
    Path("/run/lock").mkdir()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = bytearray(struct.pack("16sh14x", b"lo", 0))
        fcntl.ioctl(control, SIOCGIFFLAGS, request)
        flags = struct.unpack_from("h", request, 16)[0]
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))


def as_supervisor() -> None:
    """Make this process the one that orphans fall to, in a session of its own, ended when its parent ends."""
    os.setsid()
    syscalls.prctl(PR_SET_CHILD_SUBREAPER, 1)
    syscalls.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _never_return(body: Callable[[], None]) -> None:
    status = 1
    try:
        body()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        # Not sys.exit: pytest's own frames are above us in this copy of its process.
        os._exit(status)


class _TimeIsUp(Exception):
    """The test ran into its limit."""


class _Stopped(Exception):
    """pytest wants the test to end now (Ctrl-C, or it died)."""


def _supervise(item: pytest.Item, workspace: Path) -> None:
    as_supervisor()
    signal.signal(signal.SIGTERM, _raise(_Stopped))
    signal.signal(signal.SIGALRM, _raise(_TimeIsUp))
    outcome = Outcome()
    try:
        enter_private_machine()
        before = leaks.Private.observe()
        outcome.trouble = _run_child(item, workspace, time_limit(item))
        outcome.reports = list(_read_reports(workspace))
        _await_descendants(GRACE_S)
        outcome.leaks = [f"process {line}" for line in _describe(_descendants())]
        outcome.leaks += leaks.Private.observe().beyond(before)
        outcome.leaks += leaks.cgroups_of(workspace)
    except _Stopped:
        outcome.trouble = "stopped"
    except BaseException:
        outcome.trouble = traceback.format_exc()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    kill_descendants()
    leaks.remove_cgroups_of(workspace)
    (workspace / "outcome").write_bytes(pickle.dumps(outcome))


def _run_child(item: pytest.Item, workspace: Path, limit: float) -> str:
    """Fork the test and wait for it, reaping orphans meanwhile; why it did not end well, or nothing."""
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        _never_return(lambda: _run_test(item, workspace))
    signal.setitimer(signal.ITIMER_REAL, limit)
    try:
        status = _reap_until(child)
    except _TimeIsUp:
        os.kill(child, signal.SIGUSR1)  # its stacks go to the workspace
        time.sleep(0.3)
        os.kill(child, signal.SIGKILL)
        return f"no end within {limit:g} s"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    if os.WIFSIGNALED(status):
        return f"the test's process was killed by {signal.Signals(os.WTERMSIG(status)).name}"
    return "" if status == 0 else f"the test's process ended with status {os.waitstatus_to_exitcode(status)}"


def _run_test(item: pytest.Item, workspace: Path) -> None:
    with open(workspace / "stacks", "w") as stacks, open(workspace / "reports", "wb") as out:
        faulthandler.register(signal.SIGUSR1, file=stacks, all_threads=True)
        # nextitem=None tears every fixture down here, whatever its scope: none of them exists in pytest's own process.
        for report in runtestprotocol(item, nextitem=None, log=False):
            data = item.config.hook.pytest_report_to_serializable(config=item.config, report=report)
            pickle.dump(data, out)
            out.flush()


def _raise(kind: type[Exception]) -> Callable[[int, object], None]:
    def handler(_number: int, _frame: object) -> None:
        raise kind

    return handler


def _reap_until(child: int) -> int:
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == child:
            return status


def _reap_ready() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _descendants() -> list[int]:
    """Pids of every living process below this one."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
            except OSError:
                continue
            if fields[0] not in "ZX":
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, pending = [], [os.getpid()]
    while pending:
        below = children.get(pending.pop(), [])
        found += below
        pending += below
    return found


def _await_descendants(seconds: float) -> None:
    """Exit hooks and a warden without duties end by themselves; give them the time a busy machine needs."""
    deadline = time.monotonic() + seconds
    _reap_ready()
    while _descendants() and time.monotonic() < deadline:
        time.sleep(0.01)
        _reap_ready()


def kill_descendants() -> None:
    """Kill every process below this one, however deep, and reap what falls to it."""
    for _ in range(500):
        _reap_ready()
        pids = _descendants()
        if not pids:
            return
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.01)


def _describe(pids: list[int]) -> Iterator[str]:
    for pid in pids:
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        yield f"{pid} {words[:300]}"


def _read(workspace: Path) -> Outcome:
    try:
        outcome = pickle.loads((workspace / "outcome").read_bytes())
    except (OSError, EOFError, pickle.UnpicklingError):
        return Outcome()
    assert isinstance(outcome, Outcome)
    return outcome


def _read_reports(workspace: Path) -> Iterator[dict[str, Any]]:
    try:
        with open(workspace / "reports", "rb") as source:
            while True:
                yield pickle.load(source)
    except (OSError, EOFError, pickle.UnpicklingError):
        return


def _failure(item: pytest.Item, when: Any, words: str, workspace: Path, started: float) -> pytest.TestReport:
    stacks = workspace / "stacks"
    sections = [("stacks", stacks.read_text())] if stacks.exists() and stacks.stat().st_size else []
    capture = item.config.pluginmanager.getplugin("capturemanager")
    if capture is not None and when == "call":
        out, err = capture.read_global_capture()
        sections += [(f"Captured {name}", text) for name, text in (("stdout", out), ("stderr", err)) if text]
    return pytest.TestReport(
        nodeid=item.nodeid,
        location=item.location,
        keywords=dict.fromkeys(item.keywords, 1),
        outcome="failed",
        longrepr=f"{item.nodeid}: {words}",
        when=when,
        sections=sections,
        duration=time.time() - started,
        start=started,
        stop=time.time(),
    )
