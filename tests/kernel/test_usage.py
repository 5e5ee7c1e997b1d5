"""What a container uses is what its control group says."""

from __future__ import annotations

import time

import pytest

from engine.containers import usage
from engine.engine import Engine

pytestmark = pytest.mark.kernel


def test_a_busy_container_uses_processor_and_memory(engine: Engine) -> None:
    container = engine.containers.run("busybox", ["sh", "-c", "while :; do :; done"], name="busy", detach=True)
    first = usage.read(engine.config.cgroup_parent, container.id)
    time.sleep(0.3)
    second = usage.read(engine.config.cgroup_parent, container.id)
    assert first.cpu is not None and second.cpu is not None and second.cpu > first.cpu
    assert second.memory is not None and second.memory > 4096


def test_a_container_that_does_not_run_uses_nothing(engine: Engine) -> None:
    container = engine.containers.create("busybox", ["true"], name="still")
    assert usage.read(engine.config.cgroup_parent, container.id) == usage.Usage(None, None)
