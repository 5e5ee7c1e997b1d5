"""The pure parts around containers: policies, logs, keys, the runtime's words, cgroup layouts, ps columns, inspect."""

from __future__ import annotations

import io
from typing import Any

import pytest

from engine import durations
from engine.containers import exits, inspection, logs, policy, runtime, summary, terminal
from engine.containers.config import ContainerConfig, request
from engine.containers.quantities import RestartPolicy
from engine.containers.record import Record
from engine.errors import CommandNotExecutable, CommandNotFound, InvalidInput
from engine.host import cgroups
from engine.state.database import timestamp
from engine.values import replace

pytestmark = pytest.mark.unit

# ------------------------------------------------------------------------------------------------------------ policies


def decide(policy_name: str, **changes: Any) -> policy.Decision:
    values: dict[str, Any] = {
        "exit_code": 1,
        "stopped_by_user": False,
        "restarts": 0,
        "last_delay_ms": 0,
        "ran_s": 0.5,
    }
    name, _, count = policy_name.partition(":")
    return policy.after_exit(RestartPolicy(name, int(count or 0)), **{**values, **changes})


def test_the_back_off_doubles_up_to_a_minute_and_resets_after_a_steady_run() -> None:
    delays, delay = [], 0
    for _ in range(12):
        delay = decide("always", last_delay_ms=delay).delay_ms
        delays.append(delay)
    assert delays == [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000]
    assert decide("always", last_delay_ms=60000, ran_s=10.0).delay_ms == 100


def test_what_each_policy_restarts() -> None:
    assert not decide("no").restart
    assert decide("always", exit_code=0).restart
    assert decide("unless-stopped", exit_code=0).restart
    assert not decide("on-failure", exit_code=0).restart
    assert decide("on-failure:3", restarts=2).restart
    assert not decide("on-failure:3", restarts=3).restart
    assert not decide("always", stopped_by_user=True).restart


def test_after_a_boot_always_starts_even_what_was_stopped() -> None:
    def boots(name: str, stopped: bool, code: int = 255) -> bool:
        return policy.after_boot(RestartPolicy(name), exit_code=code, stopped_by_user=stopped, restarts=0)

    assert boots("always", True)
    assert boots("unless-stopped", False) and not boots("unless-stopped", True)
    assert boots("on-failure", False) and not boots("on-failure", False, 0)
    assert not boots("no", False)


# ---------------------------------------------------------------------------------------------------------------- logs

LOG = (
    b"2026-11-24T02:34:05.000000001+00:00 stdout F one\n"
    b"2026-11-24T02:34:06.5+00:00 stderr P tw\n"
    b"2026-11-24T02:34:07.000000000+00:00 stdout F three\n"
    b"2026-11-24T02:34:08.000000000+00:00 stderr F o\n"
    b"2026-11-24T02:34:09.000000000+00:00 stdout F \n"
)


def joined(content: bytes) -> list[tuple[str, bytes]]:
    joiner = logs.Joiner()
    found = [line for raw in content.split(b"\n")[:-1] for line in joiner.feed(raw)]
    return [(line.stream, line.text) for line in [*found, *joiner.flush()]]


def test_pieces_of_one_stream_are_joined_across_the_other() -> None:
    assert joined(LOG) == [("stdout", b"one\n"), ("stdout", b"three\n"), ("stderr", b"two\n"), ("stdout", b"\n")]


def test_an_open_line_has_no_newline() -> None:
    assert joined(b"2026-11-24T02:34:05.1+00:00 stdout P prompt> \n") == [("stdout", b"prompt> ")]


def test_times_are_utc_whatever_the_hosts_zone() -> None:
    joiner = logs.Joiner()
    (line,) = joiner.feed(b"2026-11-24T04:34:05.123456789+02:00 stdout F x")
    assert line.stamp == "2026-11-24T02:34:05.123456789Z"
    assert line.time == pytest.approx(1795487645.123456789)


@pytest.mark.parametrize(("count", "first"), [(0, b""), (1, b" \n"), (3, b"stderr P tw"), (4, b"F one"), (9, b"F one")])
def test_tail_counts_whole_lines(count: int, first: bytes) -> None:
    file = io.BytesIO(LOG)
    file.seek(logs.tail_offset(file, count))
    rest = file.read()
    assert first in rest.split(b"\n", 1)[0] + b"\n"
    assert (rest == b"") == (count == 0)


def test_tail_of_a_log_larger_than_a_block() -> None:
    lines = [b"2026-11-24T02:34:05.1+00:00 stdout F %06d %s\n" % (number, b"x" * 100) for number in range(5000)]
    file = io.BytesIO(b"".join(lines))
    file.seek(logs.tail_offset(file, 1000))
    assert file.read() == b"".join(lines[-1000:])


# ---------------------------------------------------------------------------------------------------------------- keys


