"""runc in crun's place: what an operator does every day works alike where only that is installed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Command

pytestmark = pytest.mark.kernel


@pytest.fixture(autouse=True)
def without_crun() -> Iterator[None]:
    """Hide crun: /dev/null is not executable. The mounts are this test's alone."""
    hidden = []
    while crun := shutil.which("crun"):
        subprocess.run(["mount", "--bind", "/dev/null", crun], check=True)
        hidden.append(crun)
    assert shutil.which("runc"), "runc is not installed: run ./bootstrap test"
    yield
    for crun in hidden:
        subprocess.run(["umount", crun], check=True)


def test_a_container_lives_on_runc(cli: Command) -> None:
    assert "Runtime: runc\n" in cli("info", check=0).stdout
    cli("run", "-d", "--name", "web", "-p", "8080:80", "--memory", "64m", "busybox", "sleep", "1000", check=0)
    assert cli("inspect", "-f", "{{.HostConfig.Runtime}}", "web", check=0).stdout == "runc\n"
    said = cli("exec", "web", "sh", "-c", "grep -E 'Seccomp:|CapBnd' /proc/self/status; exit 7", check=7).stdout
    assert said.split() == ["CapBnd:", "00000000a80425fb", "Seccomp:", "2"]
    assert "executable file not found" in cli("exec", "web", "nosuch", check=127).stderr
    for verb in (["pause"], ["unpause"], ["restart", "-t", "0"], ["stop", "-t", "0"], ["start"], ["kill"], ["rm"]):
        cli(*verb, "web", check=0)
    assert cli("ps", "-aq", check=0).stdout == ""


def test_what_a_command_ends_with_on_runc(cli: Command, tmp_path: Path) -> None:
    ended = cli("run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 3", check=3)
    assert (ended.stdout, ended.stderr) == ("out\n", "err\n")
    cli("run", "--rm", "busybox", "nosuch", check=127)
    cli("run", "--rm", "busybox", "/etc", check=126)
    (tmp_path / "Dockerfile").write_text("FROM busybox\nRUN echo built >/file\n")
    cli("build", "-t", "app", tmp_path, check=0)
    assert cli("run", "--rm", "app", "cat", "/file", check=0).stdout == "built\n"
