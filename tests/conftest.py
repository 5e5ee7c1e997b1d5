"""Fixtures and rules of all tests.

Owns where tests keep their state, how kernel tests are run (each on a private machine, see ``tests/isolation.py``) and
the rule that none of them is ever skipped silently. A kernel test may change anything in its own namespaces; what it
leaves behind there fails it, and what a session leaves on the shared machine fails the session.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from engine.config import CGROUP_ENV, DATA_ROOT_ENV, FIREWALL_ENV, RUN_DIR_ENV, Config
from engine.host import syscalls
from engine.values import dataclass, replace
from tests import isolation, leaks

if TYPE_CHECKING:
    from engine.engine import Engine
    from engine.images.collection import Image

SESSION_ENV = "PILOTHOUSE_TEST_SESSION"
CLI_LIMIT_S = 100.0
DESELECTED = pytest.StashKey[int]()
MACHINE = pytest.StashKey[leaks.Shared]()
CHANGES = pytest.StashKey[list[str]]()
WORKSPACE = pytest.StashKey[Path]()


def on_ci() -> bool:
    return os.environ.get("CI", "").lower() in ("1", "true", "yes")


def is_kernel(item: pytest.Item) -> bool:
    return item.get_closest_marker("kernel") is not None


# ---------------------------------------------------------------------------------------------- running and reporting


def pytest_sessionstart(session: pytest.Session) -> None:
    os.environ.setdefault(SESSION_ENV, f"session-{uuid.uuid4().hex}")
    if os.geteuid() == 0 and not _is_worker(session.config):
        session.config.stash[MACHINE] = leaks.Shared.observe()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if os.geteuid() == 0 or on_ci():
        return
    kernel = [item for item in items if is_kernel(item)]
    if kernel:
        config.hook.pytest_deselected(items=kernel)
        items[:] = [item for item in items if not is_kernel(item)]
        config.stash[DESELECTED] = len(kernel)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    if not is_kernel(item):
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    # The child must not make pytest's own temporary directory a second time.
    item.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
    workspace = Path(tempfile.mkdtemp(prefix="ph-test-", dir=_disk())) / "t"
    item.stash[WORKSPACE] = workspace
    try:
        for report in isolation.run(item, workspace):
            item.ihook.pytest_runtest_logreport(report=report)
    finally:
        # The namespaces are gone, and with them every mount below: nothing but the test's own files is removed.
        shutil.rmtree(workspace.parent, ignore_errors=True)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def pytest_runtest_setup(item: pytest.Item) -> None:
    if is_kernel(item) and os.geteuid() != 0:
        pytest.fail("kernel tests need root: run sudo ./bootstrap test", pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and on_ci() and is_kernel(item):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid}: a kernel test may not be skipped on CI: {report.longrepr}"
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    before = session.config.stash.get(MACHINE, None)
    if before is None:
        return
    changes = leaks.Shared.observe().changes(before, os.environ[SESSION_ENV])
    session.config.stash[CHANGES] = changes
    if changes and session.exitstatus == 0:
        session.exitstatus = 1


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if config.stash.get(DESELECTED, 0):
        terminalreporter.section("NOT ROOT", sep="!", red=True, bold=True)
        terminalreporter.line(f"{config.stash[DESELECTED]} kernel tests were left out: run sudo ./bootstrap test")
    if config.stash.get(CHANGES, []):
        terminalreporter.section("THIS MACHINE IS NOT AS BEFORE", sep="!", red=True, bold=True)
        for line in config.stash[CHANGES]:
            terminalreporter.line(line)


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


def _disk() -> str:
    """A directory on a file system that can hold an overlay's upper directory, short enough for socket paths."""
    chosen = os.environ.get("PILOTHOUSE_TEST_DIR")
    if chosen:
        return chosen
    for candidate in ("/var/tmp", "/tmp", str(Path.cwd())):
        kind = subprocess.run(["stat", "-f", "-c", "%T", candidate], capture_output=True, text=True, check=True).stdout
        if kind.strip() != "overlayfs":
            return candidate
    return "/dev/shm"


# ------------------------------------------------------------------------------------------------------------ fixtures


@pytest.fixture
def config(request: pytest.FixtureRequest) -> Iterator[Config]:
    """An engine's settings with a data root and a run dir of this test alone; its containers are removed at the end.

    ``@pytest.mark.disk(megabytes=N)`` makes the data root a tmpfs of that size. With the fixture ``firewall_backend``
    the settings name that backend.
    """
    data_root = request.node.stash[WORKSPACE] / "data"
    data_root.mkdir()
    disk = request.node.get_closest_marker("disk")
    if disk is not None:
        syscalls.mount("tmpfs", str(data_root), "tmpfs", 0, f"size={int(disk.kwargs['megabytes'])}m,mode=711")
    config = Config(
        data_root=data_root,
        run_dir=Path("/run/pilothouse"),
        cgroup_parent=leaks.cgroup_parent(request.node.stash[WORKSPACE]),
    )
    if "firewall_backend" in request.fixturenames:
        config = replace(config, firewall=request.getfixturevalue("firewall_backend"))
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(DATA_ROOT_ENV, str(config.data_root))
        environment.setenv(RUN_DIR_ENV, str(config.run_dir))
        environment.setenv(FIREWALL_ENV, config.firewall)
        environment.setenv(CGROUP_ENV, config.cgroup_parent)
        yield config
        _remove_containers(config)
    if disk is not None:
        syscalls.umount2(str(data_root), syscalls.MNT_DETACH)


