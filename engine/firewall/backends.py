"""The two worlds iptables can write to: nf_tables and the legacy tables.

Owns which programs serve which world and how their refusals read in plain words. Decides nothing about rules. Reading
is done with ``iptables-save`` only: listing a legacy table with ``-L`` or ``-S`` would create it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

from engine.errors import HostError, InvalidInput
from engine.host import processes

NFT = "nft"
LEGACY = "legacy"
LOCK_WAIT_S = 5
"""How long a legacy restore waits for the lock all legacy iptables programs share (nf_tables needs none)."""

_STEP_FIND = "looking for iptables"
_STEP_READ = "reading firewall rules"
_STEP_WRITE = "changing firewall rules"
_INSTALL = "install the iptables package, or run ./bootstrap setup"
_SYSTEM_DIRECTORIES = ("/usr/sbin", "/sbin", "/usr/local/sbin")


class Backend(NamedTuple):
    """One world: its name and the absolute paths of its two programs."""

    name: str
    save: str
    restore: str

    def read(self, *, counters: bool = False) -> str:
        """All IPv4 tables as ``iptables-save`` prints them; never creates a table. HostError if it cannot."""
        arguments = [self.save, "-c"] if counters else [self.save]
        return processes.run(_STEP_READ, arguments).stdout.decode(errors="surrogateescape")

    def apply(self, script: str) -> None:
        """Carry out ``script`` (``iptables-restore`` input) without emptying anything; one commit a table.

        HostError in plain words if the lock stays taken, the kernel lacks a table, or a line is refused.
        """
        arguments = [self.restore, "--noflush"]
        if self.name == LEGACY:
            arguments += ["-w", str(LOCK_WAIT_S)]
        result = processes.run(_STEP_WRITE, arguments, stdin=script.encode(errors="surrogateescape"), check=False)
        if result.returncode != 0:
            raise _refusal(self, script, result.stderr.decode(errors="replace"), result.returncode)


class LockTaken(HostError):
    """Another program kept the lock of the legacy tables for the whole time we were ready to wait."""


def choose(setting: str = "auto") -> Backend:
    """The backend of that name; ``auto`` takes the one ``iptables -V`` names, as the administrator's own tools do."""
    if setting not in ("auto", NFT, LEGACY):
        raise InvalidInput(
            f"unknown firewall backend {setting!r}: it is auto, {NFT} or {LEGACY}",
            remedy="correct PILOTHOUSE_FIREWALL",
        )
    native = _native()
    if setting == "auto" and native is None:
        backend = next(iter(installed()), None)
    else:
        wanted = native if setting == "auto" and native else setting
        backend = _of_name(wanted, plain=wanted == native)
    if backend is None:
        programs = "iptables-save and iptables-restore"
        what = programs if setting == "auto" else f"the {setting} variants of {programs}"
        raise HostError(_STEP_FIND, f"{what} are not installed", remedy=_INSTALL)
    return backend


def _native() -> str | None:
    """The backend of the plain ``iptables``; None when there is no such program."""
    iptables = find("iptables")
    if iptables is None:
        return None
    # Each backend is one program under many names; where the link leads to it by name, nothing has to be run.
    for name in (NFT, LEGACY):
        if Path(iptables).resolve().name == f"xtables-{name}-multi":
            return name
    # "iptables v1.8.9 (nf_tables)", "iptables v1.8.9 (legacy)"; before 1.8 there was only the legacy one.
    version = processes.run(_STEP_FIND, [iptables, "-V"]).stdout
    return NFT if b"nf_tables" in version else LEGACY


def installed() -> tuple[Backend, ...]:
    """Every backend whose own programs are installed: rules can live in both worlds at once."""
    return tuple(backend for name in (NFT, LEGACY) if (backend := _of_name(name, plain=False)))


def find(program: str) -> str | None:
    """Absolute path of ``program``; also looks where a user's PATH does not reach."""
    # shutil.which would do, but importing shutil loads three compression libraries.
    for directory in (*os.environ.get("PATH", os.defpath).split(os.pathsep), *_SYSTEM_DIRECTORIES):
        path = os.path.join(directory, program)  # noqa: PTH118 - a Path for each is slow
        if directory and os.access(path, os.X_OK):
            return path
    return None


def _of_name(name: str, *, plain: bool) -> Backend | None:
    prefixes = (f"iptables-{name}", "iptables") if plain else (f"iptables-{name}",)
    for prefix in prefixes:
        save, restore = find(f"{prefix}-save"), find(f"{prefix}-restore")
        if save and restore:
            return Backend(name, save, restore)
    return None


def _refusal(backend: Backend, script: str, words: str, status: int) -> HostError:
    """The error for a restore that failed; ``words`` is what it wrote to stderr."""
    reason = " ".join(line.strip() for line in words.splitlines() if line.strip()) or f"exit status {status}"
    lowered = reason.lower()
    if "holding the xtables lock" in lowered:
        return LockTaken(
            _STEP_WRITE,
            f"another program has held the xtables lock for {LOCK_WAIT_S} s",
            remedy="`fuser -v /run/xtables.lock` names it; end it or wait, then try again",
        )
    if "permission denied" in lowered or "operation not permitted" in lowered:
        return HostError(_STEP_WRITE, reason, remedy="root with CAP_NET_ADMIN and CAP_NET_RAW is needed")
    if "table does not exist" in lowered or "can't initialize" in lowered:
        return HostError(
            _STEP_WRITE,
            reason,
            remedy=f"the kernel lacks a table of the {backend.name} backend: load its module "
            "(iptable_raw, iptable_filter, iptable_nat) or choose the other with PILOTHOUSE_FIREWALL",
        )
    return HostError(
        _STEP_WRITE, f"{reason}{_refused_line(script, reason)}", remedy="see `iptables-save` for the rules"
    )


def _refused_line(script: str, reason: str) -> str:
    """The line of ``script`` that ``reason`` ("line 7 failed") speaks of, ready to be appended to a message."""
    lines = script.splitlines()
    found = re.search(r"\bline:? (\d+)", reason)
    if found and 0 < int(found[1]) <= len(lines):
        return f" (in {lines[int(found[1]) - 1]!r})"
    return ""
