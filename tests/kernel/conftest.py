"""Fixtures of the kernel tests alone."""

from __future__ import annotations

import pytest

from engine.config import Config
from tests.conftest import Command
from tests.kernel.fault_scenes import Scene


@pytest.fixture
def scene(cli: Command, config: Config) -> Scene:
    """What there is after one container has come and gone: the busybox image and the default networks."""
    cli("run", "-d", "--name", "first", "busybox", "sleep", "1000", check=0)
    cli("rm", "-f", "first", check=0)
    return Scene.observe(config)
