"""Images, builds, volumes, networks and the demo from the command line, on the real engine."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import urllib.request
from pathlib import Path

import pytest

from tests.conftest import Command

pytestmark = pytest.mark.kernel


@pytest.fixture
def context(tmp_path: Path) -> Path:
    directory = tmp_path / "context"
    directory.mkdir()
    (directory / "Dockerfile").write_text(
        'FROM busybox\nARG WHO=nobody\nRUN echo "for $WHO" > /who\nCMD ["cat", "/who"]\n'
    )
    return directory


def test_build_prints_progress_and_tags(cli: Command, context: Path) -> None:
    built = cli("build", "-t", "app", "-t", "app:2", "--build-arg", "WHO=me", context, check=0)
    assert built.stdout == ""
    for words in ("#1 [1/4] FROM busybox", "[3/4] RUN echo", "writing image sha256:", "naming to app:2 done"):
        assert words in built.stderr
    assert cli("run", "--rm", "app", check=0).stdout == "for me\n"
    assert "#3 CACHED" in cli("build", "--build-arg", "WHO=me", context, check=0).stderr
    assert "CACHED" not in cli("build", "--no-cache", "--build-arg", "WHO=me", context, check=0).stderr
    quiet = cli("build", "-q", context, check=0)
    assert re.fullmatch(r"sha256:[0-9a-f]{64}\n", quiet.stdout) and quiet.stderr == ""
    assert sorted(cli("images", "app", "--format", "{{.Tag}}", check=0).stdout.split()) == ["2", "latest"]


def test_a_build_argument_without_value_takes_ours(
    cli: Command, context: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHO", "everyone")
    cli("build", "-t", "app", "--build-arg", "WHO", context, check=0)
    assert cli("run", "--rm", "app", check=0).stdout == "for everyone\n"


def test_a_failing_step_is_shown_with_its_lines(cli: Command, context: Path) -> None:
    (context / "Dockerfile").write_text("FROM busybox\nRUN echo said && \\\n    exit 7\nCMD true\n")
    failed = cli("build", context, check=1).stderr
    assert "Dockerfile:2\n" + "-" * 20 + "\n   1 |     FROM busybox\n   2 | >>> RUN echo said && \\\n" in failed
    assert "   3 | >>>     exit 7\n   4 |     CMD true\n" in failed
    assert "did not complete successfully: exit code: 7" in failed
    quiet = cli("build", "-q", context, check=1).stderr
    assert " said\n------" in quiet


def test_ctrl_c_cancels_a_build_and_leaves_nothing(cli: Command, context: Path) -> None:
    (context / "Dockerfile").write_text("FROM busybox\nRUN echo begun; sleep 1000\n")
    process = cli.start("build", "-t", "app", context, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stderr is not None
    for line in process.stderr:
        if line.endswith(" begun\n"):
            break
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in said and "cancel" in said.lower()
    assert cli("images", "-q", "app", check=0).stdout == ""


def test_a_dockerfile_elsewhere(cli: Command, context: Path, tmp_path: Path) -> None:
    (tmp_path / "Other").write_text("FROM busybox\nLABEL from=other\n")
    cli("build", "-t", "app", "-f", tmp_path / "Other", context, check=0)
    assert cli("inspect", "-f", "{{.Config.Labels.from}}", "app", check=0).stdout == "other\n"
    assert 'path "/nosuch" not found' in cli("build", "/nosuch", check=1).stderr


def test_images_tag_history_and_rmi(cli: Command, context: Path) -> None:
    cli("build", "-t", "app", context, check=0)
    lines = cli("images", check=0).stdout.splitlines()
    assert lines[0].split() == ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]
    assert [line.split()[0] for line in lines[1:]] == ["app", "busybox"]
    cli("tag", "app", "other:1", check=0)
    identifier = cli("images", "-q", "--no-trunc", "app", check=0).stdout.strip()
    assert cli("image", "ls", "-q", "--no-trunc", "other", check=0).stdout.strip() == identifier
    header, first = cli("history", "app", check=0).stdout.splitlines()[:2]
    assert header.split() == ["IMAGE", "CREATED", "CREATED", "BY", "SIZE", "COMMENT"]
    assert first.startswith(identifier.removeprefix("sha256:")[:12])
    assert cli("rmi", "other:1", check=0).stdout == "Untagged: other:1\n"
    gone = cli("rmi", "app", check=0).stdout
    assert gone.startswith(f"Untagged: app:latest\nDeleted: {identifier}\n")
    assert "No such image: app" in cli("rmi", "app", check=1).stderr


def test_commit_save_load_import(cli: Command, tmp_path: Path) -> None:
    cli("run", "--name", "web", "busybox", "sh", "-c", "echo kept > /kept", check=0)
    made = cli("commit", "-a", "Ada", "-m", "noted", "-c", 'CMD ["cat", "/kept"]', "web", "kept:1", check=0).stdout
    assert re.fullmatch(r"sha256:[0-9a-f]{64}\n", made)
    facts = json.loads(cli("inspect", "kept:1", check=0).stdout)[0]
    assert (facts["Author"], facts["Comment"], facts["Config"]["Cmd"]) == ("Ada", "noted", ["cat", "/kept"])
    archive = tmp_path / "kept.tar"
    cli("save", "-o", archive, "kept:1", check=0)
    with (tmp_path / "stream.tar").open("wb") as stream:
        subprocess.run([*cli.prefix, "save", "kept:1"], stdout=stream, check=True)
    assert archive.read_bytes() == (tmp_path / "stream.tar").read_bytes()
    cli("rm", "web", check=0)
    cli("rmi", "kept:1", check=0)
    assert cli("load", "-i", archive, check=0).stdout == "Loaded image: kept:1\n"
    assert cli("run", "--rm", "kept:1", check=0).stdout == "kept\n"
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "file").write_text("x")
    subprocess.run(["tar", "-C", tmp_path / "root", "-cf", tmp_path / "root.tar", "."], check=True)
    assert cli("import", "-c", "ENV A=B", tmp_path / "root.tar", "root:1", check=0).stdout.startswith("sha256:")
    assert cli("inspect", "-f", "{{.Config.Env}}", "root:1", check=0).stdout == "[A=B]\n"


def test_a_reader_of_save_that_goes_away_is_no_error(cli: Command) -> None:
    cli("inspect", "busybox", check=0)
    line = f"{' '.join(cli.prefix)} save busybox | head -c 10 >/dev/null; echo ${{PIPESTATUS[0]}}"
    ended = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
    assert (ended.stdout, ended.stderr) == ("141\n", "")


def test_save_never_writes_to_a_terminal(cli: Command) -> None:
    cli("inspect", "busybox", check=0)
    line = " ".join([*cli.prefix, "save", "busybox"])
    on_terminal = subprocess.run(["script", "-qec", line, "/dev/null"], capture_output=True, text=True, check=False)
    assert "cowardly refusing to save to a terminal. Use the -o flag or redirect" in on_terminal.stdout
    assert on_terminal.returncode == 1
    assert 'directory "/nosuch" does not exist' in cli("save", "-o", "/nosuch/x.tar", "busybox", check=1).stderr
    assert "open /nosuch: no such file or directory" in cli("load", "-i", "/nosuch", check=1).stderr


def test_volumes(cli: Command) -> None:
    assert cli("volume", "create", "--label", "tier=db", "data", check=0).stdout == "data\n"
    assert cli("volume", "ls", check=0).stdout == "DRIVER    VOLUME NAME\nlocal     data\n"
    cli("run", "--rm", "-v", "data:/d", "busybox", "sh", "-c", "echo x > /d/file", check=0)
    mountpoint = cli("volume", "inspect", "-f", "{{.Mountpoint}}", "data", check=0).stdout.strip()
    assert Path(mountpoint, "file").read_text() == "x\n"
    user = cli("create", "-v", "data:/d", "busybox", check=0).stdout.strip()
    refused = cli("volume", "rm", "data", check=1).stderr
    assert f"remove data: volume is in use - [{user}]" in refused
    assert cli("volume", "ls", "-q", "-f", "dangling=true", check=0).stdout == ""
    cli("rm", user, check=0)
    assert cli("volume", "rm", "data", check=0).stdout == "data\n"
    assert "get data: no such volume" in cli("volume", "inspect", "data", check=1).stderr
    cli("volume", "create", check=0)
    assert "[y/N]" in cli("volume", "prune", stdin="n\n", check=0).stdout
    pruned = cli("volume", "prune", "-f", check=0).stdout
    assert pruned.startswith("Deleted Volumes:\n") and pruned.endswith("\nTotal reclaimed space: 0B\n")


def test_networks(cli: Command) -> None:
    lines = cli("network", "ls", check=0).stdout.splitlines()
    assert lines[0] == "NETWORK ID     NAME      DRIVER    SCOPE"
    assert [line.split()[1:] for line in lines[1:]] == [
        ["bridge", "bridge", "local"],
        ["host", "host", "local"],
        ["none", "null", "local"],
    ]
    subnet = "{{(index .IPAM.Config 0).Subnet}}"
    assert cli("network", "inspect", "-f", subnet, "bridge", check=0).stdout == "172.17.0.0/16\n"
    assert "network nosuch not found" in cli("network", "inspect", "nosuch", check=1).stderr


def test_names_are_stripped_of_control_codes_on_a_terminal_only(cli: Command, tmp_path: Path) -> None:
    cli("create", "--name", "web", "-l", "evil=\x1b]0;title\x07\x1b[31mred", "busybox", check=0)
    assert "\x1b[31m" in cli("ps", "-a", "--format", '{{.Label "evil"}}', check=0).stdout
    line = " ".join([*cli.prefix, "ps", "-a", "--format", "'{{.Label \"evil\"}}'"])
    shown = subprocess.run(["script", "-qec", line, "/dev/null"], capture_output=True, check=True).stdout
    assert shown == b"red\r\n"


def fetch() -> str:
    with urllib.request.urlopen("http://127.0.0.1:17000/", timeout=10) as answer:
        return answer.read().decode()


def test_the_demo_answers_and_may_be_run_again(cli: Command) -> None:
    first = cli("demo", check=0).stdout
    assert "curl http://127.0.0.1:17000/" in first
    identifier = cli("ps", "-q", check=0).stdout.strip()
    assert f"container   {identifier}" in fetch()
    again = cli("demo", check=0).stdout
    assert "The demo is running already" in again
    assert cli("ps", "-q", check=0).stdout.strip() == identifier
    assert cli("stop", "pilothouse-demo", check=0).stdout == "pilothouse-demo\n"
    assert cli("wait", "pilothouse-demo", check=0).stdout == "0\n"
    cli("demo", check=0)
    assert f"container   {identifier}" in fetch()
    cli("rm", "-f", "pilothouse-demo", check=0)
    cli("rmi", "pilothouse-demo", check=0)


def test_the_demo_says_what_to_do_about_a_taken_port(cli: Command) -> None:
    with socket.socket() as other:
        other.bind(("0.0.0.0", 17000))
        other.listen()
        said = cli("demo", check=1).stderr
    assert "address already in use" in said
    assert "ss -ltnp 'sport = :17000'" in said and "-p 17001:27017" in said
    assert cli("ps", "-aq", check=0).stdout == ""


def test_the_demos_name_may_belong_to_somebody_else(cli: Command) -> None:
    cli("create", "--name", "pilothouse-demo", "busybox", check=0)
    assert "is in use by a container that is not the demo" in cli("demo", check=1).stderr


def test_info_tells_what_there_is(cli: Command) -> None:
    cli("run", "-d", "--name", "web", "busybox", "sleep", "100", check=0)
    said = cli("info", check=0).stdout
    for words in ("Containers: 1\n Running: 1\n", "Images: 1\n", "Storage Driver: ", "Firewall Backend: "):
        assert words in said
    assert cli("info", "-f", "{{.ContainersRunning}}", check=0).stdout == "1\n"
