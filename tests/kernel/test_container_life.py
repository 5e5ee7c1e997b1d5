"""A container's life on a real kernel: created, started, stopped, killed, paused, restarted, removed."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.containers.container import Container, ContainerFailed
from engine.containers.record import Record
from engine.containers.terminal import Streams
from engine.engine import Engine
from engine.errors import CommandNotExecutable, CommandNotFound, Conflict, HostError, InvalidInput, NotFound
from engine.host import cgroups, processes
from engine.images.records import Image
from tests.kernel.fault_scenes import wait_until

pytestmark = pytest.mark.kernel


def record_of(engine: Engine, container: Container) -> Record:
    record = engine.containers.records.get(container.id)
    assert record is not None
    return record


def actions(engine: Engine, container: Container) -> list[str]:
    return [event.action for event in engine.events.since(0) if event.actor == container.id]


@pytest.fixture
def make(engine: Engine, busybox: Image) -> Callable[..., Container]:
    def make(*command: str, **settings: Any) -> Container:
        settings.setdefault("network_mode", "none")
        return engine.containers.create("busybox", list(command) or ["sleep", "1000"], **settings)

    return make


def traces(engine: Engine, container: Container) -> Iterator[str]:
    """What a container that does not run may not have."""
    for place in (
        engine.config.run_dir / "containers" / container.id,
        engine.containers.runtime.state_directory(container.id),
    ):
        if place.exists():
            yield str(place)
    if cgroups.exists(f"{engine.config.cgroup_parent}/{container.id}"):
        yield "cgroup"
    mounts = Path("/proc/self/mountinfo").read_text()
    if container.id in mounts or f"ph-{container.short_id}" in mounts:
        yield "mount"
    if engine.networks.endpoints_of(container.id):
        yield "endpoint"


def test_from_creation_to_removal(engine: Engine, make: Callable[..., Container]) -> None:
    container = make(name="web")
    assert (container.status, container.summary.status) == ("created", "Created")
    container.start()
    record = record_of(engine, container)
    assert record.status == "running"
    assert processes.is_alive(record.pid, record.pid_start)
    assert processes.is_alive(record.conmon_pid, record.conmon_start)
    assert Path(f"/proc/{record.pid}/cmdline").read_bytes() == b"sleep\x001000\x00"
    container.stop(timeout=0)
    record = record_of(engine, container)
    assert (record.status, record.exit_code, record.error) == ("exited", 137, "")
    assert list(traces(engine, container)) == []
    container.start()
    assert container.status == "running"
    container.remove(force=True)
    with pytest.raises(NotFound, match="No such container: web"):
        engine.containers.get("web")
    assert list(traces(engine, container)) == []
    assert not (engine.config.data_root / "containers" / container.id).exists()
    assert [id for id in engine.driver.ids() if id.startswith(container.id)] == []
    assert actions(engine, container) == [
        "create", "start", "die", "stop", "start", "die", "destroy"
    ]  # fmt: skip


def test_the_exit_hook_alone_deals_with_an_exit(engine: Engine, make: Callable[..., Container]) -> None:
    container = make("sh", "-c", "exit 7", network_mode="bridge")
    container.start()
    # Nobody of this process looks: only the row changes.
    wait_until(lambda: record_of(engine, container).status == "exited", "the hook has recorded the exit")
    record = record_of(engine, container)
    assert (record.exit_code, record.oom_killed, record.error) == (7, False, "")
    assert record.finished_at >= record.started_at
    wait_until(lambda: not list(traces(engine, container)), "the hook has torn everything down")
    assert not (engine.config.run_dir / "exit-hook.log").exists()
    container.remove()


def test_a_foreground_run_with_rm_ends_when_all_of_it_is_gone_whoever_removes_it(
    engine: Engine, make: Callable[..., Container]
) -> None:
    container = make("sh", "-c", "yes | head -c 200000; sleep 1000", auto_remove=True, binds=["/cache"])
    reader, writer = os.pipe()
    row_is_gone = threading.Event()

    def remove() -> None:
        wait_until(lambda: record_of(engine, container).status == "running", "it runs")
        other = Engine(engine.config)
        drop = other.volumes.remove

        def drop_late(*names: Any) -> None:
            row_is_gone.set()
            time.sleep(0.5)
            drop(*names)

        other.volumes.remove = drop_late  # type: ignore[method-assign]
        other.containers.get(container.id).remove(force=True, v=True)
        other.close()

    def read() -> None:
        # The client has output to pass on, and so comes to the container's end when the row is gone already.
        row_is_gone.wait(30)
        while os.read(reader, 65536):
            pass

    threads = [threading.Thread(target=work) for work in (remove, read)]
    for thread in threads:
        thread.start()
    assert container.attach(Streams(None, writer), start=True) == 137
    assert engine.volumes.list() == []
    os.close(writer)
    for thread in threads:
        thread.join()
    assert not engine.locks.directory.joinpath(f"container-{container.id}").exists()


def test_wait_gives_the_exit_code_whoever_records_it(engine: Engine, make: Callable[..., Container]) -> None:
    container = make("sh", "-c", "sleep 0.2; exit 5")
    assert container.wait() == 0
    container.start()
    assert container.wait() == 5
    assert container.wait() == 5
    removed = make("sh", "-c", "sleep 0.2; exit 6", auto_remove=True)
    removed.start()
    assert removed.wait() == 6
    wait_until(lambda: engine.containers.records.get(removed.id) is None, "--rm has removed it")


def test_a_foreground_run_returns_what_was_written(engine: Engine, busybox: Image) -> None:
    def run(script: str) -> Container | bytes:
        return engine.containers.run("busybox", ["sh", "-c", script], auto_remove=True, network_mode="none")

    assert run("echo out; echo err >&2; printf open") == b"out\nopen"
    with pytest.raises(ContainerFailed, match="exit code 3: broken") as caught:
        run("echo broken >&2; exit 3")
    assert caught.value.exit_code == 3
    assert engine.containers.list(all=True) == []


def test_a_signal_as_exit_code(make: Callable[..., Container], engine: Engine) -> None:
    container = make("sh", "-c", "sleep 1000 & wait")
    container.start()
    container.kill("SIGKILL")
    assert record_of(engine, container).exit_code == 137
    with pytest.raises(Conflict, match="is not running"):
        container.kill()


def test_stop_sends_the_stop_signal_first(make: Callable[..., Container]) -> None:
    script = 'trap "exit 42" INT; trap "exit 43" TERM; echo ready; while :; do sleep 0.05; done'
    container = make("sh", "-c", script, stop_signal="SIGINT")
    container.start()
    next(iter(container.logs(follow=True)))
    container.stop(timeout=10)
    assert container.exit_code == 42


def test_a_kill_gets_through_while_a_stop_waits(make: Callable[..., Container], engine: Engine) -> None:
    container = make("sleep", "1000")
    container.start()
    stopper = threading.Thread(target=container.stop, kwargs={"timeout": 60})
    stopper.start()
    wait_until(lambda: (engine.config.run_dir / "containers" / container.id / "marker").exists(), "the stop waits")
    container.kill()
    stopper.join(timeout=10)
    assert not stopper.is_alive()
    assert container.status == "exited"


def test_pause_really_freezes(make: Callable[..., Container], engine: Engine) -> None:
    container = make("sh", "-c", "while :; do echo x; sleep 0.02; done")
    container.start()
    log = engine.config.data_root / "containers" / container.id / "ctr.log"
    wait_until(lambda: log.exists() and log.stat().st_size > 200, "it writes")
    container.pause()
    assert (container.status, container.summary.status.endswith("(Paused)")) == ("paused", True)
    time.sleep(0.05)
    size = log.stat().st_size
    time.sleep(0.3)
    assert log.stat().st_size == size
    with pytest.raises(Conflict, match="is already paused"):
        container.pause()
    with pytest.raises(Conflict, match="try unpause instead"):
        container.start()
    with pytest.raises(Conflict, match="container is paused: unpause and then stop"):
        container.remove()
    with pytest.raises(Conflict, match="is paused, unpause the container before exec"):
        container.exec(["true"])
    container.unpause()
    wait_until(lambda: log.stat().st_size > size, "it goes on")
    with pytest.raises(Conflict, match="is not paused"):
        container.unpause()
    container.pause()
    container.stop(timeout=0)
    assert container.exit_code == 137


def test_a_paused_container_can_be_killed_and_removed(make: Callable[..., Container]) -> None:
    container = make()
    container.start()
    container.pause()
    container.kill()
    assert container.status == "exited"
    container.start()
    container.pause()
    container.remove(force=True)


def test_restart_keeps_the_address_and_the_namespace(make: Callable[..., Container], engine: Engine) -> None:
    other, container = make(network_mode="bridge"), make(network_mode="bridge", ports=["18080:80"])
    other.start()
    container.start()
    address, namespace = container.summary.address, Path(f"/proc/{container.summary.pid}/ns/net").stat().st_ino
    first = record_of(engine, container).pid
    other.stop(timeout=0)
    container.restart(timeout=0)
    assert container.summary.address == address
    assert Path(f"/proc/{container.summary.pid}/ns/net").stat().st_ino == namespace
    assert record_of(engine, container).pid != first
    assert "18080" in container.summary.ports
    assert engine.database.all("SELECT * FROM duties") == []


def test_a_failed_start_changes_nothing_but_the_error(make: Callable[..., Container], engine: Engine) -> None:
    container = make("nocmd", network_mode="bridge", ports=["18081:80"], restart_policy="always")
    with pytest.raises(CommandNotFound, match=r'exec: "nocmd": executable file not found in \$PATH') as caught:
        container.start()
    assert caught.value.exit_code == 127
    record = record_of(engine, container)
    assert (record.status, record.exit_code, "nocmd" in record.error) == ("created", 127, True)
    assert list(traces(engine, container)) == []
    assert engine.database.all("SELECT * FROM duties") == []
    assert engine.journal.pending() == []


def test_a_command_without_execute_permission(make: Callable[..., Container], engine: Engine) -> None:
    container = make("/etc", network_mode="none")
    with pytest.raises(CommandNotExecutable) as caught:
        container.start()
    assert caught.value.exit_code == 126
    assert record_of(engine, container).exit_code == 126


@pytest.mark.parametrize(("setting", "words"), [("runtime", "no-such-runtime"), ("conmon", "no-such-monitor")])
def test_a_missing_program_is_named(engine: Engine, busybox: Image, setting: str, words: str) -> None:
    from engine.values import replace

    crippled = Engine(replace(engine.config, **{setting: words}))
    container = crippled.containers.create("busybox", ["true"], network_mode="none")
    with pytest.raises(HostError, match=f"{words} is not installed") as caught:
        container.start()
    assert "install" in caught.value.remedy
    assert container.status == "created"
    crippled.close()


def test_running_containers_are_not_removed_without_force(make: Callable[..., Container]) -> None:
    container = make()
    container.start()
    with pytest.raises(Conflict, match="container is running: stop the container before removing or force remove"):
        container.remove()
    container.remove(force=True)


def test_references(make: Callable[..., Container], engine: Engine) -> None:
    first = make(name="first")
    second = make(name="second")
    assert engine.containers.get("first").id == first.id
    assert engine.containers.get("/second").id == second.id
    assert engine.containers.get(first.id[:10]).id == first.id
    engine.database.execute("UPDATE containers SET id=? WHERE name='second'", (first.id[:20] + "0" * 44,))
    with pytest.raises(NotFound, match="Multiple IDs found with provided prefix"):
        engine.containers.get(first.id[:10])
    engine.database.execute("UPDATE containers SET id=? WHERE name='second'", (second.id,))
    with pytest.raises(Conflict, match=f'"/first" is already in use by container "{first.id}"'):
        make(name="first")
    assert len(engine.containers.list(all=True)) == 2


def test_impossible_requests_are_refused_before_anything_is_made(
    make: Callable[..., Container], engine: Engine, tmp_path: Path
) -> None:
    for settings in (
        {"auto_remove": True, "restart_policy": "always"},
        {"mem_limit": 1 << 20},
        {"working_dir": "relative"},
        {"name": "-bad"},
        {"cap_add": ["FLY"]},
    ):
        with pytest.raises(InvalidInput):
            make(**settings).start()
    with pytest.raises(NotFound, match="No such image: nothere"):
        engine.containers.create("nothere", ["x"])
    for container in engine.containers.list(all=True):
        container.remove()
    assert engine.database.all("SELECT * FROM journal") == []


def test_many_processes_acting_on_one_container_end_consistent(make: Callable[..., Container], engine: Engine) -> None:
    container = make(network_mode="bridge")
    script = (
        "import sys; from pathlib import Path; from engine.config import Config; from engine.engine import Engine; "
        "from engine.errors import EngineError; "
        "e = Engine(Config(Path(sys.argv[1]), Path(sys.argv[2]), cgroup_parent=sys.argv[-1]))\n"
        "try:\n c = e.containers.get(sys.argv[3]); getattr(c, sys.argv[4])(**eval(sys.argv[5]))\n"
        "except EngineError as x: print(x)"
    )

    def act(verb: str, settings: str) -> subprocess.Popen[bytes]:
        import sys

        places, group = [str(engine.config.data_root), str(engine.config.run_dir)], engine.config.cgroup_parent
        return subprocess.Popen([sys.executable, "-c", script, *places, container.id, verb, settings, group])

    for verbs in (
        [("start", "{}")] * 3,
        [("stop", "dict(timeout=0)"), ("restart", "dict(timeout=0)"), ("start", "{}")],
    ):
        for actor in [act(*verb) for verb in verbs]:
            assert actor.wait(timeout=60) == 0
        record = record_of(engine, container)
        alive = processes.is_alive(record.pid, record.pid_start)
        assert (record.status == "running") == alive
    container.start()
    record = record_of(engine, container)
    for actor in [act("stop", "dict(timeout=0)"), act("remove", "dict(force=True)"), act("kill", "{}")]:
        assert actor.wait(timeout=60) == 0
    assert engine.containers.records.get(container.id) is None
    assert not processes.is_alive(record.pid, record.pid_start)
    assert list(traces(engine, container)) == []


def test_the_caller_may_die_and_its_session_end(make: Callable[..., Container], engine: Engine) -> None:
    container = make()
    script = (
        "import sys, os; from pathlib import Path; from engine.config import Config; from engine.engine import Engine; "
        "engine = Engine(Config(Path(sys.argv[1]), Path(sys.argv[2]), cgroup_parent=sys.argv[-1])); "
        "engine.containers.get(sys.argv[3]).start(); "
        "print('up', flush=True); sys.stdin.read()"
    )
    import sys

    places = [str(engine.config.data_root), str(engine.config.run_dir)]
    shell = subprocess.Popen(
        [sys.executable, "-c", script, *places, container.id, engine.config.cgroup_parent],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        cwd="/tmp",
    )
    assert shell.stdout is not None and shell.stdout.readline() == b"up\n"
    record = record_of(engine, container)
    # What a logout does: SIGHUP to the session's group, then everything in it is killed.
    assert os.getsid(record.conmon_pid) != shell.pid
    os.killpg(shell.pid, signal.SIGHUP)
    os.killpg(shell.pid, signal.SIGKILL)
    shell.wait()
    time.sleep(0.1)
    assert processes.is_alive(record.pid, record.pid_start)
    assert processes.is_alive(record.conmon_pid, record.conmon_start)
    for _controllers, group in cgroups.memberships(record.conmon_pid).items():
        assert group == "/" or group.startswith(engine.config.cgroup_parent)


def test_bound_ports_live_with_conmon_and_leak_no_further(make: Callable[..., Container], engine: Engine) -> None:
    import socket

    container = make(network_mode="bridge", ports=["18082:80"])
    container.start()
    record = record_of(engine, container)
    with socket.socket() as rival, pytest.raises(OSError):
        rival.bind(("0.0.0.0", 18082))
    sockets = [link for link in map(os.readlink, _descriptors(record.pid)) if link.startswith("socket:")]
    assert sockets == []
    assert sorted(map(os.path.basename, map(str, _descriptors(record.pid)))) == ["0", "1", "2"]
    with pytest.raises(Conflict, match="18082"):
        make(network_mode="bridge", ports=["18082:80"]).start()
    container.stop(timeout=0)
    with socket.socket() as rival:
        rival.bind(("0.0.0.0", 18082))


def _descriptors(pid: int) -> list[Path]:
    return list(Path(f"/proc/{pid}/fd").iterdir())


def test_container_mode_joins_a_running_owner(make: Callable[..., Container], engine: Engine) -> None:
    owner = make(network_mode="bridge", name="owner")
    guest = make(network_mode="container:owner", name="guest")
    with pytest.raises(Conflict, match="cannot join network of a non running container"):
        guest.start()
    owner.start()
    guest.start()
    assert (
        Path(f"/proc/{guest.summary.pid}/ns/net").stat().st_ino
        == Path(f"/proc/{owner.summary.pid}/ns/net").stat().st_ino
    )
    assert guest.exec(["hostname"]).output == owner.exec(["hostname"]).output
    assert guest.exec(["cat", "/etc/hosts"]).output == owner.exec(["cat", "/etc/hosts"]).output
    guest.stop(timeout=0)
    assert owner.exec(["ip", "addr", "show", "eth0"]).exit_code == 0


def test_list_filters(make: Callable[..., Container], engine: Engine) -> None:
    make(name="one", labels={"tier": "web"}).start()
    make(name="two", labels={"tier": "db"})

    def named(**filters: Any) -> list[str]:
        return [row.name for row in engine.containers.summaries(all=True, filters=filters)]

    assert [row.name for row in engine.containers.summaries()] == ["one"]
    assert named() == ["two", "one"]
    assert named(label="tier=web") == ["one"]
    assert named(status=["created"]) == ["two"]
    assert named(name="^tw") == ["two"]
    assert named(ancestor="busybox") == ["two", "one"]
    with pytest.raises(InvalidInput, match="invalid filter 'colour'"):
        named(colour="red")
