"""kill -9 in the middle: whoever comes next finishes it or rolls it back, and nothing half-made is ever listed."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.config import Config
from engine.engine import Engine
from tests.conftest import Command
from tests.kernel.fault_scenes import Scene, assert_told_well, kill, processes, temporary_files, wait_until

pytestmark = pytest.mark.kernel

# What a listing may never hold after a crash; images and layers of finished build steps may stay, as a cache.
HALF_MADE = ("addresses", "ports", "journal", "mounts", "namespaces", "containers", "container_directories")


def assert_whole(config: Config) -> None:
    """Every row has its files and every file has its row."""
    now = Scene.observe(config)
    assert not now.journal
    assert not temporary_files(config)
    engine = Engine(config)
    try:
        known = {row["cache_id"] for row in engine.database.all("SELECT cache_id FROM layers")} | now.containers
        directories = {name.partition("/")[2] for name in now.layer_directories}
        assert {row["cache_id"] for row in engine.database.all("SELECT cache_id FROM layers")} <= directories
        assert {name for name in directories if not any(name.startswith(id) for id in known)} == set()
        for image in engine.images.list(all=True):
            engine.images.inspect(image.id)
            for row in engine.images.history(image.id):
                assert row.size >= 0
        for row in engine.database.all("SELECT blob FROM layers"):
            assert (config.data_root / "blobs/sha256" / row["blob"].removeprefix("sha256:")).is_file()
    finally:
        engine.close()


@pytest.mark.parametrize("share", [0.15, 0.3, 0.45, 0.6, 0.75, 0.9])
@pytest.mark.parametrize("verb", ["run", "create", "rm"])
def test_a_command_killed_on_its_way(cli: Command, config: Config, scene: Scene, verb: str, share: float) -> None:
    def command(name: str) -> list[str]:
        if verb == "rm":
            cli("run", "-d", "--name", name, "-p", "8088:80", "busybox", "sleep", "1000", check=0)
            return ["rm", "-f", name]
        flags = ["-d"] if verb == "run" else []
        return [verb, *flags, "--name", name, "-p", "8088:80", "busybox", "sleep", "1000"]

    whole = command("whole")
    started = time.monotonic()
    cli(*whole, check=0)
    duration = time.monotonic() - started
    cli("rm", "-f", "whole")

    victim = cli.start(*command("victim"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(duration * share)
    kill(victim)

    listed = cli("ps", "-a", "--format", "{{.Names}} {{.State}}", check=0).stdout.split()
    assert listed in ([], ["victim", "created"], ["victim", "running"], ["victim", "exited"]), listed
    if listed == ["victim", "running"]:
        assert cli("exec", "victim", "echo", "alive", check=0).stdout == "alive\n"
    # The name and the port are free again, or belong to a container that can be removed.
    cli("rm", "-f", *listed[:1]) if listed else None
    cli("run", "-d", "--name", "victim", "-p", "8088:80", "busybox", "sleep", "1000", check=0)
    cli("rm", "-f", "victim", check=0)
    assert not Scene.observe(config).beyond(scene)
    assert_whole(config)


def test_a_run_killed_while_it_makes_rules(cli: Command, config: Config, scene: Scene, engine: Engine) -> None:
    with engine.locks.hold("firewall", "rules"):
        victim = cli.start("run", "-d", "--name", "victim", "-p", "8088:80", "busybox", "sleep", "1000")
        wait_until(lambda: Scene.observe(config).namespaces, "the victim makes its network namespace")
        time.sleep(0.1)
        kill(victim)

    cli("ps", "-a", check=0)
    left = Scene.observe(config).beyond(scene)
    assert set(left) <= {"containers", "container_directories", "layer_directories"}, left
    rules = subprocess.run(["iptables-save"], capture_output=True, text=True, check=True).stdout
    assert "8088" not in rules
    links = json.loads(subprocess.run(["ip", "-j", "link"], capture_output=True, check=True).stdout)
    assert not [link["ifname"] for link in links if link["ifname"].startswith("veth")]
    cli("rm", "-f", "victim")
    assert not Scene.observe(config).beyond(scene)


def test_a_build_killed_during_run(cli: Command, config: Config, scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    (tmp_path / "Dockerfile").write_text("FROM busybox\nCOPY file /\nRUN touch /half; sleep 4711\n")
    victim = cli.start("build", "-t", "app", tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: sleeping("4711"), "the RUN step runs")
    kill(victim)

    assert "app" not in cli("images", check=0).stdout
    wait_until(lambda: not sleeping("4711"), "the step's processes are gone")
    left = Scene.observe(config).beyond(scene)
    assert not {kind: left[kind] for kind in left if kind in HALF_MADE}
    assert_whole(config)
    (tmp_path / "Dockerfile").write_text("FROM busybox\nCOPY file /\nRUN test ! -e /half\n")
    cli("build", "-t", "app", tmp_path, check=0)
    assert cli("run", "--rm", "app", "cat", "/file", check=0).stdout == "content"


def test_a_build_killed_while_it_copies(cli: Command, config: Config, scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(os.urandom(1 << 20) * 64)
    (tmp_path / "Dockerfile").write_text("FROM busybox\nCOPY big /big\n")
    before = set(files_below(config.data_root))
    victim = cli.start("build", "-t", "app", tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: grown(config.data_root, before, 1 << 20), "the copy has begun")
    kill(victim)

    assert "app" not in cli("images", check=0).stdout
    left = Scene.observe(config).beyond(scene)
    assert not {kind: left[kind] for kind in left if kind in HALF_MADE}
    assert_whole(config)
    cli("build", "-t", "app", tmp_path, check=0)
    assert cli("run", "--rm", "app", "wc", "-c", "/big", check=0).stdout.split()[0] == str(64 << 20)


def test_a_commit_killed_half_way(cli: Command, config: Config, scene: Scene) -> None:
    script = "dd if=/dev/urandom of=/big bs=1M count=64 2>/dev/null; touch /ready; sleep 1000"
    container = cli("run", "-d", "busybox", "sh", "-c", script, check=0).stdout.strip()
    wait_until(lambda: cli("exec", container, "test", "-e", "/ready").returncode == 0, "the file is written")
    before, files = Scene.observe(config), set(files_below(config.data_root))
    victim = cli.start("commit", container, "half", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: grown(config.data_root, files, 1 << 20), "the commit writes its layer")
    kill(victim)

    assert "half" not in cli("images", check=0).stdout
    assert not Scene.observe(config).beyond(before)
    assert_whole(config)
    # A pausing commit must not leave the container frozen.
    assert cli("exec", container, "echo", "alive", check=0).stdout == "alive\n"
    cli("commit", container, "whole", check=0)
    assert cli("run", "--rm", "whole", "wc", "-c", "/big", check=0).stdout.split()[0] == str(64 << 20)


def test_a_load_killed_half_way(cli: Command, config: Config, scene: Scene, tmp_path: Path) -> None:
    archive = tmp_path / "app.tar"
    context = tmp_path / "context"
    context.mkdir()
    (context / "big").write_bytes(os.urandom(1 << 20) * 16)
    (context / "Dockerfile").write_text("FROM busybox\nCOPY big /big\n")
    cli("build", "-t", "app", context, check=0)
    cli("save", "-o", archive, "app", check=0)
    cli("rmi", "app", check=0)
    before = Scene.observe(config)

    victim = cli.start("load", stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert victim.stdin is not None
    content = archive.read_bytes()
    victim.stdin.buffer.write(content[: len(content) * 2 // 3])  # type: ignore[attr-defined]
    victim.stdin.flush()
    kill(victim)
    victim.stdin.close()

    assert "app" not in cli("images", check=0).stdout
    assert not Scene.observe(config).beyond(before)
    assert_whole(config)
    with open(archive) as source:
        loading = cli.start("load", stdin=source, stdout=subprocess.PIPE)
        assert "app:latest" in loading.communicate()[0]
    assert cli("run", "--rm", "app", "wc", "-c", "/big", check=0).stdout.split()[0] == str(16 << 20)


def test_the_exit_hook_killed(cli: Command, config: Config, scene: Scene, engine: Engine) -> None:
    def hooks() -> list[int]:
        # conmon has the hook's whole command line among its own arguments.
        return [pid for pid in processes("exit_hook", id) if pid not in set(processes("--exit-command", id))]

    id = cli("run", "-d", "-p", "8088:80", "busybox", "sleep", "1000", check=0).stdout.strip()
    pid = int(cli("inspect", "-f", "{{.State.Pid}}", id, check=0).stdout)
    with engine.locks.hold("container", id):
        os.kill(pid, signal.SIGKILL)
        # The hook waits for our lock: it is killed before it could do anything.
        wait_until(hooks, "conmon calls the exit hook")
        for hook in hooks():
            os.kill(hook, signal.SIGKILL)
        wait_until(lambda: not hooks(), "the hook is dead")

    assert_exited(cli, config, scene, id, 137)


def test_conmon_killed(cli: Command, config: Config, scene: Scene, engine: Engine) -> None:
    id = cli("run", "-d", "-p", "8088:80", "busybox", "sleep", "1000", check=0).stdout.strip()
    pid = int(cli("inspect", "-f", "{{.State.Pid}}", id, check=0).stdout)
    for conmon in processes("--exit-command", id):
        os.kill(conmon, signal.SIGKILL)
    # Nobody watches the container now; it is found out by the next one who asks.
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{pid}/root").exists(), "the container's process is gone")

    assert_exited(cli, config, scene, id, 255)


def assert_exited(cli: Command, config: Config, scene: Scene, id: str, code: int) -> None:
    """The container is listed as ended with ``code``, and nothing of its run is left."""
    listed = cli("ps", "-a", "--no-trunc", "--format", "{{.ID}} {{.Status}}", check=0).stdout
    assert listed.startswith(f"{id} Exited ({code})"), listed
    left = Scene.observe(config).beyond(scene)
    assert set(left) <= {"containers", "container_directories", "layer_directories"}, left
    cli("rm", id, check=0)
    assert not Scene.observe(config).beyond(scene)


def test_the_warden_killed(cli: Command, config: Config, scene: Scene) -> None:
    def restarts() -> int:
        return int(cli("inspect", "-f", "{{.RestartCount}}", "stubborn", check=0).stdout)

    cli("run", "-d", "--name", "stubborn", "--restart", "always", "busybox", "sh", "-c", "exit 3", check=0)
    wait_until(lambda: list(processes("warden", str(config.run_dir))), "a warden holds the restart")
    for warden in processes("warden", str(config.run_dir)):
        os.kill(warden, signal.SIGKILL)
    wait_until(lambda: not list(processes("warden", str(config.run_dir))), "the warden is dead")
    before = restarts()
    # Any verb sees that the duty is not held, and starts a warden.
    wait_until(lambda: restarts() > before, "the restarts go on")
    cli("rm", "-f", "stubborn", check=0)
    assert not Scene.observe(config).beyond(scene)


@pytest.fixture
def console(cli: Command) -> Iterator[subprocess.Popen[str]]:
    """The console on a terminal of its own."""
    main, terminal = pty.openpty()
    process = cli.start(stdin=terminal, stdout=terminal, stderr=terminal, env={**os.environ, "TERM": "xterm-256color"})
    os.close(terminal)
    os.set_blocking(main, False)

    def painted() -> bool:
        try:
            return len(os.read(main, 1 << 16)) > 200
        except BlockingIOError:
            return False

    wait_until(painted, "the console paints")
    yield process
    kill(process)
    os.close(main)


def test_the_console_killed(cli: Command, config: Config, scene: Scene, console: subprocess.Popen[str]) -> None:
    cli("run", "-d", "--name", "web", "busybox", "sleep", "1000", check=0)
    time.sleep(0.5)
    kill(console)

    assert cli("exec", "web", "echo", "alive", check=0).stdout == "alive\n"
    cli("rm", "-f", "web", check=0)
    assert not Scene.observe(config).beyond(scene)


def test_two_commands_make_one_name(cli: Command, config: Config, scene: Scene) -> None:
    racers = [
        cli.start("create", "--name", "web", "busybox", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    results = [(*racer.communicate(), racer.returncode) for racer in racers]

    winners = [out.strip() for out, _, code in results if code == 0]
    assert len(winners) == 1
    for _, err, code in results:
        assert code == 0 or (code == 1 and "already in use" in err), err
        assert_told_well(err)
    assert cli("ps", "-aq", "--no-trunc", check=0).stdout.split() == winners
    cli("rm", "web", check=0)
    assert not Scene.observe(config).beyond(scene)


def test_many_commands_on_one_container(cli: Command, config: Config, scene: Scene) -> None:
    cli("create", "--name", "web", "-p", "8088:80", "busybox", "sleep", "1000", check=0)
    for verbs in (["start"] * 3, ["restart", "stop", "start"], ["rm -f"] * 3):
        crowd = [cli.start(*verb.split(), "web", stdout=subprocess.PIPE, stderr=subprocess.PIPE) for verb in verbs]
        for racer in crowd:
            _, err = racer.communicate()
            assert_told_well(err)
    assert cli("ps", "-aq", check=0).stdout == ""
    assert not Scene.observe(config).beyond(scene)


def sleeping(seconds: str) -> list[int]:
    """Pids of the container processes that sleep ``seconds``; they have mounts of their own."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "cmdline").read_bytes().split(b"\0")[:2] == [b"sleep", seconds.encode()]:
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def files_below(directory: Path) -> Iterator[Path]:
    """Every file below, as far as it can be read while others write."""
    for top, _, names in os.walk(directory):
        yield from (Path(top, name) for name in names)


def grown(directory: Path, before: set[Path], size: int) -> bool:
    """True when a new file of ``size`` bytes or more is there."""
    for path in files_below(directory):
        try:
            if path not in before and path.lstat().st_size >= size:
                return True
        except OSError:
            continue
    return False
