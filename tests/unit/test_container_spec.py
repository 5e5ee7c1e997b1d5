"""The OCI spec against what dockerd hands to its runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.containers import accounts, capabilities, seccomp, spec
from engine.containers.accounts import Account
from engine.containers.config import ContainerConfig, Ulimit, request
from engine.containers.mounts import parse_tmpfs, parse_volume
from engine.containers.spec import Device, ResolvedMount, Surroundings
from engine.errors import InvalidInput

pytestmark = pytest.mark.unit

FILES = {f"/etc/{name}": Path("/state") / name for name in ("resolv.conf", "hostname", "hosts")}

# What dockerd 20.10 gives its runtime for a container with published port and no options.
DOCKER_CAPABILITIES = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
]
DOCKER_MOUNTS = {
    "/proc": ("proc", {"nosuid", "noexec", "nodev"}),
    "/dev": ("tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"}),
    "/dev/pts": ("devpts", {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}),
    "/sys": ("sysfs", {"nosuid", "noexec", "nodev", "ro"}),
    "/sys/fs/cgroup": ("cgroup", {"ro", "nosuid", "noexec", "nodev"}),
    "/dev/mqueue": ("mqueue", {"nosuid", "noexec", "nodev"}),
    "/dev/shm": ("tmpfs", {"nosuid", "noexec", "nodev", "mode=1777", "size=67108864"}),
    "/etc/resolv.conf": ("bind", {"rbind", "rprivate"}),
    "/etc/hostname": ("bind", {"rbind", "rprivate"}),
    "/etc/hosts": ("bind", {"rbind", "rprivate"}),
}
DOCKER_MASKED = {
    "/proc/asound",
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
}


def surroundings(**changes: Any) -> Surroundings:
    values: dict[str, Any] = {
        "rootfs": Path("/merged"),
        "cgroup": "/pilothouse/x",
        "account": Account(),
        "hostname": "box",
        "netns": Path("/run/netns/ph-x"),
        "files": FILES,
    }
    return Surroundings(**{**values, **changes})


def planned(config: ContainerConfig | None = None, **changes: Any) -> dict[str, Any]:
    return dict(spec.plan(config or request("i", ["sleep", "1"]), surroundings(**changes)).document)


def test_the_sandbox_is_dockers() -> None:
    document = planned()
    assert document["process"]["capabilities"]["bounding"] == DOCKER_CAPABILITIES
    assert document["process"]["capabilities"]["effective"] == DOCKER_CAPABILITIES
    assert {m["destination"]: (m["type"], set(m["options"])) for m in document["mounts"]} == DOCKER_MOUNTS
    assert set(document["linux"]["maskedPaths"]) >= DOCKER_MASKED
    assert set(document["linux"]["readonlyPaths"]) == {
        "/proc/bus",
        "/proc/fs",
        "/proc/irq",
        "/proc/sys",
        "/proc/sysrq-trigger",
    }
    assert {each["type"] for each in document["linux"]["namespaces"]} == {"mount", "network", "uts", "pid", "ipc"}
    assert document["linux"]["sysctl"] == {
        "net.ipv4.ip_unprivileged_port_start": "0",
        "net.ipv4.ping_group_range": "0 2147483647",
    }
    assert document["process"]["env"] == [
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOSTNAME=box",
        "HOME=/",
    ]
    assert document["linux"]["resources"]["devices"][0] == {"allow": False, "access": "rwm"}


def test_limits_as_docker_converts_them() -> None:
    config = request("i", ["x"], mem_limit="64m", nano_cpus="0.5", cpu_shares=512, pids_limit=50)
    resources = planned(config)["linux"]["resources"]
    assert resources["memory"] == {"limit": 67108864, "swap": 134217728}
    assert resources["cpu"] == {"shares": 512, "quota": 50000, "period": 100000}
    assert resources["pids"] == {"limit": 50}


def test_swap_below_memory_is_refused() -> None:
    with pytest.raises(InvalidInput, match="memoryswap"):
        planned(request("i", ["x"], mem_limit="64m", memory_swap="32m"))


def test_the_hosts_network_has_no_namespace_and_no_sysctls() -> None:
    document = planned(netns=None)
    assert "network" not in {each["type"] for each in document["linux"]["namespaces"]}
    assert "sysctl" not in document["linux"]


def test_a_joined_network_keeps_its_owners_sysctls() -> None:
    assert "sysctl" not in planned(own_network=False)["linux"]


def test_privileged_takes_everything_the_host_can_give_and_says_what_it_cannot() -> None:
    given = frozenset(capabilities.ALL) - {"CAP_SYS_RESOURCE"}
    device = Device("/dev/sda", "b", 8, 0)
    plan = spec.plan(
        request("i", ["x"], privileged=True),
        surroundings(bounding=given, seccomp={"defaultAction": "SCMP_ACT_ERRNO"}, devices=(device,)),
    )
    linux = plan.document["linux"]
    assert set(plan.document["process"]["capabilities"]["bounding"]) == given
    assert linux["maskedPaths"] == [] and linux["readonlyPaths"] == []
    assert "seccomp" not in linux
    assert linux["resources"]["devices"] == [{"allow": True, "access": "rwm"}]
    assert [each["path"] for each in linux["devices"]] == ["/dev/sda"]
    assert any("CAP_SYS_RESOURCE" in warning for warning in plan.warnings)


def test_capabilities_are_added_and_dropped() -> None:
    assert capabilities.resolve(["NET_ADMIN"], ["MKNOD"]) == (
        *(name for name in DOCKER_CAPABILITIES if name != "CAP_MKNOD"),
        "CAP_NET_ADMIN",
    )
    assert capabilities.resolve(["cap_kill"], ["all"]) == ("CAP_KILL",)
    assert set(capabilities.resolve(["ALL"], ["SYS_ADMIN"])) == set(capabilities.ALL) - {"CAP_SYS_ADMIN"}
    with pytest.raises(InvalidInput, match="unknown capability"):
        capabilities.resolve(["FLY"], [])


def test_a_user_other_than_root_keeps_the_bounding_set_only() -> None:
    process = planned(request("i", ["x"], user="33"), account=Account(33, 33, (5,), "/var/www"))["process"]
    assert set(process["capabilities"]) == {"bounding"}
    assert process["user"] == {"uid": 33, "gid": 33, "additionalGids": [33, 5]}
    assert "HOME=/var/www" in process["env"]


def test_limits_above_the_hosts_are_cut_with_a_warning() -> None:
    config = ContainerConfig("i", ("x",), ulimits=(Ulimit("nofile", 1000, 30000),), oom_score_adj=-500)
    plan = spec.plan(config, surroundings(hard_limits={"nofile": 20000}, least_oom_score=0))
    assert plan.document["process"]["rlimits"] == [{"type": "RLIMIT_NOFILE", "soft": 1000, "hard": 20000}]
    assert plan.document["process"]["oomScoreAdj"] == 0
    assert len(plan.warnings) == 2


def test_mounts_of_ones_own_replace_the_defaults() -> None:
    mounts = (
        ResolvedMount(Path("/my/hosts"), parse_volume("/my/hosts:/etc/hosts:ro")),
        ResolvedMount(Path("/shm"), parse_volume("/shm:/dev/shm")),
        ResolvedMount(Path("tmpfs"), parse_tmpfs("/t:size=1m,exec")),
    )
    found = planned(mounts=mounts)["mounts"]
    by_target = {mount["destination"]: mount for mount in found}
    assert len(by_target) == len(found)
    assert by_target["/etc/hosts"]["source"] == "/my/hosts"
    assert by_target["/etc/hosts"]["options"] == ["rbind", "ro", "rprivate"]
    assert by_target["/dev/shm"]["source"] == "/shm"
    assert by_target["/t"]["options"] == ["nosuid", "nodev", "size=1m", "exec", "rprivate"]


def test_read_only_holds_for_the_engines_files_too() -> None:
    document = planned(request("i", ["x"], read_only=True))
    assert document["root"]["readonly"] is True
    assert all("ro" in m["options"] for m in document["mounts"] if m["destination"].startswith("/etc/"))


def test_init_comes_first() -> None:
    document = planned(init=Path("/usr/bin/tini"))
    assert document["process"]["args"] == ["/sbin/docker-init", "--", "sleep", "1"]
    assert {
        "destination": "/sbin/docker-init",
        "type": "bind",
        "source": "/usr/bin/tini",
        "options": ["bind", "ro"],
    } in (document["mounts"])


def test_a_terminal_has_term_set() -> None:
    process = planned(request("i", ["x"], tty=True, environment=["HOME=/h"]))["process"]
    assert process["terminal"] is True
    assert process["env"][2:] == ["TERM=xterm", "HOME=/h"]


PASSWD = "root:x:0:0:root:/root:/bin/sh\nwww:x:33:34:web:/var/www:/bin/false\nplain:x:1000:1000::/home/plain:/bin/sh\n"
GROUP = "root:x:0:\nweb:x:34:\nlogs:x:40:www,plain\naudio:x:29:plain\n"


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", Account(0, 0, (), "/root")),
        ("www", Account(33, 34, (40,), "/var/www")),
        ("33", Account(33, 34, (40,), "/var/www")),
        ("www:audio", Account(33, 29, (), "/var/www")),
        ("www:77", Account(33, 77, (), "/var/www")),
        ("4242", Account(4242, 0, (), "/")),
        ("4242:4343", Account(4242, 4343, (), "/")),
    ],
)
def test_users_are_looked_up_in_the_images_files(user: str, expected: Account) -> None:
    assert accounts.resolve(user, (), PASSWD, GROUP) == expected


def test_added_groups_may_be_names_or_numbers() -> None:
    assert accounts.resolve("plain", ("web", "99"), PASSWD, GROUP).groups == (40, 29, 34, 99)


@pytest.mark.parametrize(("user", "words"), [("nobody", "unable to find user"), ("www:nope", "unable to find group")])
def test_unknown_names_are_refused(user: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        accounts.resolve(user, (), PASSWD, GROUP)


PROFILE = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "defaultErrnoRet": 38,
    "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]}],
    "syscalls": [
        {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": None},
        {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
        {"names": ["mount"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
        {"names": ["arm_only"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["arm64"]}},
        {"names": ["new"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "5.9"}},
        {
            "names": ["personality"],
            "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 0, "value": 8, "valueTwo": 0, "op": "SCMP_CMP_EQ"}],
        },
    ],
}


def test_a_profile_is_resolved_for_capabilities_architecture_and_kernel() -> None:
    resolved = seccomp.resolve(PROFILE, {"CAP_CHOWN"}, machine="x86_64", kernel=(5, 8))
    assert resolved["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
    assert resolved["defaultErrnoRet"] == 38
    assert [(rule["names"], rule["action"]) for rule in resolved["syscalls"][:2]] == [
        (["read"], "SCMP_ACT_ALLOW"),
        (["personality"], "SCMP_ACT_ALLOW"),
    ]
    assert resolved["syscalls"][1]["args"] == [{"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}]
    wider = seccomp.resolve(PROFILE, {"CAP_SYS_ADMIN"}, machine="x86_64", kernel=(6, 1))
    assert ["new"] in [rule["names"] for rule in wider["syscalls"]]
    assert "SCMP_ACT_ERRNO" not in [rule["action"] for rule in wider["syscalls"]]


def test_without_sys_admin_nobody_mounts_or_makes_namespaces() -> None:
    loose = {
        **PROFILE,
        "syscalls": [{"names": ["read", "mount", "unshare", "clone", "clone3"], "action": "SCMP_ACT_ALLOW"}],
    }
    rules = seccomp.resolve(loose, {"CAP_CHOWN"}, machine="x86_64", kernel=(6, 1))["syscalls"]
    assert rules[0] == {"names": ["read"], "action": "SCMP_ACT_ALLOW"}
    by_name = {name: rule for rule in rules for name in rule["names"]}
    assert by_name["clone"]["args"] == [{"index": 0, "value": 2114060288, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]
    assert (by_name["clone3"]["action"], by_name["clone3"]["errnoRet"]) == ("SCMP_ACT_ERRNO", 38)
    assert {by_name[name]["errnoRet"] for name in ("mount", "unshare", "setns", "bpf")} == {1}
    wide = seccomp.resolve(loose, {"CAP_SYS_ADMIN"}, machine="x86_64", kernel=(6, 1))["syscalls"]
    assert [rule["names"] for rule in wide] == [["read", "mount", "unshare", "clone", "clone3"]]


def test_only_whole_filters_are_kept(tmp_path: Path) -> None:
    filters = seccomp.Filters(tmp_path / "cache")
    broken, whole = tmp_path / "broken", tmp_path / "whole"
    broken.write_bytes(b"12345")
    whole.write_bytes(b"12345678")
    filters.keep("a", broken)
    filters.keep("b", whole)
    assert filters.load("a") is None
    assert filters.load("b") == "MTIzNDU2Nzg="
