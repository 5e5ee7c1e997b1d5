"""A machine whose / is no mount point: a chroot, as rescue systems and build roots have."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from engine.config import Config
from tests.conftest import Command

pytestmark = pytest.mark.kernel


def test_containers_run_in_a_chroot(cli: Command, config: Config, tmp_path: Path) -> None:
    root = tmp_path / "root"
    # The same tree again, but its top is a directory: no mount begins there.
    root.mkdir()
    for name in os.listdir("/"):
        if (Path("/") / name).is_symlink():
            (root / name).symlink_to((Path("/") / name).readlink())
        elif (Path("/") / name).is_dir():
            subprocess.run(["mount", "--rbind", "--mkdir", Path("/") / name, root / name], check=True)
    inside = Command(("chroot", str(root), *cli.prefix))
    try:
        (tmp_path / "Dockerfile").write_text("FROM busybox\nRUN echo built >/file\n")
        inside("build", "-t", "app", tmp_path, check=0)
        inside("run", "-d", "--name", "web", "-p", "8088:80", "app", "sh", "-c", "cat /file; sleep 1000", check=0)
        assert inside("exec", "web", "cat", "/file", check=0).stdout == "built\n"
        inside("restart", "-t", "0", "web", check=0)
        inside("rm", "-f", "web", check=0)
        assert inside("run", "--rm", "app", "ls", "/proc/1/root/", check=0).stdout.split()[0] == "bin"
    finally:
        for point in root.iterdir():
            subprocess.run(["umount", "-l", "-R", point], check=False, stderr=subprocess.DEVNULL)
