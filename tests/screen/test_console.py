"""The console's manners: what it asks, what it refuses, and what it does while others are slow."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from engine.errors import Conflict
from tests.screen.recorded import Recording, console
from tests.screen.test_snapshots import lines_of
from tui.feed import Snapshot
from tui.jobs import Job
from tui.screens.confirm import ConfirmScreen
from tui.screens.form import FormScreen
from tui.screens.text import TextScreen

pytestmark = pytest.mark.screen


async def test_destructive_verbs_ask_and_enter_means_cancel() -> None:
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.3)
        for key in ("d", "K"):
            await pilot.press(key)
            await pilot.pause(0.1)
            assert isinstance(app.screen, ConfirmScreen)
            assert "queue" in "\n".join(lines_of(app)), "the object is named"
            await pilot.press("enter")
            await pilot.pause(0.1)
            assert app.screen is app.main and not app.jobs
            assert app.journal.last is not None and "cancelled" in app.journal.last.text


async def test_stopping_several_asks_stopping_one_does_not() -> None:
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.3)
        await pilot.press("s")
        await pilot.pause(0.1)
        assert app.screen is app.main
        await pilot.press("space", "space", "s")
        await pilot.pause(0.1)
        assert isinstance(app.screen, ConfirmScreen)


async def test_read_only_refuses_what_changes_and_says_how_to_unlock() -> None:
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.3)
        await pilot.press("L")
        for key in ("s", "S", "d", "K", "r", "p", "C", "e", "R", "B"):
            await pilot.press(key)
            assert app.screen is app.main and not app.jobs, key
        assert app.journal.last is not None and "read-only" in app.journal.last.text
        assert "LOCK" in lines_of(app)[0]
        await pilot.press("L", "d")
        await pilot.pause(0.1)
        assert isinstance(app.screen, ConfirmScreen)


async def test_opened_read_only_stays_so() -> None:
    app = console(read_only=True)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("L")
        assert app.locked


async def test_a_quickly_typed_command_never_fires_the_verbs_its_letters_are() -> None:
    app = console()
    done: list[str] = []
    app.action_perform, perform = (lambda id: (done.append(id), perform(id))[1]), app.action_perform  # type: ignore[method-assign,misc]
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.3)
        from textual.events import Key

        for character in ":stopKd":
            name = "colon" if character == ":" else character
            app.post_message(Key(name, character))
        await pilot.pause(0.5)
        assert done == ["find.command"]
        assert app.main.prompt is not None and app.main.prompt.input.value == "stopKd"  # type: ignore[attr-defined]
        await pilot.press("escape")
        await pilot.pause(0.1)
        assert app.main.prompt is None and app.main.focused is app.main.panes["containers"].listing


async def test_a_command_pasted_with_its_enter_is_carried_out_whole() -> None:
    from textual.events import Key

    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.3)
        for character in ":frobnicate":
            app.post_message(Key("colon" if character == ":" else character, character))
        app.post_message(Key("enter", "\r"))
        await pilot.pause(0.5)
        assert app.journal.last is not None and ":frobnicate" in app.journal.last.text


async def test_filter_narrows_inverts_and_is_cleared() -> None:
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.3)
        listing = app.main.panes["containers"].listing
        await pilot.press("slash", *"web")
        await pilot.pause(0.1)
        assert len(listing.rows) == 1
        await pilot.press("home", "exclamation_mark", "enter")
        await pilot.pause(0.1)
        assert len(listing.rows) == 2 and app.main.focused is listing
        await pilot.press("escape")
        assert len(listing.rows) == 3


async def test_an_error_becomes_words_and_a_toast() -> None:
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.3)

        def work(job: Job) -> None:
            raise Conflict("cannot stop \x1b[31mweb", remedy="wait a moment")

        app.submit("stopping web", work, command="pilothouse stop web")
        await pilot.pause(0.3)
        text = "\n".join(lines_of(app))
        assert "stopping web: cannot stop web; wait a moment" in text
        assert app._notifications and app.journal.last is not None and app.journal.last.level == "error"


async def test_a_defect_shows_no_traceback_but_keeps_it_in_the_journal() -> None:
    app = console()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause(0.3)
        app.submit("counting", lambda job: 1 / 0)
        await pilot.pause(0.3)
        assert "Traceback" not in "\n".join(lines_of(app))
        await pilot.press("J")
        await pilot.pause(0.3)
        assert isinstance(app.screen, TextScreen) and any("Traceback" in line.text for line in app.screen.text.lines)


class Stuck(Recording):
    """A source whose images never come."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()

    def read(self, section: str, previous: Snapshot) -> Any:
        if section == "topology":
            self.gate.wait(20)
        return super().read(section, previous)


