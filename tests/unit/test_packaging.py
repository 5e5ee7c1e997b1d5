"""The wheel: built, installed outside the checkout, and run with everything it carries."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

CHECKOUT = Path(__file__).parents[2]

CARRIED = """
from pathlib import Path
import engine, tui
from tui import keymap, shipped, theme
print(Path(engine.__file__).parent, Path(tui.__file__).parent, shipped.folder("keymaps"), shipped.folder("themes"))
assert keymap.load().problems == (), keymap.load().problems
assert keymap.load().keys
for name in theme.names():
    assert theme.load(name)[1] == (), theme.load(name)
print(*theme.names())
"""


def run(*command: str | Path, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment["XDG_CONFIG_HOME"] = str(cwd)
    result = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A venv that has the wheel, sees the libraries it depends on, and knows nothing of the checkout."""
    directory = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", directory, cwd=CHECKOUT)
    venv = directory / "venv"
    run(sys.executable, "-m", "venv", venv, cwd=directory)
    (wheel,) = directory.glob("*.whl")
    run(venv / "bin/python", "-m", "pip", "install", "-q", "--no-index", "--no-deps", wheel, cwd=directory)
    site = Path(
        run(venv / "bin/python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=directory).strip()
    )
    # A plain path: .pth files below it, the editable checkout's too, are not followed.
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return venv


def test_the_wheel_runs_outside_the_checkout(installation: Path, tmp_path: Path) -> None:
    assert run(installation / "bin/pilothouse", "--version", cwd=tmp_path).strip()


def test_the_wheel_carries_keymaps_and_themes(installation: Path, tmp_path: Path) -> None:
    told = run(installation / "bin/python", "-c", CARRIED, cwd=tmp_path).splitlines()

    assert all(Path(word).is_relative_to(installation) for word in told[0].split())
    assert sorted(told[1].split()) == sorted(path.stem for path in (CHECKOUT / "themes").glob("*.toml"))


def test_the_wheel_carries_the_demo(installation: Path) -> None:
    (package,) = installation.glob("lib/python*/site-packages/tui")

    here = {path.relative_to(CHECKOUT / "tui") for path in (CHECKOUT / "tui/demo").rglob("*") if path.is_file()}
    there = {path.relative_to(package) for path in (package / "demo").rglob("*") if path.is_file()}

    def kept(paths: set[Path]) -> set[Path]:
        return {path for path in paths if "__pycache__" not in path.parts}

    assert kept(here) == kept(there)
    assert Path("demo/Dockerfile") in there
