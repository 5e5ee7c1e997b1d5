"""The tests' own footing: what a careless test does is seen, told and cleaned up."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.leaks import processes_of

pytestmark = pytest.mark.kernel

CARELESS = """
import os, subprocess, time
import pytest
pytestmark = pytest.mark.kernel

def test_tidy(config):
    assert os.listdir("/run/netns") == []
    assert "lo" in open("/proc/self/net/dev").read() and "eth0" not in open("/proc/self/net/dev").read()

def test_leaves_a_process():
    subprocess.run(["sh", "-c", "setsid sleep 1000 & exit"], check=True)

def test_leaves_a_mount(config):
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(config.data_root)], check=True)

def test_leaves_a_network_namespace():
    subprocess.run(["ip", "netns", "add", "forgotten"], check=True)

def test_leaves_a_link():
    subprocess.run("ip link add veth0 type veth peer name veth1", shell=True, check=True)

def test_dies():
    os.kill(os.getpid(), 9)

@pytest.mark.limit(1)
def test_hangs():
    time.sleep(1000)

def test_skips():
    pytest.skip("not today")

@pytest.mark.disk(megabytes=1)
def test_small_disk(config):
    with pytest.raises(OSError):
        (config.data_root / "big").write_bytes(bytes(2_000_000))
"""


def verdicts(directory: Path) -> tuple[dict[str, str], str]:
    """Run the careless tests as CI would; what was said of each failed one, and the mark of the session."""
    (directory / "conftest.py").write_text("from tests.conftest import *\n")
    (directory / "test_careless.py").write_text(CARELESS)
    (directory / "pytest.ini").write_text(
        "[pytest]\nmarkers =\n  kernel: x\n  limit(seconds): x\n  disk(megabytes): x\n"
    )
    session = f"session-nested-{os.getpid()}"
    environment = {
        **os.environ,
        "CI": "true",
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "PILOTHOUSE_TEST_SESSION": session,
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junitxml=result.xml"]
    subprocess.run(command, cwd=directory, env=environment, stdout=subprocess.DEVNULL, check=False)
    said = {}
    for case in ElementTree.parse(directory / "result.xml").iter("testcase"):
        trouble = " ".join(child.get("message", "") + (child.text or "") for child in case if child.tag != "skipped")
        said[case.get("name", "")] = said.get(case.get("name", ""), "") + trouble
    return said, session


def test_a_careless_test_is_told_and_cleaned_up(tmp_path: Path) -> None:
    said, session = verdicts(tmp_path)

    assert said["test_tidy"] == "" and said["test_small_disk"] == ""
    assert "sleep 1000" in said["test_leaves_a_process"]
    assert "mount /" in said["test_leaves_a_mount"]
    assert "network namespace forgotten" in said["test_leaves_a_network_namespace"]
    assert "link veth0" in said["test_leaves_a_link"]
    assert "SIGKILL" in said["test_dies"]
    assert "no end within 1 s" in said["test_hangs"]
    assert "may not be skipped on CI" in said["test_skips"]
    assert list(processes_of(session)) == []
