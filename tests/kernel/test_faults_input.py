"""What an operator mistypes: refused with docker's exit code, in words that help, and nothing is left of it."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from engine.config import Config
from tests.conftest import Command
from tests.kernel.fault_scenes import Scene, assert_told_well

pytestmark = pytest.mark.kernel


def refused(cli: Command, config: Config, scene: Scene, arguments: list[str], code: int, *words: str) -> str:
    """Run it; it must end with ``code``, say all the ``words``, give a remedy and leave nothing."""
    result = cli(*arguments)
    assert result.returncode == code, f"{arguments}: {result.returncode}\n{result.stdout}\n{result.stderr}"
    for word in words:
        assert word.lower() in result.stderr.lower(), result.stderr
    assert_told_well(result.stderr)
    assert not Scene.observe(config).beyond(scene)
    return result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "nosuchimage", "true"], ["nosuchimage"]),
        (["run", "Bad/Name"], ["must be lowercase", "bad/name"]),
        (["run", "--name", "bad name", "busybox"], ["bad name"]),
        (["run", "-p", "99999:80", "busybox"], ["99999"]),
        (["run", "-p", "a:b", "busybox"], ["a:b"]),
        (["run", "-p", "8000-8002:80-81", "busybox"], ["8000-8002"]),
        (["run", "-v", "relative/path:/x", "busybox"], ["relative/path"]),
        (["run", "-v", "/a:/b:wrong", "busybox"], ["wrong"]),
        (["run", "-v", "/a:/", "busybox"], ["/a:/"]),
        (["run", "--tmpfs", "/t:bogus", "busybox"], ["invalid tmpfs option", "bogus"]),
        (["run", "--memory", "plenty", "busybox"], ["plenty"]),
        (["run", "--memory", "1m", "busybox"], ["6MB"]),
        (["run", "--cpus", "-1", "busybox"], ["-1"]),
        (["run", "--cpus", "9999", "busybox"], ["range of CPUs is from 0.01 to"]),
        (["run", "--restart", "sometimes", "busybox"], ["sometimes"]),
        (["run", "--restart", "always", "--rm", "busybox"], ["--restart", "--rm"]),
        (["run", "--cap-add", "FLY", "busybox"], ["FLY"]),
        (["run", "--network", "nosuchnetwork", "busybox"], ["nosuchnetwork"]),
        (["run", "--network", "container:nosuch", "busybox"], ["nosuch"]),
        (["run", "--stop-signal", "SIGNOPE", "busybox"], ["SIGNOPE"]),
        (["run", "--user", "nobodyhere", "busybox", "true"], ["nobodyhere"]),
        (["run", "--nosuchflag", "busybox"], ["nosuchflag", "--help"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_wrong_run_is_refused(
    cli: Command, config: Config, scene: Scene, arguments: list[str], words: list[str]
) -> None:
    refused(cli, config, scene, arguments, 125, *words)


@pytest.mark.parametrize("verb", ["start", "stop", "kill", "rm", "pause", "unpause", "logs", "exec", "wait", "inspect"])
def test_a_container_that_is_not_there(cli: Command, config: Config, scene: Scene, verb: str) -> None:
    refused(cli, config, scene, [verb, "nosuch", *(["true"] if verb == "exec" else [])], 1, "no such", "nosuch")


def test_a_command_that_is_not_there(cli: Command, config: Config, scene: Scene) -> None:
    assert cli("run", "--rm", "busybox", "nosuchcommand").returncode == 127
    assert cli("run", "--rm", "busybox", "/etc/passwd").returncode == 126
    assert cli("run", "--rm", "busybox", "sh", "-c", "sh -c 'kill -9 $$'; exit $?").returncode == 137
    assert cli("run", "--rm", "busybox", "sh", "-c", "exit 3").returncode == 3
    assert not Scene.observe(config).beyond(scene)


def test_a_taken_name(cli: Command, config: Config) -> None:
    first = cli("create", "--name", "web", "busybox", check=0).stdout.strip()
    before = Scene.observe(config)

    said = refused(
        cli, config, before, ["run", "--name", "web", "busybox", "true"], 125, "already in use", "/web", first
    )
    assert "remove" in said or "rename" in said
    refused(cli, config, before, ["create", "--name", "web", "busybox"], 1, "already in use", "/web")


def test_a_port_that_another_program_has(cli: Command, config: Config, scene: Scene) -> None:
    with socket.socket() as other:
        other.bind(("0.0.0.0", 8088))
        other.listen()
        result = cli("run", "-d", "--name", "web", "-p", "8088:80", "busybox", "sleep", "100")

    assert result.returncode == 125 and "8088" in result.stderr, result.stderr
    left = Scene.observe(config).beyond(scene)
    # As docker's: the container is made and listed, its start failed; nothing of the start is left.
    assert set(left) <= {"containers", "container_directories", "layer_directories"}, left
    assert cli("inspect", "-f", "{{.State.Status}}", "web", check=0).stdout.strip() == "created"
    cli("start", "web", check=0)
    cli("rm", "-f", "web", check=0)
    assert not Scene.observe(config).beyond(scene)


def test_a_port_that_another_container_has(cli: Command, config: Config) -> None:
    cli("run", "-d", "-p", "127.0.0.1:8088:80", "busybox", "sleep", "100", check=0)
    before = Scene.observe(config)
    result = cli("run", "-d", "-p", "8088:80", "busybox", "sleep", "100")

    assert result.returncode == 125 and "8088" in result.stderr, result.stderr
    assert set(Scene.observe(config).beyond(before)) <= {"containers", "container_directories", "layer_directories"}


@pytest.mark.parametrize(
    ("dockerfile", "words"),
    [
        ("FROM busybox\nRUNN true\n", ["RUNN", "Dockerfile:2"]),
        ("RUN true\n", ["FROM", "Dockerfile:1"]),
        ("FROM busybox\nCOPY nosuchfile /\n", ["nosuchfile"]),
        ("FROM busybox\nCOPY ../../etc/passwd /stolen\n", ["passwd"]),
        ("FROM busybox\nCOPY escape /stolen\n", ["escape"]),
        ("FROM busybox\nRUN echo said; exit 7\n", ["said", "7"]),
        ("FROM nosuchimage\n", ["nosuchimage"]),
        ("FROM busybox AS one\nFROM busybox\n", ["stage"]),
        ("", ["empty"]),
    ],
)
def test_a_broken_dockerfile(
    cli: Command, config: Config, scene: Scene, tmp_path: Path, dockerfile: str, words: list[str]
) -> None:
    (tmp_path / "Dockerfile").write_text(dockerfile)
    (tmp_path / "escape").symlink_to("/etc/passwd")
    result = cli("build", "-t", "broken", tmp_path)

    assert result.returncode == 1, result.stdout + result.stderr
    for word in words:
        assert word.lower() in (result.stdout + result.stderr).lower(), result.stdout + result.stderr
    assert_told_well(result.stderr)
    assert not Scene.observe(config).beyond(scene)


@pytest.mark.parametrize("words", [["-"], ["-f", "-", "."]])
def test_a_build_from_stdin(cli: Command, config: Config, scene: Scene, words: list[str]) -> None:
    refused(cli, config, scene, ["build", *words], 1, "stdin is not supported by this version")


@pytest.mark.parametrize(("program", "said"), [("crun", "runtime"), ("conmon", "conmon")])
def test_a_missing_program(cli: Command, config: Config, scene: Scene, program: str, said: str) -> None:
    hidden = ["crun", "runc"] if program == "crun" else [program]
    for name in hidden:
        for place in ("/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"):
            if Path(place, name).exists():
                # Found no more, as /dev/null is not executable; these mounts are this test's alone.
                subprocess.run(["mount", "--bind", "/dev/null", f"{place}/{name}"], check=True)
    try:
        result = cli("run", "--name", "web", "busybox", "true")
    finally:
        for name in hidden:
            for place in ("/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"):
                if Path(place, name).exists():
                    subprocess.run(["umount", f"{place}/{name}"], check=False, stderr=subprocess.DEVNULL)

    assert result.returncode == 125, result.stderr
    assert said in result.stderr and "not installed" in result.stderr and "bootstrap setup" in result.stderr
    assert cli("ps", "-q", check=0).stdout == ""
    cli("rm", "-f", "web")
    assert not Scene.observe(config).beyond(scene)
