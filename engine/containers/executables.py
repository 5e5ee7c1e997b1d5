"""Whether a command can be executed inside a root file system, before the runtime is asked.

Owns the search of PATH as execvp(3) makes it, resolved inside the root. The runtime's own refusal comes too late for an
exec: its words would mix with the command's output.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from engine.errors import CommandNotExecutable, CommandNotFound
from engine.host import rooted


def check(root: Path, command: str, environment: Sequence[str], working_dir: str) -> None:
    """CommandNotFound or CommandNotExecutable (a missing ``working_dir`` too) in docker's words, else nothing."""
    prefix = f'unable to start container process: exec: "{command}"'
    directory = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        _check_directory(directory, working_dir)
        if "/" in command:
            path = command if command.startswith("/") else f"{working_dir}/{command}"
            status = _status(directory, path)
            if status is None:
                raise CommandNotFound(
                    f"{prefix}: stat {command}: no such file or directory", remedy="check the path inside the container"
                )
            if not _executable(status):
                words = "is a directory" if stat.S_ISDIR(status.st_mode) else "permission denied"
                raise CommandNotExecutable(f"{prefix}: {words}", remedy="the file needs execute permission")
            return
        search = next((entry[5:] for entry in reversed(environment) if entry.startswith("PATH=")), "/bin:/usr/bin")
        found = [_status(directory, f"{part or '.'}/{command}") for part in search.split(":")]
    finally:
        os.close(directory)
    if any(status is not None and _executable(status) for status in found):
        return
    if any(status is not None and stat.S_ISREG(status.st_mode) for status in found):
        raise CommandNotExecutable(f"{prefix}: permission denied", remedy="the file needs execute permission")
    raise CommandNotFound(
        f"{prefix}: executable file not found in $PATH", remedy="check the command's spelling and the container's PATH"
    )


def _check_directory(root: int, working_dir: str) -> None:
    status = _status(root, working_dir)
    if status is None or not stat.S_ISDIR(status.st_mode):
        why = "no such file or directory" if status is None else "not a directory"
        raise CommandNotExecutable(
            f'unable to start container process: chdir to cwd ("{working_dir}") failed: {why}',
            remedy="name a directory that is there inside the container",
        )


def _status(root: int, path: str) -> os.stat_result | None:
    try:
        descriptor = rooted.open_in(root, path, os.O_PATH)
    except OSError:
        return None
    try:
        return os.fstat(descriptor)
    finally:
        os.close(descriptor)


def _executable(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) and bool(status.st_mode & 0o111)
