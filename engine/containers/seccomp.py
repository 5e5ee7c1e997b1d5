"""The system-call filter: a docker-format profile resolved into the OCI form, and the cache of compiled filters.

Owns the resolution of ``includes`` and ``excludes`` by capability, architecture and kernel, and one file per compiled
filter under the run dir. Ships no profile: it reads the one the distribution installs with its container tools.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from engine.errors import HostError, InvalidInput
from engine.values import dataclass

PROFILES = (Path("/etc/containers/seccomp.json"), Path("/usr/share/containers/seccomp.json"))
ANNOTATION = "run.oci.seccomp_bpf_data"
# uname -m -> (the profile's word, the OCI architecture)
ARCHITECTURES = {
    "x86_64": ("amd64", "SCMP_ARCH_X86_64"),
    "aarch64": ("arm64", "SCMP_ARCH_AARCH64"),
    "armv7l": ("arm", "SCMP_ARCH_ARM"),
    "i686": ("x86", "SCMP_ARCH_X86"),
    "ppc64le": ("ppc64le", "SCMP_ARCH_PPC64LE"),
    "riscv64": ("riscv64", "SCMP_ARCH_RISCV64"),
    "s390x": ("s390x", "SCMP_ARCH_S390X"),
}
# What docker's own profile lets a process do only with CAP_SYS_ADMIN; the distributions' profile, made for rootless
# tools, allows some of it to everybody.
_ADMIN_CALLS = (
    "bpf fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr move_mount open_tree "
    "perf_event_open pivot_root quotactl quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare"
)
ADMIN_CALLS = frozenset(_ADMIN_CALLS.split())
# The namespace flags of clone(2): NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET.
NAMESPACE_FLAGS = 0x7E020000
EPERM, ENOSYS = 1, 38


def profile_path() -> Path:
    """The installed default profile; HostError names the packages when there is none."""
    for path in PROFILES:
        if path.exists():
            return path
    raise HostError(
        "reading the default seccomp profile",
        "no seccomp.json in /etc/containers or /usr/share/containers",
        remedy="install golang-github-containers-common (Debian, Ubuntu) or containers-common (Fedora), "
        "or run with --security-opt seccomp=unconfined",
    )


def read_profile(path: Path) -> Mapping[str, Any]:
    """The profile as it is in the file; errors name the file."""
    try:
        profile: Mapping[str, Any] = json.loads(path.read_bytes())
    except OSError as error:
        raise HostError(f"reading seccomp profile {path}", error.strerror) from error
    except ValueError as error:
        raise InvalidInput(f"seccomp profile {path} is not JSON: {error}") from error
    return profile


def resolve(
    profile: Mapping[str, Any], capabilities: Collection[str], *, machine: str, kernel: tuple[int, int]
) -> dict[str, Any]:
    """The ``linux.seccomp`` object of the OCI spec for a process with ``capabilities`` on ``machine`` (uname -m).

    Rules: docker's ``profiles/seccomp``: ``includes`` all have to hold, one of ``excludes`` is enough to drop a rule;
    ``minKernel`` is ``MAJOR.MINOR``.
    """
    word, native = ARCHITECTURES.get(machine, (machine, ""))
    resolved: dict[str, Any] = {"defaultAction": profile["defaultAction"]}
    if profile.get("defaultErrnoRet") is not None:
        resolved["defaultErrnoRet"] = profile["defaultErrnoRet"]
    for entry in profile.get("archMap") or ():
        if entry["architecture"] == native:
            resolved["architectures"] = [native, *(entry.get("subArchitectures") or ())]
    if "architectures" not in resolved and profile.get("architectures"):
        resolved["architectures"] = list(profile["architectures"])
    rules: list[dict[str, Any]] = []
    for call in profile.get("syscalls") or ():
        if not _applies(call, capabilities, word, kernel):
            continue
        rule: dict[str, Any] = {"names": call.get("names") or [call["name"]], "action": call["action"]}
        if call.get("errnoRet") is not None:
            rule["errnoRet"] = call["errnoRet"]
        if call.get("args"):
            rule["args"] = [_argument(each) for each in call["args"]]
        rules.append(rule)
    resolved["syscalls"] = rules if "CAP_SYS_ADMIN" in capabilities else _without_namespaces(rules)
    return resolved


def _without_namespaces(rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """``rules`` as docker has them for a process without CAP_SYS_ADMIN: no mounts, no new namespaces.

    clone passes with none of the namespace flags; clone3 hides its flags from the filter, so it is said not to exist
    and the C library falls back to clone.
    """
    taken = ADMIN_CALLS | {"clone", "clone3"}
    kept: list[dict[str, Any]] = []
    for rule in rules:
        names = [name for name in rule["names"] if name not in taken]
        if names:
            kept.append({**rule, "names": names})
    masked = {"index": 0, "value": NAMESPACE_FLAGS, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}
    return [
        *kept,
        {"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [masked]},
        {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS},
        {"names": sorted(ADMIN_CALLS), "action": "SCMP_ACT_ERRNO", "errnoRet": EPERM},
    ]


def _applies(call: Mapping[str, Any], capabilities: Collection[str], word: str, kernel: tuple[int, int]) -> bool:
    includes, excludes = call.get("includes") or {}, call.get("excludes") or {}
    if includes.get("arches") and word not in includes["arches"]:
        return False
    if any(name not in capabilities for name in includes.get("caps") or ()):
        return False
    if includes.get("minKernel") and kernel < _kernel(includes["minKernel"]):
        return False
    if word in (excludes.get("arches") or ()):
        return False
    if any(name in capabilities for name in excludes.get("caps") or ()):
        return False
    return not (excludes.get("minKernel") and kernel >= _kernel(excludes["minKernel"]))


def _argument(argument: Mapping[str, Any]) -> dict[str, Any]:
    values = {"index": argument["index"], "value": argument["value"], "op": argument["op"]}
    if argument.get("valueTwo"):
        values["valueTwo"] = argument["valueTwo"]
    return values


def _kernel(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return int(major), int(minor or 0)


def running_kernel() -> tuple[int, int]:
    """(major, minor) of this kernel."""
    major, minor = os.uname().release.split(".")[:2]
    return int(major), int("".join(character for character in minor if character.isdigit()) or 0)


@dataclass(frozen=True)
class Filter:
    """A resolved profile: the spec's ``linux.seccomp`` and a digest of it."""

    document: Mapping[str, Any]
    digest: str

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Filter:
        """``document`` with its digest."""
        return cls(document, hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest())


