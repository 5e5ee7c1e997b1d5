"""The console on the real engine: keys pressed in the real application, the kernel asked what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from engine.engine import Engine
from tui.app import Console
from tui.engine_source import EngineSource
from tui.screens.build import BuildScreen
from tui.screens.confirm import ConfirmScreen
from tui.screens.form import FormScreen
from tui.screens.text import LogsScreen

pytestmark = pytest.mark.kernel

LIMIT_S = 30.0


def operate(
    engine: Engine, script: Callable[[Any, Console], Awaitable[None]], size: tuple[int, int] = (120, 40)
) -> None:
    """Run ``script`` in a console over ``engine``."""

    async def main() -> None:
        console: Console
        source = EngineSource(lambda: console.engine())
        console = Console(lambda: engine, source, config=engine.config)
        async with console.run_test(size=size) as pilot:
            await until(pilot, lambda: "containers" in console.feed.snapshot.seen)
            await script(pilot, console)
            await until(pilot, lambda: not console.jobs)
        console.feed.close()

    asyncio.run(main())


async def until(pilot: Any, condition: Callable[[], object]) -> None:
    """Wait until ``condition`` holds."""
    for _ in range(int(LIMIT_S / 0.05)):
        if condition():
            return
        await pilot.pause(0.05)
    raise AssertionError(f"not within {LIMIT_S:.0f} s; journal: {[e.text for e in pilot.app.journal.entries]}")


def row(console: Console, name: str) -> Any:
    """The feed's row of a container, or None."""
    return next((each for each in console.feed.snapshot.containers if each.name == name), None)


def errors(console: Console) -> list[str]:
    return [entry.text for entry in console.journal.entries if entry.level == "error"]


def test_pause_stop_start_kill_and_remove_by_key(engine: Engine) -> None:
    engine.containers.run("busybox", ["sleep", "1000"], name="web", detach=True)

    async def script(pilot: Any, console: Console) -> None:
        container = engine.containers.get("web")
        await until(pilot, lambda: row(console, "web"))
        for keys, status in (("p", "paused"), ("p", "running"), ("Ky", "exited"), ("S", "running"), ("r", "running")):
            for key in keys:
                await pilot.press(key)
                await pilot.pause(0.2)
            await until(pilot, lambda status=status: not console.jobs and container.status == status)
            await until(pilot, lambda status=status: row(console, "web").state == status)
        await pilot.press("d")
        await until(pilot, lambda: isinstance(console.screen, ConfirmScreen))
        await pilot.press("y")
        await until(pilot, lambda: row(console, "web") is None and not console.jobs)
        assert errors(console) == []
        commands = [entry.command for entry in console.journal.entries]
        assert commands == [
            "pilothouse pause web", "pilothouse unpause web", "pilothouse kill web", "pilothouse start web",
            "pilothouse restart web", "pilothouse rm -f web",
        ]  # fmt: skip

    operate(engine, script)
    assert engine.containers.list(all=True) == []


def test_run_form_starts_a_container_and_the_network_view_shows_it(engine: Engine) -> None:
    async def script(pilot: Any, console: Console) -> None:
        await pilot.press("R")
        await until(pilot, lambda: isinstance(console.screen, FormScreen))
        form = console.screen
        assert isinstance(form, FormScreen)
        for field, value in (("image", "busybox"), ("name", "web"), ("command", "httpd -f"), ("ports", "17000:80")):
            form.inputs[field].value = value
        await pilot.press("enter")
        await until(pilot, lambda: row(console, "web") and row(console, "web").state == "running")
        assert row(console, "web").ports == "17000→80"
        await pilot.press("6")
        await until(pilot, lambda: [p for b in console.feed.snapshot.topology.bridges for p in b.ports])
        bridge = next(each for each in console.feed.snapshot.topology.bridges if each.name == "docker0")
        assert bridge.ports[0].container == "web" and bridge.ports[0].published[0].host_port == 17000
        await until(pilot, lambda: any(rule.owner == "web" for rule in console.feed.snapshot.rules))
        assert errors(console) == []

    operate(engine, script)
    engine.containers.get("web").remove(force=True)


def test_commit_form_makes_an_image(engine: Engine) -> None:
    engine.containers.run("busybox", ["sleep", "1000"], name="web", detach=True)

    async def script(pilot: Any, console: Console) -> None:
        await until(pilot, lambda: row(console, "web"))
        await pilot.press("C")
        await until(pilot, lambda: isinstance(console.screen, FormScreen))
        assert isinstance(console.screen, FormScreen)
        console.screen.inputs["name"].value = "web:saved"
        await pilot.press("enter")
        await until(pilot, lambda: any("web:saved" in image.names for image in console.feed.snapshot.images))
        assert errors(console) == []

    operate(engine, script)
    assert engine.images.get("web:saved")


