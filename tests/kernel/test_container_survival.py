"""Restart policies, the warden, logs across restarts, and what is left when something is killed on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.containers import duties, marker
from engine.containers.conmon import hook_command
from engine.containers.container import Container
from engine.containers.record import Places, Record
from engine.engine import Engine
from engine.errors import CommandNotFound
from engine.host import cgroups, processes
from engine.images.records import Image
from engine.values import replace
from tests.kernel.fault_scenes import wait_until

pytestmark = pytest.mark.kernel


def record_of(engine: Engine, container: Container) -> Record:
    record = engine.containers.records.get(container.id)
    assert record is not None
    return record


@pytest.fixture
def make(engine: Engine, busybox: Image) -> Callable[..., Container]:
    def make(*command: str, **settings: Any) -> Container:
        settings.setdefault("network_mode", "none")
        return engine.containers.create("busybox", list(command) or ["sleep", "1000"], **settings)

    return make


def warden_pids(engine: Engine) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                arguments = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if (
                any(part.endswith(b"/warden.py") for part in arguments)
                and str(engine.config.data_root).encode() in arguments
            ):
                found.append(int(entry.name))
    return found


# ---------------------------------------------------------------------------------------------------- restart policies


def test_on_failure_gives_up_after_its_tries(make: Callable[..., Container], engine: Engine) -> None:
    container = make("sh", "-c", "echo run; exit 4", restart_policy="on-failure:2", network_mode="bridge")
    container.start()
    wait_until(lambda: record_of(engine, container).status == "exited", "it gave up")
    record = record_of(engine, container)
    assert (record.restart_count, record.exit_code) == (2, 4)
    assert [line.text for line in container.logs()] == [b"run\n"] * 3
    assert engine.database.all("SELECT * FROM duties") == []
    wait_until(lambda: not warden_pids(engine), "the warden has gone away")
    assert not engine.networks.endpoints_of(container.id)


def test_success_ends_on_failure(make: Callable[..., Container], engine: Engine) -> None:
    container = make("true", restart_policy="on-failure")
    container.start()
    wait_until(lambda: record_of(engine, container).status == "exited", "it ended")
    assert record_of(engine, container).restart_count == 0


def test_always_restarts_with_the_same_address(make: Callable[..., Container], engine: Engine) -> None:
    container = make(restart_policy="always", network_mode="bridge", ports=["18083:80"])
    container.start()
    first = record_of(engine, container)
    address = container.summary.address
    os.kill(first.pid, signal.SIGKILL)
    wait_until(lambda: record_of(engine, container).restart_count == 1, "it was restarted")
    second = record_of(engine, container)
    assert (second.status, second.pid != first.pid, container.summary.address) == ("running", True, address)
    assert "18083" in container.summary.ports
    container.stop(timeout=0)
    time.sleep(0.4)
    assert container.status == "exited"


def test_a_stop_cancels_a_pending_restart(make: Callable[..., Container], engine: Engine) -> None:
    container = make("false", restart_policy="always", network_mode="bridge")
    container.start()
    wait_until(lambda: record_of(engine, container).restart_delay_ms >= 400, "it waits for its restart")
    wait_until(lambda: record_of(engine, container).status == "restarting", "it waits for its restart")
    assert container.summary.status.startswith("Restarting (1)")
    container.stop(timeout=0)
    time.sleep(1.0)
    assert container.status == "exited"
    assert engine.database.all("SELECT * FROM duties") == []
    assert not engine.networks.endpoints_of(container.id)


def test_a_killed_warden_loses_no_duty(make: Callable[..., Container], engine: Engine) -> None:
    container = make("false", restart_policy="always")
    container.start()
    wait_until(lambda: record_of(engine, container).restart_delay_ms >= 800, "it waits a while")
    wait_until(lambda: record_of(engine, container).status == "restarting", "it waits for its restart")
    wait_until(lambda: len(warden_pids(engine)) == 1, "one warden keeps the list")
    os.kill(warden_pids(engine)[0], signal.SIGKILL)
    count = record_of(engine, container).restart_count
    # Any verb of any process starts another one.
    other = Engine(engine.config)
    other.containers.list()
    other.close()
    wait_until(lambda: record_of(engine, container).restart_count > count, "another warden did it")
    container.remove(force=True)


def test_a_cancelled_duty_stays_cancelled(engine: Engine) -> None:
    assert not engine.containers.duties.postpone(duties.RESTART, "f" * 64, 0.0)
    assert engine.containers.duties.all() == []


def test_the_warden_gives_up_a_duty_to_a_container_that_is_gone(engine: Engine) -> None:
    engine.containers.duties.add(duties.RESTART, "f" * 64, time.time())
    duties.wake_warden(engine.config)
    wait_until(lambda: engine.containers.duties.all() == [], "the duty is off the list", 4.0)
    wait_until(lambda: not warden_pids(engine), "the warden has gone away")


def test_only_one_warden_and_a_small_one(make: Callable[..., Container], engine: Engine) -> None:
    containers = [make("false", restart_policy="always") for _ in range(3)]
    for container in containers:
        container.start()
    wait_until(lambda: all(record_of(engine, each).restart_delay_ms >= 400 for each in containers), "they wait")
    wait_until(lambda: len(warden_pids(engine)) == 1, "no more than one stays")
    rollup = Path(f"/proc/{warden_pids(engine)[0]}/smaps_rollup").read_text()
    pss = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    assert pss < 15 * 1024
    assert os.getsid(warden_pids(engine)[0]) != os.getsid(0)
    for container in containers:
        container.remove(force=True)
    wait_until(lambda: not warden_pids(engine), "the warden has gone away")


def test_a_restart_that_fails_is_reported_and_not_looped(make: Callable[..., Container], engine: Engine) -> None:
    container = make(restart_policy="always", network_mode="bridge")
    container.start()
    rootfs = engine.driver.mount(container.id)
    (rootfs / "bin" / "sleep").unlink()
    os.kill(record_of(engine, container).pid, signal.SIGKILL)
    wait_until(lambda: record_of(engine, container).status == "exited", "the restart failed")
    assert "sleep" in record_of(engine, container).error
    assert engine.database.all("SELECT * FROM duties") == []
    assert not engine.networks.endpoints_of(container.id)
    with pytest.raises(CommandNotFound):
        container.start()


def test_logs_are_followed_across_restarts(make: Callable[..., Container], engine: Engine) -> None:
    container = make("sh", "-c", "echo one; exit 1", restart_policy="on-failure:2")
    container.start()
    assert [line.text for line in container.logs(follow=True)] == [b"one\n"] * 3


def test_logs(make: Callable[..., Container]) -> None:
    script = "for i in 1 2 3 4 5; do echo out $i; done; echo err >&2; head -c 100000 /dev/zero | tr '\\0' x; echo"
    container = make("sh", "-c", script)
    container.start()
    container.wait()
    lines = list(container.logs())
    assert [line.text for line in lines if line.stream == "stdout"][:5] == [b"out %d\n" % n for n in range(1, 6)]
    assert [line.text for line in container.logs(stdout=False)] == [b"err\n"]
    assert lines[-1].text == b"x" * 100000 + b"\n"
    assert [line.text for line in container.logs(tail=1)] == [b"x" * 100000 + b"\n"]
    middle = lines[2].time
    assert next(line.time for line in container.logs(since=middle)) == middle
    assert list(container.logs(until=lines[0].time - 1)) == []
    assert list(container.logs(since=lines[-1].time + 1)) == []


def test_following_ends_with_the_container_or_when_told(make: Callable[..., Container]) -> None:
    container = make("sh", "-c", "echo a; sleep 0.3; echo b")
    container.start()
    assert [line.text for line in container.logs(follow=True)] == [b"a\n", b"b\n"]
    endless = make("sh", "-c", "echo a; sleep 1000")
    endless.start()
    over = threading.Event()
    seen: list[bytes] = []

    def follow() -> None:
        seen.extend(line.text for line in endless.logs(follow=True, stop=over.is_set))

    reader = threading.Thread(target=follow)
    reader.start()
    over.set()
    reader.join(timeout=5)
    assert not reader.is_alive()


# ---------------------------------------------------------------------------------------------------------------- boots


def rebooted(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """What a reboot leaves: no process, no run dir, no mounts, another boot id."""
    for container in engine.containers.list(all=True):
        record = engine.containers.records.need(container.id)
        for pid, start in ((record.conmon_pid, record.conmon_start), (record.pid, record.pid_start)):
            processes.send_signal(pid, start, signal.SIGKILL)
            processes.wait_gone(pid, start)
        engine.driver.unmount(container.id)
        cgroups.remove(f"{engine.config.cgroup_parent}/{container.id}")
        (engine.config.run_dir / "crun" / container.id / "status").unlink(missing_ok=True)
        subprocess.run(["rm", "-rf", *map(str, (engine.config.run_dir / "containers").iterdir())], check=True)
        subprocess.run(["rm", "-rf", str(engine.config.run_dir / "crun")], check=True)
    monkeypatch.setattr(processes, "boot_id", lambda: "another-boot")
    return Engine(engine.config)


def test_after_a_boot_the_policies_decide(
    make: Callable[..., Container], engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, policy in (
        ("plain", "no"),
        ("always", "always"),
        ("unless", "unless-stopped"),
        ("stopped", "unless-stopped"),
    ):
        make(name=name, restart_policy=policy, network_mode="bridge").start()
    make(name="never", restart_policy="always")
    engine.containers.get("stopped").stop(timeout=0)
    fresh = rebooted(engine, monkeypatch)
    rows = {row.name: row for row in fresh.containers.summaries(all=True)}
    assert {name: row.state for name, row in rows.items()} == {
        "plain": "exited",
        "always": "exited",
        "unless": "exited",
        "stopped": "exited",
        "never": "created",
    }
    assert rows["plain"].exit_code == 255
    assert fresh.containers.restore() == ["always", "unless"]
    assert fresh.containers.get("always").exec(["ip", "addr", "show", "eth0"]).exit_code == 0
    assert fresh.containers.get("stopped").status == "exited"
    fresh.close()


# -------------------------------------------------------------------------------------------------------------- crashes


def test_a_killed_hook_leaves_the_work_to_the_next_verb(make: Callable[..., Container], engine: Engine) -> None:
    container = make(network_mode="bridge", ports=["18084:80"])
    container.start()
    record = record_of(engine, container)
    # The hook waits for the container's lock, and dies there.
    with engine.locks.hold("container", container.id):
        os.kill(record.pid, signal.SIGKILL)
        children = Path(f"/proc/{record.conmon_pid}/task/{record.conmon_pid}/children")
        wait_until(lambda: b"exit_hook" in _arguments(children), "the hook runs")
        os.kill(int(children.read_text().split()[0]), signal.SIGKILL)
        wait_until(lambda: not processes.is_alive(record.conmon_pid, record.conmon_start), "conmon is gone")
    assert record_of(engine, container).status == "running"
    assert container.summary.state == "exited"
    assert record_of(engine, container).exit_code == 137
    assert not engine.networks.endpoints_of(container.id)
    container.start()
    container.remove(force=True)


def _arguments(children: Path) -> bytes:
    try:
        return b" ".join(Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children.read_text().split())
    except OSError:
        return b""


def test_a_killed_monitor_leaves_a_container_that_can_be_dealt_with(
    make: Callable[..., Container], engine: Engine
) -> None:
    container = make(network_mode="bridge")
    container.start()
    record = record_of(engine, container)
    os.kill(record.conmon_pid, signal.SIGKILL)
    processes.wait_gone(record.conmon_pid, record.conmon_start)
    assert container.status == "running"
    assert container.exec(["true"]).exit_code == 0
    container.stop(timeout=0)
    stopped = record_of(engine, container)
    assert (stopped.status, stopped.exit_code) == ("exited", 255)
    assert "monitor was killed" in stopped.error
    container.start()
    assert container.status == "running"


def test_stragglers_the_runtime_forgot_are_killed(make: Callable[..., Container], engine: Engine) -> None:
    container = make("sh", "-c", "sleep 1001 & sleep 1002 & wait")
    container.start()
    group = f"{engine.config.cgroup_parent}/{container.id}"
    wait_until(lambda: len(cgroups.processes(group)) == 3, "all three run")
    container.pause()
    subprocess.run(["rm", "-rf", str(engine.containers.runtime.state_directory(container.id))], check=True)
    record = record_of(engine, container)
    engine.containers.records.update(container.id, status="exited")
    container.remove()
    assert not cgroups.exists(group)
    assert not processes.is_alive(record.pid, record.pid_start)


def test_a_late_hook_of_an_earlier_run_does_nothing(make: Callable[..., Container], engine: Engine) -> None:
    container = make()
    container.start()
    first = record_of(engine, container).generation
    container.restart(timeout=0)
    subprocess.run(hook_command(engine.config, container.id, first), check=True)
    assert container.status == "running"
    assert container.exec(["true"]).exit_code == 0


def test_a_marker_counts_only_while_its_process_lives(make: Callable[..., Container], engine: Engine) -> None:
    container = make()
    container.start()
    record = record_of(engine, container)
    path = Places.of(engine.config, container.id).marker
    helper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
    path.write_text(f"{helper.pid} {processes.start_time(helper.pid)} {record.generation}")
    assert marker.stands(path, record.generation)
    assert not marker.stands(path, record.generation + 1)
    os.kill(helper.pid, signal.SIGSTOP)
    wait_until(lambda: not marker.stands(path, record.generation), "a suspended process does not count")
    helper.kill()
    helper.wait()
    assert not marker.stands(path, record.generation)
    os.kill(record.pid, signal.SIGKILL)
    wait_until(lambda: record_of(engine, container).status == "exited", "the hook did it")


@pytest.mark.parametrize("moment", ["rows", "launched", "started"])
def test_a_start_killed_on_its_way_is_undone(make: Callable[..., Container], engine: Engine, moment: str) -> None:
    container = make(network_mode="bridge", ports=["18085:80"])
    hook = {
        "rows": "startup.files.write",
        "launched": "startup.Startup._keep_filter",
        "started": "runtime.Runtime.start",
    }[moment]
    script = (
        "import os, sys, signal; from pathlib import Path; from engine.config import Config; "
        "from engine.engine import Engine; from engine.containers import startup, runtime\n"
        f"kept = {hook}\n"
        "def die(*a, **k):\n kept(*a, **k); os.kill(os.getpid(), signal.SIGKILL)\n"
        f"{hook} = die\n"
        "engine = Engine(Config(Path(sys.argv[1]), Path(sys.argv[2]), cgroup_parent=sys.argv[4]))\n"
        "engine.containers.get(sys.argv[3]).start()"
    )
    places = [str(engine.config.data_root), str(engine.config.run_dir), container.id, engine.config.cgroup_parent]
    died = subprocess.run([sys.executable, "-c", script, *places], capture_output=True, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert engine.journal.pending()
    other = Engine(engine.config)
    assert other.journal.pending() == []
    record = record_of(engine, container)
    assert (record.status, record.error) == ("created", "the start was interrupted")
    assert not other.networks.endpoints_of(container.id)
    assert not cgroups.exists(f"{engine.config.cgroup_parent}/{container.id}")
    other.close()
    container.start()
    assert container.exec(["true"]).exit_code == 0


DIE_AT_ITS_VOLUMES = """
import os, signal, sys
from pathlib import Path
from engine.config import Config
from engine.containers import mounts
from engine.engine import Engine
from engine.volumes.collection import Volumes

