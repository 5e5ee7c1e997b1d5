"""After a boot: what ``pilothouse restore`` starts, and what it leaves alone."""

from __future__ import annotations

import socket
import subprocess

import pytest

from engine.config import Config
from engine.engine import Engine
from tests.conftest import Command
from tests.kernel.fault_scenes import processes, wait_until

pytestmark = pytest.mark.kernel


def reboot(engine: Engine, config: Config) -> None:
    """What a boot leaves: rows of another boot, an empty run dir, no process, no link."""
    for pid in processes("--exit-command", str(config.run_dir)):
        subprocess.run(["kill", "-9", str(pid)], check=True)
    for row in engine.database.all("SELECT pid FROM containers WHERE pid > 0"):
        subprocess.run(["kill", "-9", str(row["pid"])], check=True)
    wait_until(lambda: not list(processes("--exit-command", str(config.run_dir))), "every monitor is gone")
    links = subprocess.run(["ip", "-br", "link"], capture_output=True, text=True, check=True).stdout
    for name in (line.split("@")[0] for line in links.splitlines() if line.startswith("veth")):
        subprocess.run(["ip", "link", "del", name], check=False)
    subprocess.run(["ip", "link", "del", "docker0"], check=True)
    subprocess.run("iptables -F; iptables -t nat -F; iptables -t raw -F", shell=True, check=True)
    subprocess.run(f"umount {config.netns_dir}/ph-*; rm -f {config.netns_dir}/ph-*", shell=True, check=True)
    overlays = subprocess.run(
        ["findmnt", "-rno", "TARGET", "-t", "overlay"], capture_output=True, text=True, check=False
    )
    for point in overlays.stdout.split():
        if point.startswith(str(config.data_root)):
            subprocess.run(["umount", point], check=True)
    subprocess.run(["rm", "-rf", str(config.run_dir)], check=True)
    engine.database.execute("UPDATE containers SET boot_id='11111111-2222-3333-4444-555555555555' WHERE boot_id != ''")


def test_a_boot_starts_what_the_policies_say(cli: Command, config: Config, engine: Engine) -> None:
    serve = ["sh", "-c", "mkdir -p /w; echo up >/w/index.html; exec httpd -f -p 80 -h /w"]
    cli("run", "-d", "--name", "always", "--restart", "always", "-p", "8088:80", "busybox", *serve, check=0)
    cli("run", "-d", "--name", "plain", "busybox", "sleep", "1000", check=0)
    cli("run", "-d", "--name", "kept", "--restart", "unless-stopped", "busybox", "sleep", "1000", check=0)
    cli("run", "-d", "--name", "stopped", "--restart", "unless-stopped", "busybox", "sleep", "1000", check=0)
    cli("stop", "-t", "0", "stopped", check=0)
    cli("create", "--name", "never-ran", "--restart", "always", "busybox", "sleep", "1000", check=0)
    reboot(engine, config)

    assert sorted(cli("restore", check=0).stdout.split()) == ["always", "kept"]
    states = cli("ps", "-a", "--format", "{{.Names}} {{.State}}", check=0).stdout.split("\n")
    assert sorted(filter(None, states)) == [
        "always running",
        "kept running",
        "never-ran created",
        "plain exited",
        "stopped exited",
    ]
    assert cli("restore", check=0).stdout == ""
    get = ["busybox", "wget", "-qO-", "http://127.0.0.1:8088/"]
    wait_until(lambda: subprocess.run(get, capture_output=True, check=False).stdout == b"up\n", "the port answers", 10)


def test_what_ran_before_a_boot_holds_nothing_after_it(cli: Command, config: Config, engine: Engine) -> None:
    cli("run", "-d", "--name", "first", "-p", "8088:80", "busybox", "sleep", "1000", check=0)
    cli("run", "-d", "--name", "second", "-p", "8089:80", "busybox", "sleep", "1000", check=0)
    reboot(engine, config)

    # The first verb after the boot, before any restore, and not about what is looked at.
    cli("start", "first", check=0)
    rules = subprocess.run(["iptables-save", "-t", "nat"], capture_output=True, text=True, check=True).stdout
    assert "--dport 8088" in rules and "--dport 8089" not in rules
    assert engine.database.one("SELECT status FROM containers WHERE name='second'")["status"] == "exited"  # type: ignore[index]
    cli("run", "-d", "--name", "third", "-p", "8089:80", "busybox", "sleep", "1000", check=0)


def test_what_cannot_start_is_told(cli: Command, config: Config, engine: Engine) -> None:
    cli("run", "-d", "--name", "web", "--restart", "always", "-p", "8088:80", "busybox", "sleep", "1000", check=0)
    reboot(engine, config)
    with socket.socket() as other:
        other.bind(("0.0.0.0", 8088))
        other.listen()
        result = cli("restore", check=1)

    assert result.stdout == "" and "web" in result.stderr and "8088" in result.stderr
    assert cli("restore", check=0).stdout == "web\n"