def test_logs_follow(engine: Engine) -> None:
    script_text = "n=0; while :; do n=$((n+1)); echo line $n; sleep 0.1; done"
    engine.containers.run("busybox", ["sh", "-c", script_text], name="chat", detach=True)

    async def script(pilot: Any, console: Console) -> None:
        await until(pilot, lambda: row(console, "chat"))
        await pilot.press("l")
        await until(pilot, lambda: isinstance(console.screen, LogsScreen) and len(console.screen.text.lines) > 3)
        screen = console.screen
        assert isinstance(screen, LogsScreen) and screen.text.lines[0].text == "line 1"
        before = len(screen.text.lines)
        await until(pilot, lambda: len(screen.text.lines) > before)
        await pilot.press("q")
        assert console.screen is console.main

    operate(engine, script)


def test_build_form_builds_with_live_steps(engine: Engine, tmp_path: Any) -> None:
    (tmp_path / "Dockerfile").write_text('FROM busybox\nRUN echo built >/made\nCMD ["cat", "/made"]\n')

    async def script(pilot: Any, console: Console) -> None:
        await pilot.press("B")
        await until(pilot, lambda: isinstance(console.screen, FormScreen))
        assert isinstance(console.screen, FormScreen)
        console.screen.inputs["path"].value = str(tmp_path)
        console.screen.inputs["tag"].value = "made:1"
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(console.screen, BuildScreen) and console.screen.outcome)
        screen = console.screen
        assert isinstance(screen, BuildScreen) and screen.outcome.startswith("built"), screen.text.lines
        assert [step.state for step in screen.steps.values()] == ["done"] * 3
        assert "RUN echo built" in screen.steps[2].text

    operate(engine, script)
    assert engine.containers.run("made:1", auto_remove=True) == b"built\n"


def test_a_build_goes_on_when_its_screen_is_left_and_can_be_looked_at_again(engine: Engine, tmp_path: Any) -> None:
    (tmp_path / "Dockerfile").write_text("FROM busybox\nRUN while [ ! -e /go ]; do echo waiting; sleep 0.1; done\n")

    async def script(pilot: Any, console: Console) -> None:
        await pilot.press("B")
        await until(pilot, lambda: isinstance(console.screen, FormScreen))
        assert isinstance(console.screen, FormScreen)
        console.screen.inputs["path"].value = str(tmp_path)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(console.screen, BuildScreen) and len(console.screen.text.lines) > 3)
        screen = console.screen
        assert isinstance(screen, BuildScreen)
        await pilot.press("q")
        assert console.screen is console.main
        before = len(screen.text.lines)
        await until(pilot, lambda: len(screen.text.lines) > before + 3)
        await pilot.press("B")
        await until(pilot, lambda: console.screen is screen)
        assert not screen.outcome and errors(console) == []
        await pilot.press("c")
        await until(pilot, lambda: screen.outcome)
        await pilot.press("q", "B")
        await until(pilot, lambda: isinstance(console.screen, FormScreen))

    operate(engine, script)


def test_a_failing_build_shows_the_line(engine: Engine, tmp_path: Any) -> None:
    (tmp_path / "Dockerfile").write_text("FROM busybox\nRUN echo on its way; exit 7\n")

    async def script(pilot: Any, console: Console) -> None:
        await pilot.press("B")
        await until(pilot, lambda: isinstance(console.screen, FormScreen))
        assert isinstance(console.screen, FormScreen)
        console.screen.inputs["path"].value = str(tmp_path)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(console.screen, BuildScreen) and console.screen.outcome)
        screen = console.screen
        assert isinstance(screen, BuildScreen) and screen.outcome == "failed"
        text = "\n".join(line.text for line in screen.text.lines)
        assert (
            "on its way" in text
            and "exit code: 7" in text.replace("code 7", "code: 7")
            and "RUN echo on its way" in text
        )

    operate(engine, script)


def test_the_command_line_runs_the_same_grammar(engine: Engine) -> None:
    async def script(pilot: Any, console: Console) -> None:
        await pilot.press("colon")
        await until(pilot, lambda: console.main.prompt is not None)
        for character in "volume create tides":
            await pilot.press("space" if character == " " else character)
        await pilot.press("enter")
        await until(pilot, lambda: any(each.name == "tides" for each in console.feed.snapshot.volumes))
        await pilot.press("colon", *"frobnicate", "enter")
        await until(pilot, lambda: errors(console))
        assert "frobnicate" in errors(console)[0]

    operate(engine, script)
    assert [volume.name for volume in engine.volumes.list()] == ["tides"]


def test_quitting_stops_no_container(engine: Engine) -> None:
    engine.containers.run("busybox", ["sleep", "1000"], name="web", detach=True)

    async def script(pilot: Any, console: Console) -> None:
        await until(pilot, lambda: row(console, "web"))
        await pilot.press("q")
        await pilot.pause(0.3)
        assert console._exit

    operate(engine, script)
    assert engine.containers.get("web").status == "running"
