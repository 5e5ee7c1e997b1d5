"""What a start may load: the engine knows no screen, and the fast paths know no heavy library."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

CHECKOUT = Path(__file__).parents[2]
HEAVY = ("textual", "rich", "pyroute2", "iptc", "psutil", "asyncio", "email", "http")


def loaded_by(statement: str, *flags: str) -> set[str]:
    """Names of all modules after ``statement`` in a fresh interpreter."""
    code = f"import sys; sys.path.insert(0, {str(CHECKOUT)!r}); {statement}; print(*sys.modules)"
    result = subprocess.run([sys.executable, *flags, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return set(result.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("module", ["engine.engine", "tui.command_line.main"])
def test_a_command_loads_nothing_heavy(module: str) -> None:
    # -I -S: no .pth file of the venv may load something on our behalf.
    assert loaded_by(f"import {module}", "-I", "-S").isdisjoint(HEAVY)


def test_the_engine_never_loads_the_screen() -> None:
    modules = sorted(
        ".".join(path.relative_to(CHECKOUT).with_suffix("").parts)
        for path in (CHECKOUT / "engine").rglob("*.py")
        if path.name not in ("__init__.py", "__main__.py", "exit_hook.py")
    )
    loaded = loaded_by("; ".join(f"import {module}" for module in modules))

    assert not {name for name in loaded if name.partition(".")[0] in ("tui", "textual", "rich")}
