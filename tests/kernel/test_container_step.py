"""A build step's process: the same sandbox as a container's, nothing left of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.containers.step import run_step
from engine.engine import Engine
from engine.errors import Cancelled, CommandNotExecutable, CommandNotFound, InvalidInput
from engine.host import cgroups
from engine.images.records import Image

pytestmark = pytest.mark.kernel

PATH = {"PATH": "/bin:/usr/bin"}


@pytest.fixture
def rootfs(engine: Engine, busybox: Image) -> Iterator[Path]:
    engine.driver.create("step", engine.images.top_layer(busybox))
    yield engine.driver.mount("step")
    engine.driver.remove("step")


@pytest.fixture
def step(engine: Engine, rootfs: Path) -> Callable[..., tuple[int, str]]:
    def step(*arguments: str, **settings: object) -> tuple[int, str]:
        settings.setdefault("network", "none")
        settings.setdefault("environment", PATH)
        seen: list[bytes] = []
        code = run_step(engine, rootfs=rootfs, arguments=arguments, output=seen.append, **settings)  # type: ignore[arg-type]
        assert leftovers(engine) == []
        return code, b"".join(seen).decode()

    return step


def leftovers(engine: Engine) -> list[str]:
    run = engine.config.run_dir
    found = [str(path) for name in ("containers", "crun") if (run / name).exists() for path in (run / name).iterdir()]
    found += [str(path) for path in (run / "locks").iterdir() if path.name.startswith(("step-", "container-"))]
    found += [row["container"] for row in engine.database.all("SELECT container FROM endpoints")]
    return found + [entry.operation for entry in engine.journal.pending()]


def test_output_and_exit_code(step: Callable[..., tuple[int, str]]) -> None:
    assert step("sh", "-c", "echo out; echo err >&2; exit 7") == (7, "out\nerr\n")
    assert step("sh", "-c", "sh -c 'kill -9 $$'; exit $?")[0] == 137


def test_the_file_system_keeps_what_the_step_wrote_and_nothing_else(
    step: Callable[..., tuple[int, str]], engine: Engine, rootfs: Path
) -> None:
    before = (rootfs / "etc").stat().st_mtime_ns
    step("sh", "-c", "mkdir /made; echo x > /made/file; ls /proc/self /sys /dev/null >/dev/null; cat /etc/hosts")
    assert {change.path for change in engine.driver.changes("step")} == {"/made", "/made/file"}
    assert (rootfs / "etc").stat().st_mtime_ns == before


def test_the_same_sandbox_as_a_containers(step: Callable[..., tuple[int, str]]) -> None:
    _, text = step("cat", "/proc/self/status")
    assert "CapEff:\t00000000a80425fb" in text
    assert "Seccomp:\t2" in text


def test_environment_directory_and_user(step: Callable[..., tuple[int, str]]) -> None:
    done = step("sh", "-c", "echo $A; pwd; id -u", environment={**PATH, "A": "b"}, working_dir="/tmp", user="12:34")
    assert done == (0, "b\n/tmp\n12\n")
    with pytest.raises(InvalidInput, match="unable to find user stranger"):
        step("true", user="stranger")


def test_networks(step: Callable[..., tuple[int, str]]) -> None:
    assert "172.17.0." in step("ip", "addr", network="bridge")[1]
    assert "eth0" not in step("ip", "addr", network="none")[1]


def test_commands_that_cannot_run(step: Callable[..., tuple[int, str]], engine: Engine) -> None:
    with pytest.raises(CommandNotFound):
        step("nope")
    with pytest.raises(CommandNotExecutable):
        step("/etc")
    assert leftovers(engine) == []


def test_a_cancelled_step_is_killed(step: Callable[..., tuple[int, str]], engine: Engine) -> None:
    cancel = threading.Event()
    timer = threading.Timer(0.3, cancel.set)
    timer.start()
    with pytest.raises(Cancelled):
        step("sleep", "1000", cancel=cancel, network="bridge")
    assert leftovers(engine) == []


def test_a_killed_builder_leaves_its_step_to_the_next_engine(engine: Engine, rootfs: Path) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path; from engine.config import Config; "
        "from engine.engine import Engine; from engine.containers.step import run_step\n"
        "engine = Engine(Config(Path(sys.argv[1]), Path(sys.argv[2]), cgroup_parent=sys.argv[4]))\n"
        "run_step(engine, rootfs=Path(sys.argv[3]), "
        "arguments=['sh', '-c', 'echo up; sleep 1000'], environment={'PATH': '/bin'}, "
        "output=lambda _: os.kill(os.getpid(), signal.SIGKILL))"
    )
    places = [str(engine.config.data_root), str(engine.config.run_dir), str(rootfs), engine.config.cgroup_parent]
    died = subprocess.run([sys.executable, "-c", script, *places], capture_output=True, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr
    (entry,) = [each for each in engine.journal.pending() if each.operation == "container.step"]
    group = f"{engine.config.cgroup_parent}/{entry.intent['id']}"
    assert cgroups.processes(group)
    Engine(engine.config).close()
    assert not cgroups.exists(group)
    assert [path for path in leftovers(engine) if not path.startswith(str(engine.config.run_dir / "locks"))] == []
    assert os.listdir(engine.config.run_dir / "containers") == []