engine = Engine(Config(Path(sys.argv[1]), Path(sys.argv[2]), cgroup_parent=sys.argv[3]))
Volumes.remove = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[4] == "removal":
    engine.containers.get("it").remove(v=True)
else:
    Volumes.populate = None  # So the creation fails, and dies while it undoes itself.
    binds = (mounts.parse_volume("/etc"),)
    engine.containers.create("busybox", ["true"], name="it", binds=binds)
"""


@pytest.mark.parametrize("verb", ["creation", "removal"])
def test_anonymous_volumes_go_with_a_container_whose_end_was_cut_short(
    make: Callable[..., Container], engine: Engine, verb: str
) -> None:
    if verb == "removal":
        make(name="it", binds=["/cache"])
        assert len(engine.volumes.list()) == 1
    places = [str(engine.config.data_root), str(engine.config.run_dir), engine.config.cgroup_parent]
    died = subprocess.run([sys.executable, "-c", DIE_AT_ITS_VOLUMES, *places, verb], capture_output=True, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert engine.database.all("SELECT * FROM containers") == [] and len(engine.volumes.list()) == 1
    Engine(engine.config).close()
    assert engine.volumes.list() == [] and engine.journal.pending() == []


def test_a_commit_thaws_what_a_killed_one_left_frozen(make: Callable[..., Container], engine: Engine) -> None:
    container = make("sh", "-c", "echo x > /file; sleep 1000")
    container.start()
    script = (
        "import os, sys, signal; from pathlib import Path; from engine.config import Config; "
        "from engine.engine import Engine; from engine.images.collection import Images\n"
        "Images.commit_layer = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)\n"
        "Engine(Config(Path(sys.argv[1]), Path(sys.argv[2]), cgroup_parent=sys.argv[4]))"
        ".containers.get(sys.argv[3]).commit('half')"
    )
    arguments = [str(engine.config.data_root), str(engine.config.run_dir), container.id, engine.config.cgroup_parent]
    subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, check=False)
    group = f"{engine.config.cgroup_parent}/{container.id}"
    assert cgroups.is_frozen(group)
    assert container.status == "running"
    image = container.commit("whole", changes=['CMD ["cat","/file"]'])
    assert not cgroups.is_frozen(group)
    assert image.names == ("whole:latest",)
    assert engine.containers.run("whole", auto_remove=True, network_mode="none") == b"x\n"


def test_the_hook_needs_nothing_of_its_callers_environment(make: Callable[..., Container], engine: Engine) -> None:
    container = make("sh", "-c", "sleep 0.2; exit 3", network_mode="bridge")
    script = (
        "import os, sys; from pathlib import Path; from engine.config import Config; from engine.engine import Engine\n"
        "e = Engine(Config(Path(sys.argv[1]), Path(sys.argv[2]), cgroup_parent=sys.argv[4]))\n"
        "k = e.containers.get(sys.argv[3])\n"
        "os.environ.clear(); os.mkdir('/tmp/gone-%d' % os.getpid()); os.chdir('/tmp/gone-%d' % os.getpid())\n"
        "os.rmdir('/tmp/gone-%d' % os.getpid()); k.start()"
    )
    places = [str(engine.config.data_root), str(engine.config.run_dir), container.id, engine.config.cgroup_parent]
    subprocess.run([sys.executable, "-c", script, *places], check=True)
    wait_until(lambda: record_of(engine, container).status == "exited", "the hook recorded the exit")
    assert record_of(engine, container).exit_code == 3
    assert not (engine.config.run_dir / "exit-hook.log").exists()


def test_settings_of_the_engine_reach_its_programs(busybox: Image, engine: Engine) -> None:
    other = Engine(replace(engine.config, cgroup_parent="/pilothouse-other"))
    container = other.containers.create(
        "busybox", ["sh", "-c", "exit 1"], restart_policy="on-failure:1", network_mode="none"
    )
    container.start()
    wait_until(lambda: record_of(other, container).status == "exited", "it gave up")
    assert record_of(other, container).restart_count == 1
    assert not cgroups.exists(f"/pilothouse-other/{container.id}")
    container.remove()
    cgroups.remove("/pilothouse-other")
    other.close()