async def test_a_stuck_section_stops_nothing_else() -> None:
    source = Stuck()
    app = console(source)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.4)
        assert "web" in "\n".join(lines_of(app))
        await pilot.press("6")
        await pilot.pause(0.1)
        assert "reading…" in "\n".join(lines_of(app))
        await pilot.press("2")
        await pilot.pause(0.1)
        assert "pilothouse-demo" in "\n".join(lines_of(app))
        source.gate.set()


async def test_a_failing_section_keeps_its_rows_and_says_why() -> None:
    recording = Recording()
    app = console(recording)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.3)
        recording.sections["containers"] = OSError("the disk is gone")
        app.feed.look("containers")
        app.main.accept(app.feed.snapshot)
        await pilot.pause(0.1)
        text = "\n".join(lines_of(app))
        assert "the disk is gone" in text and "web" in text


async def test_a_slow_job_is_shown_as_working_and_can_be_cancelled() -> None:
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.3)

        def work(job: Job) -> str:
            job.cancel.wait(20)
            return "stopped early" if job.cancel.is_set() else "ran on"

        app.submit("thinking", work, cancellable=True)
        await pilot.pause(0.6)
        assert "thinking" in lines_of(app)[22] and "1 job" in lines_of(app)[0]
        await pilot.press("j", "2")
        assert app.main.view == "images", "keys work meanwhile"
        await pilot.press("ctrl+c")
        await pilot.pause(0.4)
        assert "stopped early" in lines_of(app)[22] and app.is_running


async def test_quitting_with_a_job_asks() -> None:
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.3)
        app.submit("committing web", lambda job: job.cancel.wait(20))
        await pilot.press("q")
        await pilot.pause(0.2)
        assert isinstance(app.screen, ConfirmScreen) and "committing web" in "\n".join(lines_of(app))
        await pilot.press("escape")
        app.jobs[0].cancel.set()
        await pilot.pause(0.2)
        await pilot.press("q")
        await pilot.pause(0.2)
        assert not app.is_running or app._exit


async def test_ctrl_q_does_nothing() -> None:
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("ctrl+q")
        await pilot.pause(0.1)
        assert app.is_running and not app._exit


async def test_the_run_form_is_checked_by_the_engines_parsers() -> None:
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.3)
        await pilot.press("R")
        await pilot.pause(0.2)
        form = app.screen
        assert isinstance(form, FormScreen)
        form.inputs["image"].value = "busybox"
        form.inputs["ports"].value = "8080:80 70000:1"
        await pilot.pause(0.1)
        assert "70000" in form.problems()["ports"]
        await pilot.press("enter")
        await pilot.pause(0.1)
        assert app.screen is form, "a wrong form is not sent"
        form.inputs["ports"].value = "8080:80 53:53/udp"
        form.inputs["command"].value = "sh -c 'echo hi'"
        form.inputs["network"].value = "bridge"
        await pilot.pause(0.1)
        assert form.command(form.values) == "pilothouse run -d -p 8080:80 -p 53:53/udp busybox sh -c 'echo hi'"


async def test_layout_follows_the_terminal() -> None:
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.3)
        assert not app.main.detail.display
        await pilot.resize_terminal(120, 40)
        await pilot.pause(0.3)
        assert app.main.detail.display and app.main.panes["images"].display
        await pilot.resize_terminal(200, 50)
        await pilot.pause(0.3)
        assert app.main.panes["view"].is_on_screen
        await pilot.resize_terminal(50, 10)
        await pilot.pause(0.3)
        assert "too small" in "\n".join(lines_of(app))
        await pilot.resize_terminal(80, 24)
        await pilot.pause(0.3)
        assert "web" in "\n".join(lines_of(app))


async def test_tab_goes_through_every_pane_and_back() -> None:
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.2)
        seen = []
        for _ in range(8):
            seen.append(app.main.pane.KIND)
            await pilot.press("tab")
            await pilot.pause(0.05)
        assert seen == ["containers", "images", "networks", "volumes", "firewall", "view", "chains", "system"]
        assert app.main.pane.KIND == "containers"


async def test_the_palette_finds_and_does() -> None:
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.2)
        await pilot.press("ctrl+o")
        await pilot.pause(0.2)
        await pilot.press(*"volumes", "enter")
        await pilot.pause(0.2)
        assert app.main.view == "volumes"


async def test_frozen_feed_reads_nothing() -> None:
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.3)
        await pilot.press("6", "full_stop")
        await pilot.pause(0.1)
        assert app.feed.frozen and "FROZEN" in lines_of(app)[0]
        await pilot.press("full_stop")
        assert not app.feed.frozen


def test_starting_imports_nothing_of_the_network_libraries() -> None:
    import subprocess
    import sys

    code = "import sys, tui.app; print([m for m in ('pyroute2', 'iptc', 'psutil', 'engine.engine', 'engine.containers.collection') if m in sys.modules])"  # noqa: E501
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


