"""Containers from the command line: docker's output and exit codes, watched on the real engine."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import Command
from tests.kernel.fault_scenes import wait_until

pytestmark = pytest.mark.kernel


def test_run_d_prints_the_id_and_ps_shows_the_container(cli: Command) -> None:
    identifier = cli("run", "-d", "--name", "web", "-p", "8080:80", "busybox", "sleep", "100", check=0).stdout
    assert re.fullmatch(r"[0-9a-f]{64}\n", identifier)
    header, row = cli("ps", check=0).stdout.splitlines()
    assert re.fullmatch(r"CONTAINER ID   IMAGE     COMMAND       CREATED +STATUS +PORTS +NAMES", header)
    assert re.fullmatch(
        identifier[:12] + r'   busybox   "sleep 100"   .+ ago   Up .+   0\.0\.0\.0:8080->80/tcp   web', row
    )
    assert cli("ps", "-q", check=0).stdout == identifier[:12] + "\n"
    assert cli("ps", "-q", "--no-trunc", check=0).stdout == identifier
    assert cli("ps", "--format", "{{.Names}} {{.Ports}}", check=0).stdout == "web 0.0.0.0:8080->80/tcp\n"
    assert json.loads(cli("container", "ls", "--format", "json", check=0).stdout)["Names"] == "web"
    cli("stop", "-t", "0", "web", check=0)
    assert cli("ps", "-q", check=0).stdout == ""
    assert " Exited (137) " in cli("ps", "-a", check=0).stdout


def test_ps_quotes_a_command_as_docker(cli: Command) -> None:
    cli("create", "busybox", "sh", "-c", 'echo "a  b"; true', check=0)
    shown = cli("ps", "-a", "--no-trunc", "--format", "{{.Command}}", check=0).stdout
    assert shown == '"sh -c \'echo \\"a  b\\"; true\'"\n'


def test_what_has_no_effect_is_said(cli: Command, tmp_path: Path) -> None:
    host = cli("create", "--network", "host", "-p", "80:80", "busybox", check=0)
    assert "Published ports are discarded when using host network mode" in host.stderr
    (tmp_path / "Dockerfile").write_text("FROM busybox\nHEALTHCHECK CMD true\n")
    assert "HEALTHCHECK is kept in the image" in cli("build", "-t", "checked", tmp_path, check=0).stderr
    assert "HEALTHCHECK is not run" in cli("create", "checked", check=0).stderr
    (tmp_path / "Dockerfile").write_text("FROM checked\nHEALTHCHECK NONE\n")
    assert "HEALTHCHECK is" not in cli("build", "-t", "unchecked", tmp_path, check=0).stderr
    assert cli("create", "unchecked", check=0).stderr == ""


def test_filters_of_ps(cli: Command) -> None:
    cli("create", "--name", "made", "-l", "tier=db", "busybox", check=0)
    cli("run", "--name", "ended", "busybox", "sh", "-c", "exit 3", check=3)

    def names(*filters: str) -> list[str]:
        flags = [word for each in filters for word in ("-f", each)]
        return cli("ps", "-a", *flags, "--format", "{{.Names}}", check=0).stdout.split()

    assert names() == ["ended", "made"]
    assert names("status=created") == ["made"]
    assert names("status=exited", "status=created") == ["ended", "made"]
    assert names("exited=3") == ["ended"]
    assert names("label=tier=db") == ["made"]
    assert names("label=tier=web") == []
    assert names("name=end") == ["ended"]
    assert names("ancestor=busybox") == ["ended", "made"]
    assert cli("ps", "-l", "--format", "{{.Names}}", check=0).stdout == "ended\n"
    assert "invalid filter" in cli("ps", "-f", "colour=red", check=1).stderr


def test_exit_codes_and_streams_of_a_foreground_run(cli: Command) -> None:
    ended = cli("run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 5", check=5)
    assert (ended.stdout, ended.stderr) == ("out\n", "err\n")
    assert cli("run", "--rm", "-i", "busybox", "cat", stdin="said\n", check=0).stdout == "said\n"
    assert "not found" in cli("run", "--rm", "busybox", "nosuch", check=127).stderr
    assert "permission denied" in cli("run", "--rm", "busybox", "/etc", check=126).stderr
    refused = cli("run", "nosuch/image", check=125).stderr
    assert "Unable to find image 'nosuch/image:latest' locally" in refused
    assert "No such image: nosuch/image" in refused
    assert cli("run", "-it", "busybox", check=1).stderr.startswith("pilothouse: the input device is not a TTY\n")
    assert cli("ps", "-aq", check=0).stdout == ""


def test_flags_reach_the_container(cli: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("bound\n")
    tmp_path.chmod(0o755)
    said = cli(
        *("run", "--rm", "-e", "GIVEN=1", "-h", "box", "-w", "/tmp", "-u", "1000:100", "--read-only"),
        *("-v", f"{tmp_path}:/m:ro", "--tmpfs", "/scratch", "--label", "a=b", "--entrypoint", "/bin/sh", "busybox"),
        *(
            "-c",
            "echo $GIVEN; hostname; pwd; id -u; id -g; cat /m/file; touch /x 2>&1; grep -c ' /scratch ' /proc/mounts",
        ),
        check=0,
    ).stdout.splitlines()
    assert said == ["1", "box", "/tmp", "1000", "100", "bound", "touch: /x: Read-only file system", "1"]


def test_our_umask_is_not_the_containers(cli: Command, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "Dockerfile").write_text("FROM busybox\nRUN touch /built; mkdir /made\nWORKDIR /work\n")
    hardened = Command(("sh", "-c", 'umask 077; exec "$@"', "sh", *cli.prefix))
    hardened("build", "-t", "app", tmp_path, check=0)
    look = "cat /etc/resolv.conf /etc/hosts /etc/hostname >/dev/null; stat -c %a /built /made /work /new/dir /m; umask"
    flags = ("-u", "1000", "-w", "/new/dir", "-v", f"{tmp_path}/absent:/m")
    ended = hardened("run", "--rm", *flags, "app", "sh", "-c", look, check=0)
    assert (ended.stdout.split(), ended.stderr) == (["644", "755", "755", "755", "755", "0022"], "")


def test_a_name_without_value_takes_ours(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OURS", "from here")
    flags = ("-e", "OURS", "-e", "NOT_OURS")
    said = cli("run", "--rm", *flags, "busybox", "sh", "-c", "echo ${OURS-none} ${NOT_OURS-none}", check=0)
    assert said.stdout == "from here none\n"


def test_the_life_of_a_container_prints_its_name_at_every_step(cli: Command) -> None:
    cli("create", "--name", "web", "busybox", "sleep", "100", check=0)
    for verb in (["start"], ["pause"], ["unpause"], ["restart", "-t", "0"], ["kill"]):
        assert cli(*verb, "web", check=0).stdout == "web\n", verb
    assert cli("wait", "web", check=0).stdout == "137\n"
    assert cli("rm", "web", check=0).stdout == "web\n"
    missing = cli("rm", "web", check=1)
    assert (missing.stdout, missing.stderr.splitlines()[0]) == ("", "pilothouse: No such container: web")
    assert cli("rm", "-f", "web", check=0).stderr.startswith("pilothouse: No such container: web")


def test_some_of_many_may_fail(cli: Command) -> None:
    cli("create", "--name", "one", "busybox", check=0)
    cli("create", "--name", "two", "busybox", check=0)
    ended = cli("rm", "one", "nosuch", "two", check=1)
    assert ended.stdout == "one\ntwo\n"
    assert "No such container: nosuch" in ended.stderr


def test_many_stops_happen_at_the_same_time(cli: Command, tmp_path: Path) -> None:
    # The first ends on its own only once the second was told to: one after the other it would be killed.
    loops = "echo up; while :; do sleep 0.05; done"
    patient = f'trap "while [ ! -e /m/told ]; do sleep 0.05; done; exit 0" TERM; {loops}'
    for name, script in (("patient", patient), ("quick", f'trap "touch /m/told; exit 0" TERM; {loops}')):
        cli("run", "-d", "--name", name, "-v", f"{tmp_path}:/m", "busybox", "sh", "-c", script, check=0)
    for name in ("patient", "quick"):
        wait_until(lambda name=name: "up" in cli("logs", name, check=0).stdout, f"{name} is ready")
    assert cli("stop", "-t", "20", "patient", "quick", check=0).stdout == "patient\nquick\n"
    assert cli("wait", "patient", "quick", check=0).stdout == "0\n0\n"


def test_logs_keep_streams_apart_and_know_tail_and_times(cli: Command) -> None:
    cli("run", "--name", "web", "busybox", "sh", "-c", "for i in 1 2 3; do echo $i; done; echo e >&2", check=0)
    shown = cli("logs", "web", check=0)
    assert (shown.stdout, shown.stderr) == ("1\n2\n3\n", "e\n")
    tail = cli("logs", "--tail", "2", "web", check=0)
    assert len((tail.stdout + tail.stderr).splitlines()) == 2
    stamped = cli("logs", "-t", "web", check=0).stdout.splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z 1", stamped[0])


def test_logs_f_follows_to_the_end(cli: Command) -> None:
    cli("run", "-d", "--name", "web", "busybox", "sh", "-c", "echo first; sleep 1; echo last", check=0)
    assert cli("logs", "-f", "web", check=0).stdout == "first\nlast\n"


def test_exec(cli: Command) -> None:
    cli("run", "-d", "--name", "web", "busybox", "sleep", "100", check=0)
    assert cli("exec", "-e", "A=1", "-w", "/tmp", "web", "sh", "-c", "echo $A; pwd", check=0).stdout == "1\n/tmp\n"
    assert cli("exec", "-i", "web", "cat", stdin="in", check=0).stdout == "in"
    cli("exec", "web", "sh", "-c", "exit 9", check=9)
    cli("exec", "web", "nosuch", check=127)
    cli("exec", "web", "/etc", check=126)
    for flags in (["-w", "/none"], ["-w", "none"], ["-w", "/etc/passwd"], ["-u", "nobodyhere"]):
        assert flags[1] in cli("exec", *flags, "web", "true", check=126).stderr
    missing = cli("exec", "-w", "/none", "web", "true", check=126).stderr
    assert missing.count("chdir to cwd") == 1 and "no such file or directory" in missing
    cli("pause", "web", check=0)
    assert "is paused, unpause the container before exec" in cli("exec", "web", "true", check=1).stderr
    cli("unpause", "web", check=0)
    cli("stop", "-t", "0", "web", check=0)
    assert "is not running" in cli("exec", "web", "true", check=1).stderr


def through_a_terminal(cli: Command, *arguments: str, typed: bytes) -> tuple[int, bytes]:
    """Run it on a terminal of 30 rows and 100 columns, type when it has shown something; exit code and screen."""
    master, slave = pty.openpty()
    os.environ["LINES"], os.environ["COLUMNS"] = "30", "100"
    subprocess.run(["stty", "rows", "30", "cols", "100"], stdin=slave, check=True)
    before = subprocess.run(["stty", "-g"], stdin=slave, capture_output=True, check=True).stdout
    process = subprocess.Popen(
        [*cli.prefix, *arguments], stdin=slave, stdout=slave, stderr=slave, start_new_session=True
    )
    seen = b""
    deadline = time.monotonic() + 30
    sent = False
    while process.poll() is None and time.monotonic() < deadline:
        if select.select([master], [], [], 0.1)[0]:
            seen += os.read(master, 4096)
            if not sent:
                sent = True
                os.write(master, typed)
    while select.select([master], [], [], 0.2)[0]:
        seen += os.read(master, 4096)
    assert process.wait(timeout=1) is not None, seen
    after = subprocess.run(["stty", "-g"], stdin=slave, capture_output=True, check=True).stdout
    os.close(slave)
    os.close(master)
    assert after == before
    return process.returncode, seen


def test_exec_it_has_a_real_terminal_of_our_size(cli: Command) -> None:
    cli("run", "-d", "--name", "web", "busybox", "sleep", "100", check=0)
    code, seen = through_a_terminal(cli, "exec", "-it", "web", "sh", typed=b"tty; stty size; exit 4\r")
    assert code == 4
    assert b"/dev/pts/" in seen and b"30 100" in seen


def test_run_it_has_a_real_terminal(cli: Command) -> None:
    code, seen = through_a_terminal(cli, "run", "--rm", "-it", "busybox", "sh", typed=b"tty; stty size; exit 6\r")
    assert code == 6
    assert b"/dev/" in seen and b"30 100" in seen


def test_the_detach_keys_leave_the_container_running(cli: Command) -> None:
    code, _ = through_a_terminal(cli, "run", "--name", "web", "-it", "busybox", "sh", typed=b"\x10\x11")
    assert code == 0
    assert cli("inspect", "-f", "{{.State.Status}}", "web", check=0).stdout == "running\n"


def test_ctrl_c_reaches_the_command_and_nothing_is_left(cli: Command) -> None:
    script = 'trap "echo caught; exit 42" INT; echo ready; while :; do sleep 0.05; done'
    process = cli.start("run", "--rm", "busybox", "sh", "-c", script, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    rest, said = process.communicate(timeout=20)
    assert (process.returncode, rest, said) == (42, "caught\n", "")
    assert cli("ps", "-aq", check=0).stdout == ""


@pytest.mark.parametrize("flags", [[], ["-t"]], ids=["streams", "terminal"])
def test_a_run_ends_when_its_reader_has_gone_and_the_container_goes_on(cli: Command, flags: list[str]) -> None:
    line = f"{' '.join(cli.prefix)} run --rm --name web {' '.join(flags)} busybox yes | head -n 1; echo $PIPESTATUS"
    ended = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True, timeout=60)
    assert (ended.stdout.split(), ended.stderr) == (["y", "141"], "")
    assert cli("inspect", "-f", "{{.State.Status}}", "web", check=0).stdout == "running\n"
    cli("kill", "web", check=0)
    wait_until(lambda: cli("ps", "-aq", check=0).stdout == "", "the container has gone with its end")


def test_output_that_cannot_be_written_is_told_and_the_container_goes_on(cli: Command) -> None:
    with open("/dev/full", "w") as full:
        process = cli.start("run", "--rm", "--name", "web", "busybox", "yes", stdout=full, stderr=subprocess.PIPE)
        _, said = process.communicate(timeout=60)
    assert (process.returncode, "No space left on device" in said) == (125, True), said
    assert cli("inspect", "-f", "{{.State.Status}}", "web", check=0).stdout == "running\n"
    cli("kill", "web", check=0)


def test_dry_run_prints_the_plan_and_does_nothing(cli: Command) -> None:
    planned = cli("run", "--dry-run", "--name", "web", "-p", "8080:80", "-v", "data:/d", "busybox", check=0).stdout
    for words in ("take the name web", "172.17.0.2", "make volume data", "--dport 8080 -j DNAT", '"ociVersion"'):
        assert words in planned
    assert cli("ps", "-aq", check=0).stdout == ""
    assert cli("volume", "ls", "-q", check=0).stdout == ""
    cli("run", "-d", "--name", "web", "-p", "8080:80", "busybox", "sleep", "100", check=0)
    assert "-D DOCKER" in cli("stop", "--dry-run", "web", check=0).stdout
    assert "would refuse" in cli("rm", "--dry-run", "web", check=0).stdout
    assert cli("inspect", "-f", "{{.State.Running}}", "web", check=0).stdout == "true\n"


def test_inspect_takes_any_kind_and_templates(cli: Command) -> None:
    flags = ("-p", "8080:80", "-l", "a.b=c", "--cap-add", "net_admin", "-v", "/anonymous", "-v", "named:/named")
    cli("run", "-d", "--name", "web", *flags, "busybox", "sleep", "100", check=0)
    assert cli("inspect", "-f", "{{json .Config.Volumes}}", "web", check=0).stdout == '{"/anonymous":{}}\n'
    assert cli("inspect", "-f", "{{.HostConfig.CapAdd}}", "web", check=0).stdout == "[CAP_NET_ADMIN]\n"
    form = '{{.Name}} {{index .Config.Labels "a.b"}} {{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}'
    assert cli("inspect", "-f", form, "web", check=0).stdout == "/web c 8080\n"
    assert json.loads(cli("inspect", "web", check=0).stdout)[0]["State"]["Status"] == "running"
    assert cli("inspect", "-f", "{{.RepoTags}}", "busybox", check=0).stdout == "[busybox:latest]\n"
    assert cli("inspect", "-f", "{{.Driver}}", "bridge", check=0).stdout == "bridge\n"
    some = cli("inspect", "web", "nosuch", check=1)
    assert len(json.loads(some.stdout)) == 1 and "No such object: nosuch" in some.stderr
    assert 'map has no entry for key "Nope"' in cli("inspect", "-f", "{{.Nope}}", "web", check=1).stderr
    assert "template parsing error" in cli("inspect", "-f", "{{", "web", check=64).stderr
    assert "No such container: busybox" in cli("container", "inspect", "busybox", check=1).stderr
