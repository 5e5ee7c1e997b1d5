"""What the verbs load when they really work: nothing of the screen, and none of the libraries that cost a start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from engine.config import Config

pytestmark = pytest.mark.kernel

HEAVY = ("textual", "rich", "pyroute2", "iptc", "psutil", "asyncio", "hypothesis")
VERBS = """
run -d --name web -p 8080:80 -v data:/d busybox sleep 100
ps -a
images
network ls
volume ls
logs web
exec web true
inspect web busybox bridge data
pause web
unpause web
commit web made:1
history made:1
save -o /dev/null made:1
build -q -t built {context}
stop -t 0 web
start web
restart -t 0 web
kill web
wait web
start --dry-run web
rm web
rmi made:1 built
volume rm data
info
"""


def test_no_verb_loads_a_heavy_library(config: Config, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM busybox\nRUN true\n")
    lines = [line for line in VERBS.format(context=tmp_path).splitlines() if line]
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r})\n"
        "from tui.command_line.main import main\n"
        f"for line in {lines!r}:\n"
        "    code = main(line.split())\n"
        f"    heavy = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "    assert code == 0 and not heavy, (line, code, heavy)\n"
    )
    # -S keeps the environment's .pth files from loading something on our behalf.
    ended = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


# What a verb that operates a container has no use for: code generation for classes, source inspection, OpenSSL by way
# of secrets, compression, and the packing of layers.
DEAR = ("dataclasses", "inspect", "ast", "secrets", "shutil", "lzma", "textwrap", "engine.storage.pack")
DAILY = """
create busybox true
run -d --name web -p 8080:80 busybox sleep 100
ps -a
exec web true
pause web
unpause web
stop -t 0 web
start web
rm -f web
"""


def test_daily_verbs_load_only_what_they_use(config: Config) -> None:
    for line in DAILY.split("\n")[1:-1]:
        first = line.startswith("create")  # assembles the image, and so packs a layer
        code = (
            f"import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r})\n"
            "from tui.command_line.main import main\n"
            f"code = main({line.split()!r})\n"
            f"dear = [name for name in {DEAR!r} if name in sys.modules]\n"
            f"assert code == 0 and (not dear or {first}), (code, dear)\n"
        )
        ended = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)
        assert ended.returncode == 0, (line, ended.stdout + ended.stderr)
