"""What a container sees and may do: capabilities, seccomp, limits, mounts, users, init, terminal; exec and attach."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.containers.container import Container
from engine.containers.terminal import Streams
from engine.engine import Engine
from engine.errors import CommandNotExecutable, CommandNotFound, Conflict, InvalidInput
from engine.host import cgroups
from engine.images.records import Image

pytestmark = pytest.mark.kernel


@pytest.fixture
def output(engine: Engine, busybox: Image) -> Callable[..., str]:
    """What a shell script writes in a fresh container."""

    def output(script: str, **settings: object) -> str:
        settings.setdefault("network_mode", "none")
        written = engine.containers.run("busybox", ["sh", "-c", script], auto_remove=True, **settings)
        assert isinstance(written, bytes)
        return written.decode()

    return output


@pytest.fixture
def running(engine: Engine, busybox: Image) -> Container:
    container = engine.containers.run("busybox", ["sleep", "1000"], detach=True, network_mode="none")
    assert isinstance(container, Container)
    return container


def status(text: str) -> dict[str, str]:
    return dict(line.split(":\t") for line in text.splitlines() if ":\t" in line)


def test_docker_s_capabilities_and_a_filter(output: Callable[..., str]) -> None:
    found = status(output("cat /proc/self/status"))
    assert (found["CapEff"], found["CapBnd"], found["CapAmb"]) == ("00000000a80425fb", "00000000a80425fb", "0" * 16)
    assert found["Seccomp"] == "2"
    # The second run uses the compiled filter of the first; it must filter all the same.
    assert status(output("cat /proc/self/status"))["Seccomp"] == "2"
    assert output("unshare -r true 2>&1 || echo refused").endswith("refused\n")


def test_capabilities_as_asked(output: Callable[..., str]) -> None:
    assert status(output("cat /proc/self/status", cap_drop=["ALL"]))["CapEff"] == "0" * 16
    assert status(output("cat /proc/self/status", cap_drop=["ALL"], cap_add=["NET_RAW"]))["CapEff"] == f"{1 << 13:016x}"


def test_privileged_gets_what_the_host_has(output: Callable[..., str], engine: Engine) -> None:
    warnings: list[str] = []
    engine.containers.on_warning = warnings.append
    found = status(output("cat /proc/self/status; test -w /proc/sys && ls /dev/kmsg >&2", privileged=True))
    own = status(Path("/proc/self/status").read_text())["CapBnd"]
    assert found["CapEff"] == own
    assert found["Seccomp"] == "0"
    assert ("CAP_SYS_RESOURCE" in "".join(warnings)) == (not int(own, 16) >> 24 & 1)


def test_proc_and_sys_are_guarded(output: Callable[..., str]) -> None:
    words = output("for f in /proc/sys/kernel/hostname /sys/kernel/profiling; do (echo 1 > $f) 2>&1; done; true")
    assert words.count("Read-only file system") == 2
    assert output("cat /proc/keys /proc/kcore | wc -c") == "0\n"


def test_limits_reach_the_kernel(engine: Engine, busybox: Image) -> None:
    container = engine.containers.create(
        "busybox", ["sleep", "1000"], network_mode="none", mem_limit="64m", nano_cpus="0.5", pids_limit=50
    )
    container.start()
    group = f"{engine.config.cgroup_parent}/{container.id}".lstrip("/")
    layout = cgroups.layout()

    def value(controller: str, v1: str, v2: str) -> str:
        root = layout.controller(controller)
        assert root is not None
        return (root / group / (v1 if controller in layout.v1 else v2)).read_text().strip()

    assert value("memory", "memory.limit_in_bytes", "memory.max") == str(64 << 20)
    assert value("pids", "pids.max", "pids.max") == "50"
    assert value("cpu", "cpu.cfs_quota_us", "cpu.max").split()[0] == "50000"


def test_running_out_of_memory_is_told(engine: Engine, busybox: Image) -> None:
    script = "head -c 100000000 /dev/zero | tail >/dev/null; exit 9"
    container = engine.containers.create("busybox", ["sh", "-c", script], network_mode="none", mem_limit="8m")
    container.start()
    container.wait()
    assert container.attrs["State"]["OOMKilled"] is True
    assert "oom" in [event.action for event in engine.events.since(0)]


def test_hostname_files_and_environment(output: Callable[..., str]) -> None:
    script = "hostname; cat /etc/hostname; env | sort; id -u; pwd; test -e /.dockerenv && echo marked"
    lines = output(script, hostname="box", environment={"A": "b c"}, working_dir="/made/here").splitlines()
    assert lines == [
        "box",
        "box",
        "A=b c",
        "HOME=/root",
        "HOSTNAME=box",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "PWD=/made/here",
        "SHLVL=1",
        "0",
        "/made/here",
        "marked",
    ]


def test_users_are_the_images(output: Callable[..., str]) -> None:
    assert output("id -u; id -g", user="1234:5678") == "1234\n5678\n"
    with pytest.raises(InvalidInput, match="unable to find user stranger"):
        output("true", user="stranger")


def test_mounts(output: Callable[..., str], tmp_path: Path, engine: Engine) -> None:
    (tmp_path / "file").write_text("from the host")
    missing = tmp_path / "missing" / "deep"
    script = """
        cat /ro/file; (echo x > /ro/new) 2>&1; echo kept > /made/new; echo v > /vol/new
        (echo x > /root-fs) 2>&1; echo t > /t/x && df /t | tail -1 | awk '{print $2}'
    """
    words = output(
        script,
        binds=[f"{tmp_path}:/ro:ro", f"{missing}:/made", "data:/vol"],
        tmpfs=["/t:size=1m"],
        read_only=True,
    )
    assert words.startswith("from the host")
    assert words.count("Read-only file system") == 2
    assert words.endswith("1024\n")
    assert (missing / "new").read_text() == "kept\n"
    assert (engine.volumes.path("data") / "new").read_text() == "v\n"
    # Mounts of a container never reach the host's mount table.
    assert str(missing) not in Path("/proc/self/mountinfo").read_text()


def test_a_volume_takes_over_the_images_content(engine: Engine, busybox: Image) -> None:
    maker = engine.containers.create(
        "busybox", ["sh", "-c", "mkdir /d; echo seed > /d/f; chown 7:8 /d; chmod 750 /d"], network_mode="none"
    )
    maker.start()
    maker.wait()
    maker.commit("seeded", changes=["VOLUME /d", 'CMD ["sleep","1000"]'])
    container = engine.containers.create("seeded", network_mode="none", binds=["named:/d"])
    other = engine.containers.create("seeded", network_mode="none")
    container.start()
    other.start()
    assert container.exec(["sh", "-c", "cat /d/f; stat -c '%u:%g %a' /d"]).output == b"seed\n7:8 750\n"
    assert other.exec(["cat", "/d/f"]).output == b"seed\n"
    (anonymous,) = (mount["Name"] for mount in other.attrs["Mounts"])
    assert len(anonymous) == 64
    other.remove(force=True, v=True)
    container.remove(force=True, v=True)
    assert [volume.name for volume in engine.volumes.list()] == ["named"]


def test_init_reaps_and_passes_signals_on(engine: Engine, busybox: Image) -> None:
    script = 'trap "exit 21" TERM; echo ready; while :; do sleep 0.05; done'
    container = engine.containers.create("busybox", ["sh", "-c", script], network_mode="none", init=True)
    container.start()
    next(iter(container.logs(follow=True)))
    assert container.exec(["cat", "/proc/1/cmdline"]).output.startswith(b"/sbin/docker-init\0--\0sh")
    container.stop()
    assert container.exit_code == 21


# ---------------------------------------------------------------------------------------------------------------- exec


def test_exec(running: Container) -> None:
    assert running.exec(["true"]) == (0, b"")
    assert running.exec(["sh", "-c", "exit 9"]).exit_code == 9
    done = running.exec(
        "sh -c 'id -u; pwd; echo $A$HOME; echo err >&2'", user="12:34", working_dir="/tmp", environment={"A": "b"}
    )
    assert done == (0, b"12\n/tmp\nb/\nerr\n")
    found = status(running.exec(["cat", "/proc/self/status"]).output.decode())
    assert (found["CapEff"], found["Seccomp"]) == ("00000000a80425fb", "2")


def test_exec_of_what_cannot_be_executed(running: Container) -> None:
    with pytest.raises(CommandNotFound, match=r'exec: "nope": executable file not found in \$PATH') as missing:
        running.exec(["nope"])
    with pytest.raises(CommandNotExecutable, match="is a directory") as refused:
        running.exec(["/etc"])
    assert (missing.value.exit_code, refused.value.exit_code) == (127, 126)
    running.stop(timeout=0)
    with pytest.raises(Conflict, match="is not running"):
        running.exec(["true"])


def test_exec_streams_go_straight_through(running: Container, tmp_path: Path) -> None:
    source, out, err = tmp_path / "in", tmp_path / "out", tmp_path / "err"
    source.write_bytes(os.urandom(1 << 20))
    with source.open("rb") as stdin, out.open("wb") as stdout, err.open("wb") as stderr:
        streams = Streams(stdin.fileno(), stdout.fileno(), stderr.fileno())
        done = running.exec(["sh", "-c", "cat; echo x >&2; exit 3"], interactive=True, streams=streams)
    assert done.exit_code == 3
    assert out.read_bytes() == source.read_bytes()
    assert err.read_text() == "x\n"


def test_a_detached_exec_lives_on(running: Container) -> None:
    assert running.exec(["sh", "-c", "sleep 0.3; touch /done"], detach=True) == (None, b"")
    deadline = time.monotonic() + 10
    while running.exec(["test", "-e", "/done"]).exit_code != 0:
        assert time.monotonic() < deadline
        time.sleep(0.05)


class Screen:
    """A terminal of 33 rows and 77 columns with somebody who types and reads."""

    def __init__(self) -> None:
        self.master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))
        self.seen = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def streams(self) -> Streams:
        return Streams(self.slave, self.slave, self.slave)

    def _read(self) -> None:
        while True:
            try:
                self.seen += os.read(self.master, 4096)
            except OSError:
                return

    def wait_for(self, words: bytes) -> None:
        deadline = time.monotonic() + 10
        while words not in self.seen:
            assert time.monotonic() < deadline, (words, self.seen)
            time.sleep(0.01)

    def script(self, *steps: tuple[bytes, bytes]) -> None:
        """In the background: wait for the first of each pair to be seen, then type the second."""

        def act() -> None:
            for expected, typed in steps:
                self.wait_for(expected)
                os.write(self.master, typed)

        threading.Thread(target=act, daemon=True).start()


@pytest.fixture
def screen() -> Iterator[Screen]:
    screen = Screen()
    yield screen
    os.close(screen.slave)
    os.close(screen.master)


def test_exec_on_a_terminal(running: Container, screen: Screen) -> None:
    before = termios.tcgetattr(screen.slave)
    screen.script((b"#", b"stty size; echo $TERM; exit 5\r"))
    assert running.exec(["sh"], tty=True, interactive=True, streams=screen.streams).exit_code == 5
    screen.wait_for(b"33 77\r\nxterm")
    assert termios.tcgetattr(screen.slave) == before


def test_detaching_from_an_exec_leaves_it_running(running: Container, screen: Screen) -> None:
    screen.script((b"#", b"sleep 0.5; touch /done\r"), (b"touch", b"\x10\x11"))
    assert running.exec(["sh"], tty=True, interactive=True, streams=screen.streams).exit_code is None
    deadline = time.monotonic() + 10
    while running.exec(["test", "-e", "/done"]).exit_code != 0:
        assert time.monotonic() < deadline
        time.sleep(0.05)


# -------------------------------------------------------------------------------------------------------------- attach


def test_a_foreground_run_misses_nothing_and_half_closes(engine: Engine, busybox: Image, tmp_path: Path) -> None:
    source, out, err = tmp_path / "in", tmp_path / "out", tmp_path / "err"
    source.write_bytes(b"line\n" * 20000)
    container = engine.containers.create(
        "busybox",
        ["sh", "-c", "echo first; cat; echo err >&2; exit 6"],
        network_mode="none",
        stdin_open=True,
        stdin_once=True,
        auto_remove=True,
    )
    with source.open("rb") as stdin, out.open("wb") as stdout, err.open("wb") as stderr:
        assert container.attach(Streams(stdin.fileno(), stdout.fileno(), stderr.fileno()), start=True) == 6
    assert out.read_bytes() == b"first\n" + source.read_bytes()
    assert err.read_text() == "err\n"
    assert engine.containers.list(all=True) == []


def test_a_terminal_of_ones_own(engine: Engine, busybox: Image, screen: Screen) -> None:
    container = engine.containers.create("busybox", ["sh"], network_mode="none", stdin_open=True, tty=True)
    screen.script((b"#", b"stty size\r"), (b"33 77", b"\x10\x11"))
    assert container.attach(screen.streams, start=True) is None
    assert container.status == "running"
    screen.seen = b""
    screen.script((b"", b"echo again; exit 4\r"))
    assert container.attach(screen.streams) == 4
    screen.wait_for(b"again\r\n")
    assert container.status == "exited"


def test_a_client_that_does_not_read_never_blocks_the_container(engine: Engine, busybox: Image) -> None:
    container = engine.containers.create(
        "busybox", ["sh", "-c", "sleep 0.5; head -c 20000000 /dev/zero; touch /done; sleep 1000"], network_mode="none"
    )
    container.start()
    reader, writer = os.pipe()
    trouble: list[BaseException] = []

    def attach() -> None:
        try:
            container.attach(Streams(None, writer, writer), sig_proxy=False)
        except BaseException as error:
            trouble.append(error)

    client = threading.Thread(target=attach, daemon=True)
    client.start()
    deadline = time.monotonic() + 30
    while container.exec(["test", "-e", "/done"]).exit_code != 0:
        assert time.monotonic() < deadline, "the container is held up by its client"
        time.sleep(0.1)
    client.join(timeout=5)
    assert "its output was not read" in str(trouble[0])
    os.close(reader)
    os.close(writer)
