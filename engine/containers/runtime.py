"""The OCI runtime (crun, or runc where there is no crun): its command lines, its state directory, its errors.

Owns ``--root RUN_DIR/crun`` and the translation of the runtime's words into the engine's errors. Decides nothing about
containers; every container it knows has an id of this engine's making.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from engine.config import Config
from engine.errors import CommandNotExecutable, CommandNotFound, EngineError, HostError
from engine.host import chroots, processes

FALLBACK = "runc"
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_QUOTED = re.compile(r"[`'\"]([^`'\"]+)[`'\"]")


def find_program(name: str, purpose: str) -> Path:
    """The absolute path of an external program; HostError says what it is for when it is missing."""
    found = _on_path(name)
    if found is None:
        raise HostError(
            purpose, f"{name} is not installed", remedy=f"run ./bootstrap setup, or install the package {name}"
        )
    return Path(found)


def _on_path(name: str) -> str | None:
    # shutil.which would do, but importing shutil loads three compression libraries.
    if "/" in name:
        return name if os.access(name, os.X_OK) else None
    for directory in f"{os.environ.get('PATH', '')}:{SEARCH_PATH}".split(":"):
        candidate = f"{directory}/{name}"
        if directory and os.access(candidate, os.X_OK):
            return candidate
    return None


class Runtime:
    """The runtime of one engine."""

    def __init__(self, config: Config) -> None:
        self.root = config.run_dir / "crun"
        self._run_dir = config.run_dir
        self._name = config.runtime
        self._path: Path | None = None

    @property
    def path(self) -> Path:
        """The runtime's binary; the default one is replaced by runc where only that is installed."""
        if self._path is None:
            try:
                self._path = find_program(self._name, "finding the container runtime")
            except HostError:
                if self._name != "crun" or _on_path(FALLBACK) is None:
                    raise
                self._path = find_program(FALLBACK, "finding the container runtime")
            if chroots.is_chroot():
                from engine.containers import chroot

                self._path = chroot.stand_in(self._path, self._run_dir)
        return self._path

    @property
    def is_crun(self) -> bool:
        """True unless a runtime of another family was configured or found."""
        return "crun" in self.path.name

    def options(self) -> list[str]:
        """The global options every call needs, without the program."""
        options = ["--root", str(self.root)]
        if self.is_crun:
            options.append("--cgroup-manager=cgroupfs")
        return options

    def command(self, *arguments: str) -> list[str]:
        """A whole command line."""
        return [str(self.path), *self.options(), *arguments]

    def state_directory(self, id: str) -> Path:
        """Where the runtime keeps what it knows of ``id``; it exists from create to delete."""
        return self.root / id

    def start(self, id: str, arguments: Sequence[str]) -> None:
        """Let a created container run; the errors of its command are CommandNotFound and CommandNotExecutable."""
        result = processes.run(f"starting container {id[:12]}", self.command("start", id), check=False)
        if result.returncode != 0:
            raise self.error(result.stderr.decode(errors="replace"), arguments, f"starting container {id[:12]}")

    def delete(self, id: str) -> subprocess.Popen[bytes] | None:
        """Begin to delete what the runtime has of ``id``, killing what still runs; None when it has nothing.

        Pass the result to ``deleted``; other work can go on meanwhile.
        """
        if not self.state_directory(id).exists():
            return None
        try:
            return subprocess.Popen(
                self.command("delete", "--force", id),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
        except OSError as error:
            raise HostError(f"deleting container {id[:12]} from the runtime", error.strerror) from error

    def deleted(self, id: str, deletion: subprocess.Popen[bytes] | None) -> None:
        """Wait for a deletion to end; a state directory the runtime cannot read is removed all the same."""
        if deletion is None:
            return
        try:
            _, words = deletion.communicate(timeout=30)
        except subprocess.TimeoutExpired as error:
            deletion.kill()
            deletion.wait()
            raise HostError(f"deleting container {id[:12]} from the runtime", "no answer within 30 s") from error
        state = self.state_directory(id)
        if deletion.returncode == 0 or not state.exists():
            return
        if (state / "status").exists() or (state / "state.json").exists():
            raise HostError(f"deleting container {id[:12]} from the runtime", words.decode(errors="replace").strip())
        import shutil

        shutil.rmtree(state, ignore_errors=True)

    def error(self, words: str, arguments: Sequence[str], step: str) -> EngineError:
        """The engine's error for what the runtime said about a process with ``arguments``."""
        return command_error(words, arguments) or HostError(step, clean(words) or "the runtime gave no reason")


def clean(words: str) -> str:
    """The runtime's message without its own prefix and time stamp; the last line is the telling one."""
    lines = [line for line in words.strip().splitlines() if line.strip()]
    text = lines[-1] if lines else ""
    match = re.search(r'msg="((?:[^"\\]|\\.)*)"', text)
    if match:
        text = match[1].replace('\\"', '"')
    text = re.sub(r"^\d{4}-\d\d-\d\dT[0-9:.]+Z: ", "", text)
    return re.sub(r"^(crun|runc): ", "", text).strip()


def command_error(words: str, arguments: Sequence[str]) -> EngineError | None:
    """CommandNotFound or CommandNotExecutable in docker's words, None when the message is about something else."""
    text = clean(words)
    command = arguments[0] if arguments else ""
    about_command = re.search(r"executable file|open executable|exec|execv", text, re.IGNORECASE) is not None
    if not about_command and re.search(r"chdir", text):
        return None
    if not about_command:
        return None
    prefix = f'unable to start container process: exec: "{command}"'
    if re.search(r"not found in \$PATH", text) or (
        "/" not in command and re.search(r"[Nn]o such file or directory", text)
    ):
        return CommandNotFound(
            f"{prefix}: executable file not found in $PATH",
            remedy="check the command's spelling and that the image has it",
        )
    if re.search(r"no such file or directory", text, re.IGNORECASE):
        return CommandNotFound(
            f"{prefix}: stat {command}: no such file or directory",
            remedy="check the path; a script also needs the interpreter its first line names",
        )
    if re.search(r"(permission denied|operation not permitted|is a directory|not executable)", text, re.IGNORECASE):
        words = "is a directory" if "is a directory" in text.lower() else "permission denied"
        return CommandNotExecutable(f"{prefix}: {words}", remedy="the file needs execute permission inside the image")
    if re.search(r"exec format error", text, re.IGNORECASE):
        return CommandNotExecutable(
            f"{prefix}: exec format error",
            remedy="the program is for another processor, or a script without a #! line",
        )
    return None