def test_detach_keys_are_found_and_broken_sequences_passed_on() -> None:
    keys = terminal.DetachKeys(None)
    assert keys.feed(b"ab\x10c") == (b"ab\x10c", False)
    assert keys.feed(b"\x10") == (b"", False)
    assert keys.feed(b"\x10\x10x") == (b"\x10\x10\x10x", False)
    assert keys.feed(b"y\x10\x11z") == (b"y", True)


def test_detach_keys_can_be_chosen_or_turned_off() -> None:
    assert terminal.parse_keys("ctrl-@,a,ctrl-[") == b"\x00a\x1b"
    assert terminal.DetachKeys("").feed(b"\x10\x11") == (b"\x10\x11", False)
    with pytest.raises(InvalidInput, match="Unknown character"):
        terminal.parse_keys("ctrl-1")


# -------------------------------------------------------------------------------------------------- the runtime's words


@pytest.mark.parametrize(
    ("words", "command", "kind", "text"),
    [
        (
            "executable file `nope` not found in $PATH: No such file or directory\n",
            "nope",
            CommandNotFound,
            'exec: "nope": executable file not found in $PATH',
        ),
        ("open executable: No such file or directory", "/no/such", CommandNotFound, "stat /no/such: no such file"),
        ("open executable: Permission denied", "/etc/passwd", CommandNotExecutable, "permission denied"),
        ("open executable: Operation not permitted", "/etc", CommandNotExecutable, "permission denied"),
        ("2026-11-24T02:34:05.1Z: exec `/x`: Exec format error", "/x", CommandNotExecutable, "exec format error"),
        (
            'time="2026-11-24T02:34:05Z" level=error msg="runc create failed: exec: \\"nope\\": executable file not '
            'found in $PATH"',
            "nope",
            CommandNotFound,
            "not found in $PATH",
        ),
    ],
)
def test_the_runtimes_words_become_dockers(words: str, command: str, kind: type[Exception], text: str) -> None:
    error = runtime.command_error(words, [command])
    assert isinstance(error, kind)
    assert text in str(error)


def test_words_about_something_else_are_not_the_commands() -> None:
    assert runtime.command_error("mount `proc` to `proc`: Operation not permitted", ["sh"]) is None
    assert runtime.clean("crun: cannot set memory limit\n") == "cannot set memory limit"


# ------------------------------------------------------------------------------------------------------------- cgroups

V1 = "30 20 0:26 / /sys/fs/cgroup/{0} rw,relatime - cgroup cgroup rw,{0}\n"
V2 = "40 20 0:40 / {0} rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"


@pytest.mark.parametrize(
    ("mountinfo", "kind"),
    [
        (V2.format("/sys/fs/cgroup"), "v2"),
        (V1.format("memory") + V1.format("cpu,cpuacct"), "v1"),
        (V1.format("memory") + V1.format("name=systemd") + V2.format("/sys/fs/cgroup/unified"), "hybrid"),
    ],
)
def test_layouts_are_told_apart(mountinfo: str, kind: str) -> None:
    assert cgroups.parse_layout(mountinfo).kind == kind


def test_joined_controllers_are_found_by_each_name() -> None:
    layout = cgroups.parse_layout(V1.format("cpu,cpuacct") + V2.format("/sys/fs/cgroup/unified"))
    assert str(layout.controller("cpuacct")) == "/sys/fs/cgroup/cpu,cpuacct"
    assert str(layout.controller("memory")) == "/sys/fs/cgroup/unified"
    assert len(layout.roots()) == 2


# ------------------------------------------------------------------------------------------------------------------ ps


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (61, "About a minute"),
        (150, "2 minutes"),
        (3600, "About an hour"),
        (3600 * 47, "47 hours"),
        (3600 * 49, "2 days"),
        (86400 * 15, "2 weeks"),
        (86400 * 65, "2 months"),
        (5400, "2 hours"),
        (48 * 3600, "2 days"),
        (14 * 86400, "2 weeks"),
        (60 * 86400, "2 months"),
        (729 * 86400, "24 months"),
        (731 * 86400, "2 years"),
    ],
)
def test_durations_in_dockers_words(seconds: float, words: str) -> None:
    assert durations.in_words(seconds) == words


def test_neighbouring_ports_are_drawn_together() -> None:
    published = [("0.0.0.0", 8000 + n, 80 + n, "tcp") for n in range(3)] + [("127.0.0.1", 53, 53, "udp")]
    text = summary.ports_text(published, ["80/tcp", "443/tcp", "444/tcp", "9/udp"])
    assert text == "9/udp, 127.0.0.1:53->53/udp, 0.0.0.0:8000-8002->80-82/tcp, 443-444/tcp"