@dataclass(frozen=True)
class Prepared:
    """What goes into the spec: ``document`` and ``annotations``; ``key`` is the cache's, empty without a cache."""

    document: Mapping[str, Any] | None
    annotations: Mapping[str, str]
    key: str


class Filters:
    """Compiled filters under ``directory``, so that the runtime compiles each profile once.

    A key covers the resolved profile and the runtime's binary: another build may compile differently.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def prepare(self, filter: Filter | None, runtime: Path, *, cached: bool) -> Prepared:
        """What the spec says of ``filter``; ``cached`` is true if the runtime takes compiled filters.

        With a compiled one the rules themselves are left out: it is used as it is, and a runtime that did not would
        refuse every call.
        """
        if filter is None or not cached:
            return Prepared(None if filter is None else filter.document, {}, "")
        status = runtime.stat()
        text = f"{filter.digest} {runtime} {status.st_size} {status.st_mtime_ns}"
        key = hashlib.sha256(text.encode()).hexdigest()[:32]
        compiled = self.load(key)
        if compiled is None:
            return Prepared(filter.document, {}, key)
        return Prepared({**filter.document, "syscalls": []}, {ANNOTATION: compiled}, key)

    def load(self, key: str) -> str | None:
        """The compiled filter in base64, as crun's annotation wants it; None when it was never kept."""
        try:
            return base64.b64encode((self._directory / f"{key}.bpf").read_bytes()).decode()
        except FileNotFoundError:
            return None

    def keep(self, key: str, compiled: Path) -> None:
        """Keep what the runtime compiled into its state directory, unless it is kept or there is nothing to keep."""
        if not key or (self._directory / f"{key}.bpf").exists():
            return
        try:
            content = compiled.read_bytes()
        except OSError:
            return
        # The kernel reads arrays of 8-byte struct sock_filter; anything else is not a filter.
        if not content or len(content) % 8:
            return
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        target = self._directory / f"{key}.bpf"
        temporary = target.with_suffix(f".{os.getpid()}")
        temporary.write_bytes(content)
        temporary.rename(target)