@pytest.fixture(params=["nft", "legacy"])
def firewall_backend(request: pytest.FixtureRequest) -> str:
    """Runs the test once on each iptables backend."""
    return str(request.param)


@pytest.fixture
def engine(config: Config) -> Iterator[Engine]:
    """An engine on this test's own data root and run dir."""
    from engine.engine import Engine

    engine = Engine(config)
    yield engine
    engine.close()


@pytest.fixture
def busybox(engine: Engine) -> Image:
    """The offline image ``busybox:latest``."""
    return engine.images.ensure_busybox()


def _word(argument: str | os.PathLike[str]) -> str:
    return os.fspath(argument)


@dataclass(frozen=True)
class Command:
    """The ``pilothouse`` command on this test's state, as another process."""

    prefix: tuple[str, ...]

    def __call__(
        self,
        *arguments: str | os.PathLike[str],
        stdin: str | None = None,
        check: int | None = None,
        timeout: float = CLI_LIMIT_S,
    ) -> subprocess.CompletedProcess[str]:
        """Run it to its end; with ``check``, fail with its whole output unless that is its exit code."""
        result = subprocess.run(
            [*self.prefix, *map(_word, arguments)],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check is not None and result.returncode != check:
            words = f"pilothouse {' '.join(map(_word, arguments))}: exit code {result.returncode}, not {check}"
            pytest.fail(f"{words}\n--- stdout\n{result.stdout}\n--- stderr\n{result.stderr}", pytrace=True)
        return result

    def start(self, *arguments: str | os.PathLike[str], **options: Any) -> subprocess.Popen[str]:
        """Start it and return at once; ``options`` go to Popen (pipes are text)."""
        return subprocess.Popen([*self.prefix, *map(_word, arguments)], text=True, **options)


@pytest.fixture
def cli(config: Config) -> Command:
    """``cli("run", "-d", "busybox", check=0).stdout``: the command as users run it."""
    script = Path(sys.executable).with_name("pilothouse")
    if script.exists():
        return Command((str(script),))
    return Command((sys.executable, "-c", "import sys; from tui.command_line.main import main; sys.exit(main())"))


@dataclass(frozen=True)
class Outside:
    """Another machine: a network namespace joined to this test's host by a veth pair, each the other's gateway."""

    address: str
    host_address: str
    netns: Path

    def arguments(self, command: Sequence[str | os.PathLike[str]]) -> list[str]:
        """``command`` so that it runs there."""
        # Not ``ip netns exec``: that remounts /sys and hides the cgroups.
        return ["nsenter", f"--net={self.netns}", "--", *map(_word, command)]

    def run(
        self,
        *command: str | os.PathLike[str],
        stdin: str | None = None,
        check: int | None = None,
        timeout: float = CLI_LIMIT_S,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command there to its end."""
        return Command(tuple(self.arguments(())))(*command, stdin=stdin, check=check, timeout=timeout)

    def start(self, *command: str | os.PathLike[str], **options: Any) -> subprocess.Popen[str]:
        """Start a command there and return at once."""
        return Command(tuple(self.arguments(()))).start(*command, **options)

    def call(self, function: Callable[[], Any]) -> Any:
        """The result of ``function`` run in a thread that is over there (sockets opened by it stay there)."""
        from concurrent.futures import ThreadPoolExecutor

        def enter() -> Any:
            descriptor = os.open(self.netns, os.O_RDONLY)
            try:
                syscalls.setns(descriptor, syscalls.CLONE_NEWNET)
            finally:
                os.close(descriptor)
            return function()

        with ThreadPoolExecutor(1) as pool:
            return pool.submit(enter).result()


@pytest.fixture
def outside() -> Iterator[Outside]:
    """A machine outside: 203.0.113.2, seen from the host's 203.0.113.1; the host's default route leads there."""
    machine = Outside("203.0.113.2", "203.0.113.1", Path("/run/netns/outside"))
    script = f"""
        ip netns add outside
        ip link add uplink type veth peer name eth0 netns outside
        ip addr add {machine.host_address}/24 dev uplink
        ip link set uplink up
        ip -n outside addr add {machine.address}/24 dev eth0
        ip -n outside link set eth0 up
        ip -n outside link set lo up
        ip -n outside route add default via {machine.host_address}
        ip route add default via {machine.address}
    """
    subprocess.run(["sh", "-euc", script], check=True)
    yield machine
    subprocess.run(["ip", "link", "del", "uplink"], check=True)
    subprocess.run(["ip", "netns", "del", "outside"], check=True)


def _remove_containers(config: Config) -> None:
    if not (config.data_root / "state.db").exists():
        return
    from engine.engine import Engine

    engine = Engine(config)
    try:
        if engine.database.one("SELECT 1 FROM containers") is not None:
            for container in engine.containers.list(all=True):
                container.remove(force=True, v=True)
    finally:
        engine.close()