async def test_an_error_keeps_its_cause_and_calls_containers_by_name() -> None:
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.3)
        web = app.feed.snapshot.containers[0]
        app.fail(f"pausing {web.name}", Conflict(f"Container {web.id} is not running"))
        await pilot.pause(0.1)
        assert f"Container {web.name} is not running" in lines_of(app)[22]
        where = f"driver failed programming external connectivity on endpoint job ({'ab' * 32})"
        app.fail("running busybox", Conflict(f"{where}: Bind for 0.0.0.0:17000 failed: port is already allocated"))
        await pilot.pause(0.1)
        row = lines_of(app)[22]
        assert "running busybox" in row and "port is already allocated" in row
        assert app.journal.last is not None and "external connectivity" in app.journal.last.text, "J has it all"


async def test_a_form_opens_in_its_first_field_and_typing_replaces_what_stands_there() -> None:
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.3)
        await pilot.press("C", *"new:1")
        await pilot.pause(0.2)
        assert isinstance(app.screen, FormScreen)
        assert app.screen.values["name"] == "new:1" and app.screen.values["message"] == ""


async def test_run_prefills_the_name_of_an_image_that_was_run_by_id() -> None:
    from engine.values import replace
    from tests.screen.recorded import IMAGES, THREE

    app = console(Recording(containers=(replace(THREE[0], image=IMAGES[0].id),)))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.5)
        await pilot.press("R")
        await pilot.pause(0.2)
        assert isinstance(app.screen, FormScreen)
        assert app.screen.values["image"] == "pilothouse-demo:latest"


async def test_from_a_port_shared_by_several_to_its_own_container() -> None:
    from engine.values import replace
    from tests.screen.recorded import TOPOLOGY

    bridge = TOPOLOGY.bridges[0]
    port = replace(bridge.ports[0], joined=("sidecar",))
    topology = replace(TOPOLOGY, bridges=(replace(bridge, ports=(port,)),))
    app = console(Recording(topology=topology))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.3)
        await pilot.press("6")
        await pilot.pause(0.2)
        assert "web +1" in "\n".join(lines_of(app))
        await pilot.press("v")
        await pilot.pause(0.2)
        current = app.main.pane.current
        assert app.main.view == "containers" and current is not None and current.value.name == "web"


async def test_what_is_typed_behind_a_tab_goes_into_the_next_field() -> None:
    from textual import events

    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.3)
        await pilot.press("R")
        await pilot.pause(0.2)
        typed = [*"one", "tab", *"two", "tab", *"three", "shift+tab", *"2"]
        for key in typed:  # as a paste or a slow link delivers them: all at once
            app.post_message(events.Key(key, key if len(key) == 1 else None))
        await pilot.pause(0.5)
        assert isinstance(app.screen, FormScreen)
        values = app.screen.values
        assert (values["image"], values["name"], values["command"]) == ("one", "2", "three")


async def test_a_job_that_cannot_be_cancelled_does_not_promise_it() -> None:
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.3)
        go = threading.Event()
        job = app.submit("stopping web", lambda job: go.wait(30), sections=())
        job.started -= 3
        app.paint_journal()
        await pilot.pause(0.1)
        assert "stopping web" in lines_of(app)[22] and "cancels" not in lines_of(app)[22]
        await pilot.press("ctrl+c")
        assert app.journal.last is not None and "cannot be cancelled" in app.journal.last.text
        go.set()


@pytest.mark.parametrize(
    ("environment", "ascii_only"),
    [({"LANG": "C"}, True), ({"LC_ALL": "POSIX", "LANG": "C.UTF-8"}, True), ({"LANG": "en_US.ISO-8859-1"}, True),
     ({"LANG": "de_DE.utf8"}, False), ({}, False), ({"TERM": "dumb", "LANG": "C.UTF-8"}, True)],
)  # fmt: skip
def test_symbols_follow_the_operators_locale(environment: dict[str, str], ascii_only: bool) -> None:
    from tui.glyphs import ASCII, UNICODE, choose

    assert choose(environment=environment) is (ASCII if ascii_only else UNICODE)


async def test_the_focus_comes_back_with_the_room() -> None:
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.3)
        await pilot.resize_terminal(50, 10)
        await pilot.pause(0.3)
        await pilot.resize_terminal(120, 40)
        await pilot.pause(0.5)
        assert app.focused is app.main.panes["containers"].listing


async def test_from_a_container_to_its_port() -> None:
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.3)
        await pilot.press("slash", *"web", "enter", "v")
        await pilot.pause(0.3)
        current = app.main.panes["view"].current
        assert app.main.view == "view" and current is not None and current.value[1].container == "web"


async def test_a_detail_that_appears_with_a_wider_screen_shows_the_line_under_the_cursor() -> None:
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.3)
        assert not app.main.detail.display
        await pilot.resize_terminal(200, 50)
        await pilot.pause(0.6)
        current = app.main.pane.current
        assert app.main.detail.display and current is not None
        assert app.main.detail.item is not None and app.main.detail.item.key == current.key
        assert current.value.name in lines_of(app)[1].partition("Containers")[2]
