"""``version``, ``info``, ``restore`` and ``help``.

Owns what is told about the program, the host and what the engine keeps. Everything shown is looked up now.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from engine.errors import EngineError
from tui.command_line import human
from tui.command_line.grammar import Command, UnknownVerb
from tui.command_line.session import Session
from tui.command_line.template import Template
from tui.version import VERSION

PROGRAMS = ("crun", "runc", "conmon", "iptables")


def version(command: Command, session: Session) -> int:
    """Versions of pilothouse, of Python, and of the programs it runs; needs no root and touches no state."""
    facts = {
        "Version": VERSION,
        "PythonVersion": platform.python_version(),
        "Os": sys.platform,
        "Arch": platform.machine(),
        "KernelVersion": platform.release(),
        "Components": {name: _first_line(name) for name in PROGRAMS},
    }
    if command.text("format"):
        return _formatted(command, session, facts)
    session.line("Pilothouse:")
    session.line(f" Version:           {facts['Version']}")
    session.line(f" Python version:    {facts['PythonVersion']}")
    session.line(f" OS/Arch:           {facts['Os']}/{facts['Arch']}")
    session.line(f" Kernel version:    {facts['KernelVersion']}")
    for name in PROGRAMS:
        found = _first_line(name)
        if found or name != "runc":
            session.line(f" {name + ':':<18} {found or 'not installed'}")
    return 0


def restore(command: Command, session: Session) -> int:
    """Start what the restart policies say after a boot, and print the names; 1 if one of them could not be started."""
    failures: list[str] = []
    containers = session.containers
    containers.on_warning = failures.append
    session.lines(containers.restore())
    for words in failures:
        session.note(words)
    return 1 if failures else 0


def info(command: Command, session: Session) -> int:
    """What the engine has: counts, storage driver, firewall backend, directories."""
    facts = gather(session)
    if command.text("format"):
        return _formatted(command, session, facts)
    states = facts["Containers"]
    session.line(f"Containers: {states}")
    for name in ("Running", "Paused", "Stopped"):
        session.line(f" {name}: {facts[f'Containers{name}']}")
    session.line(f"Images: {facts['Images']}")
    for label, key in (
        ("Version", "ServerVersion"),
        ("Storage Driver", "Driver"),
        ("Cgroup Version", "CgroupVersion"),
        ("Runtime", "DefaultRuntime"),
        ("Firewall Backend", "FirewallBackend"),
        ("Networks", "Networks"),
        ("Volumes", "Volumes"),
        ("Kernel Version", "KernelVersion"),
        ("Operating System", "OperatingSystem"),
        ("Architecture", "Architecture"),
        ("CPUs", "NCPU"),
    ):
        session.line(f"{label}: {facts[key]}")
    session.line(f"Total Memory: {human.binary_size(facts['MemTotal'])}")
    session.line(f"Name: {facts['Name']}")
    session.line(f"Pilothouse Root Dir: {facts['DockerRootDir']}")
    session.line(f"Pilothouse Run Dir: {facts['RunDir']}")
    for warning in facts["Warnings"]:
        session.note(f"WARNING: {warning}")
    return 0


def gather(session: Session) -> dict[str, Any]:
    """docker's names where docker has the same thing."""
    engine = session.engine
    states = [row.state for row in engine.containers.summaries(all=True)]
    warnings: list[str] = []
    try:
        backend = engine.firewall.backend.name
    except EngineError as error:
        backend = "none"
        warnings.append(str(error))
    return {
        "Containers": len(states),
        "ContainersRunning": states.count("running"),
        "ContainersPaused": states.count("paused"),
        "ContainersStopped": len(states) - states.count("running") - states.count("paused"),
        "Images": len(engine.images.list()),
        "Driver": engine.driver.name,
        "Networks": " ".join(network.name for network in engine.networks.list()),
        "Volumes": len(engine.volumes.list()),
        "FirewallBackend": backend,
        "CgroupVersion": "2" if os.path.exists("/sys/fs/cgroup/cgroup.controllers") else "1",  # noqa: PTH110
        "DefaultRuntime": engine.containers.runtime_name,
        "KernelVersion": platform.release(),
        "OperatingSystem": _system_name(),
        "Architecture": platform.machine(),
        "NCPU": os.cpu_count() or 1,
        "MemTotal": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "Name": platform.node(),
        "DockerRootDir": str(engine.config.data_root),
        "RunDir": str(engine.config.run_dir),
        "ServerVersion": VERSION,
        "Warnings": warnings,
    }


def help_about(command: Command, session: Session) -> int:
    """``help`` and ``help COMMAND``."""
    from tui.command_line.usage import group_help, program_help, verb_help
    from tui.command_line.vocabulary import VOCABULARY

    words = command.operands
    if not words:
        session.out.write(program_help(VOCABULARY))
        return 0
    if len(words) == 1 and words[0] in VOCABULARY.groups:
        session.out.write(group_help(VOCABULARY, words[0]))
        return 0
    found = VOCABULARY.find(words)
    if found is None:
        raise UnknownVerb(f"unknown help topic: {' '.join(words)}")
    session.out.write(verb_help(found[0]))
    return 0


def _formatted(command: Command, session: Session, facts: Mapping[str, Any]) -> int:
    form = command.text("format")
    session.line(Template("{{json .}}" if form == "json" else form).render(facts))
    return 0


def _first_line(program: str) -> str:
    """What a program says about its version, empty when it is not installed."""
    if shutil.which(program) is None:
        return ""
    try:
        result = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    line = (result.stdout.strip().splitlines() or [""])[0]
    return line.removeprefix(program).strip().removeprefix("version").strip()


def _system_name() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        return platform.system()