RECORD = Record(
    id="a" * 64,
    name="web",
    created="2026-11-24T00:00:00.000000000Z",
    image="sha256:0",
    config_text="{}",
    status="created",
    generation=0,
    pid=0,
    pid_start=0,
    conmon_pid=0,
    conmon_start=0,
    boot_id="",
    exit_code=0,
    error="",
    oom_killed=False,
    started_at="2026-11-24T00:00:00.000000000Z",
    finished_at="2026-11-24T00:00:10.000000000Z",
    restart_count=0,
    restart_delay_ms=0,
    stopped_by_user=False,
)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("created", "Created"),
        ("running", "Up 2 minutes"),
        ("paused", "Up 2 minutes (Paused)"),
        ("exited", "Exited (3) About a minute ago"),
        ("restarting", "Restarting (3) About a minute ago"),
        ("removing", "Removal In Progress"),
        ("dead", "Dead"),
    ],
)
def test_status_column(status: str, words: str) -> None:
    record = replace(RECORD, status=status, exit_code=3)
    assert summary.status_text(record, 1795478400.0 + 125) == words


# ------------------------------------------------------------------------------------------------------------- inspect

# The keys dockerd 20.10 prints, with the type of each value.
HOST_CONFIG = """
Binds:null ContainerIDFile:str LogConfig:dict NetworkMode:str PortBindings:dict RestartPolicy:dict AutoRemove:bool
VolumeDriver:str VolumesFrom:null CapAdd:null CapDrop:null CgroupnsMode:str Dns:list DnsOptions:list DnsSearch:list
ExtraHosts:null GroupAdd:null IpcMode:str Cgroup:str Links:null OomScoreAdj:int PidMode:str Privileged:bool
PublishAllPorts:bool ReadonlyRootfs:bool SecurityOpt:null UTSMode:str UsernsMode:str ShmSize:int Runtime:str
ConsoleSize:list Isolation:str CpuShares:int Memory:int NanoCpus:int CgroupParent:str BlkioWeight:int
BlkioWeightDevice:list BlkioDeviceReadBps:null BlkioDeviceWriteBps:null BlkioDeviceReadIOps:null
BlkioDeviceWriteIOps:null CpuPeriod:int CpuQuota:int CpuRealtimePeriod:int CpuRealtimeRuntime:int CpusetCpus:str
CpusetMems:str Devices:list DeviceCgroupRules:null DeviceRequests:null KernelMemory:int KernelMemoryTCP:int
MemoryReservation:int MemorySwap:int MemorySwappiness:null OomKillDisable:bool PidsLimit:null Ulimits:null CpuCount:int
CpuPercent:int IOMaximumIOps:int IOMaximumBandwidth:int MaskedPaths:list ReadonlyPaths:list
"""
CONFIG = """
Hostname:str Domainname:str User:str AttachStdin:bool AttachStdout:bool AttachStderr:bool ExposedPorts:dict Tty:bool
OpenStdin:bool StdinOnce:bool Env:list Cmd:list Image:str Volumes:null WorkingDir:str Entrypoint:null OnBuild:null
Labels:dict
"""


def shape(data: dict[str, Any]) -> list[str]:
    return [f"{key}:{'null' if value is None else type(value).__name__}" for key, value in data.items()]


def test_inspect_has_dockers_fields_and_types() -> None:
    config = request("busybox", ["sleep", "1000"], ports=["0.0.0.0:17000:27017"], environment=["PATH=/bin"])
    assert shape(inspection.host_config_json(config, "crun")) == HOST_CONFIG.split()
    assert shape(inspection.config_json(config, "b1")) == CONFIG.split()
    assert inspection.host_config_json(config, "crun")["PortBindings"] == {
        "27017/tcp": [{"HostIp": "0.0.0.0", "HostPort": "17000"}]
    }


def test_inspect_shows_what_was_asked() -> None:
    config = request(
        "i",
        ["x"],
        binds=["vol:/v", "/srv:/s:ro"],
        tmpfs=["/t"],
        mem_limit="64m",
        pids_limit=50,
        init=True,
        devices=["/dev/null:/dev/nothing:r"],
        restart_policy="on-failure:2",
    )
    data = inspection.host_config_json(config, "crun")
    assert data["Binds"] == ["vol:/v", "/srv:/s:ro"]
    assert data["Tmpfs"] == {"/t": ""}
    assert (data["Memory"], data["MemorySwap"], data["PidsLimit"], data["Init"]) == (64 << 20, 128 << 20, 50, True)
    assert data["Devices"] == [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/nothing", "CgroupPermissions": "r"}]
    assert data["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 2}
    assert inspection.config_json(ContainerConfig("i", ("x",)), "h").get("StopSignal") is None


@pytest.mark.parametrize("moment", [0.0, 951782400.5, 1709164799.0, 1795489235.25, 4102444800.0])
def test_stored_times_are_read_back(moment: float) -> None:
    assert exits.seconds(timestamp(moment)) == pytest.approx(moment, abs=1e-6)


def test_never_is_no_time() -> None:
    assert exits.seconds("0001-01-01T00:00:00Z") == 0.0
