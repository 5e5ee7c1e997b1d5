"""The console: one Textual application over the engine.

Owns start-up and exit, the palette and keymap in use, the feed, the jobs and the journal. Verbs live in ``tui.verbs``,
what is on the screen in ``tui.screens``. Every engine call runs in a thread; this module never waits for one.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from textual import events
from textual.app import App
from textual.message import Message
from textual.screen import Screen

from tui import glyphs as glyphs_module
from tui import jobs, keymap, lines, theme
from tui.actions import BY_ID, CHAINS, Action, Confirm, Scope, in_scopes
from tui.feed import SECTIONS, Feed, Snapshot, Source
from tui.glyphs import Glyphs
from tui.jobs import Job
from tui.journal import Journal
from tui.screens.main import MainScreen
from tui.widgets.bars import JournalBar

if TYPE_CHECKING:
    from engine.config import Config
    from engine.engine import Engine

SHOWN_RATE = 4  # KB/s from which the status row shows the link's rate


class Console(App[int], inherit_bindings=False):
    """The application.

    ``open_engine`` is called once, in a thread, when the engine is first needed. ``source`` feeds the panes.
    """

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Screen { background: $background; color: $foreground; }
    ToastRack { align: right bottom; margin-bottom: 2; }
    """

    class Fresh(Message):
        """A newer snapshot is there."""

    class JobEnded(Message):
        """A job has ended."""

        def __init__(self, job: Job) -> None:
            super().__init__()
            self.job = job

    def __init__(
        self,
        open_engine: Callable[[], Engine],
        source: Source,
        *,
        keys: keymap.Keymap | None = None,
        palette: theme.Palette | None = None,
        glyphs: Glyphs | None = None,
        read_only: bool = False,
        host: str = "",
        problems: Sequence[str] = (),
        journal: Journal | None = None,
        clock: Callable[[], float] | None = None,
        config: Config | None = None,
    ) -> None:
        self.palette = palette or theme.load()[0]
        self.glyphs = glyphs or glyphs_module.choose()
        self.keymap = keys or keymap.load()
        super().__init__()
        self._open_engine = open_engine
        self._engine: Engine | None = None
        self._engine_lock = threading.Lock()
        self.feed = Feed(source, self._publish, **({"clock": clock} if clock else {}))
        self.journal = journal or Journal()
        self.jobs: list[Job] = []
        self.config = config
        self.locked = read_only
        self.forced_lock = read_only
        self.host = host or socket.gethostname()
        self.start_problems = tuple(problems)
        self.frame = 0
        self.link_rate = 0
        self._pending = threading.Event()
        self._holding = False
        self._held: deque[events.Key] = deque()
        self._written = 0
        self._bindings = self.keymap.bindings(Scope.GLOBAL)
        self.main = MainScreen()
        self.last_build: Screen[Any] | None = None

    # start and end

    def get_default_screen(self) -> Screen[Any]:
        return self.main

    def on_mount(self) -> None:
        self.register_theme(self.palette.textual())
        self.theme = self.palette.name
        for problem in self.start_problems:
            self.tell("warn", problem)
        if self.locked:
            self.tell("note", "read-only: verbs that change anything are refused")
        self.paint_status()
        self.paint_journal()
        self.set_interval(0.25, self._tick)
        self.set_interval(1.0, self._measure_link)
        self.call_after_refresh(self.begin)

    def begin(self) -> None:
        """The first paint is done: start reading."""
        self._count_output()
        self.feed.start()
        for number in (signal.SIGTERM, signal.SIGHUP):
            # The loop's own handler: the terminal is restored on the way out.
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
                self._loop_handler(number)

    def _loop_handler(self, number: signal.Signals) -> None:
        import asyncio

        asyncio.get_running_loop().add_signal_handler(number, lambda: self.exit(128 + number, return_code=128 + number))

    def on_unmount(self) -> None:
        self.feed.close()

    def engine(self) -> Engine:
        """The engine, opened on first use; call it from a thread, opening may have to repair what a crash left."""
        with self._engine_lock:
            if self._engine is None:
                self._engine = self._open_engine()
                self._engine.containers.on_warning = self._warn
            return self._engine

    def _warn(self, words: str) -> None:
        """Called by the engine, in whichever thread a verb runs."""
        self.call_later(self.tell, "warn", words)

    # keys

    async def on_event(self, event: events.Event) -> None:
        """Keys are resolved here, one after the other, before the next is looked at.

        Textual would send each key to the focused widget and resolve it when it has bubbled up: of a quickly typed or
        pasted ``:stop`` the ``s`` would still reach the list and stop a container. What is typed while an input is on
        its way is kept for it.
        """
        if isinstance(event, events.Key) and not event.is_forwarded:
            self._held.append(event)
            await self._take_keys()
            return
        await super().on_event(event)

    async def _take_keys(self) -> None:
        """Deal with the keys that wait, in the order they were typed."""
        while self._held and not self._holding:
            event = self._held.popleft()
            focused = self.focused
            if focused is not None and focused.check_consume_key("a", "a"):
                # An input takes its keys in its own time: neither an enter nor a tab must overtake the letters before
                # it, and what follows a tab belongs to the next field.
                action = self.form_keys.get(event.key) if CHAINS["form"] == getattr(self.screen, "chain", ()) else None
                if action is not None:
                    self.hold_keys()
                    focused.call_later(self._perform_held, action)
                    continue
            elif await self._check_bindings(event.key):
                continue
            await super().on_event(event)

    @property
    def form_keys(self) -> dict[str, str]:
        """Key → action id of the keys that leave a form's field."""
        return {key: action.id for action in in_scopes(CHAINS["form"]) for key in self.keymap.keys.get(action.id, ())}

    def _perform_held(self, action_id: str) -> None:
        self.action_perform(action_id)
        self.release_keys()

    def hold_keys(self) -> None:
        """An input is about to get the focus: keep what is typed until it has it."""
        self._holding = True

    def release_keys(self) -> None:
        """The input is there: give it what was typed meanwhile."""
        self._holding = False
        self.call_later(self._take_keys)

    # the feed

    def _publish(self, snapshot: Snapshot) -> None:
        """Called by the samplers: one message at a time; what comes meanwhile is in the snapshot by then."""
        if not self._pending.is_set():
            self._pending.set()
            self.post_message(self.Fresh())

    def on_console_fresh(self, message: Console.Fresh) -> None:
        self._pending.clear()
        self.main.accept(self.feed.snapshot)
        self.paint_status()

    # actions

    def action_perform(self, action_id: str) -> None:
        """Run an action of the table: the one way from a key, a menu or the palette to a handler."""
        action = BY_ID[action_id]
        if action.changes and self.locked:
            unlock = "" if self.forced_lock else f"; {self.keymap.first('global.lock')} unlocks"
            self.tell("warn", f"{action.title}: the console is read-only{unlock}")
            return
        try:
            action.resolve()(self)
        except Exception as error:
            self.release_keys()
            self.fail(action.title, error)

    def hint_pairs(self, chain: Iterable[Scope]) -> list[tuple[str, str]]:
        """(key, title) of the actions to hint at, most important first."""
        found = [action for action in in_scopes(chain) if action.hint and self.keymap.first(action.id)]
        return [(self.keymap.first(action.id), action.title) for action in sorted(found, key=lambda each: each.hint)]

    def ask(self, action: Action, names: Sequence[str], then: Callable[[], None], *, warning: str = "") -> None:
        """Do ``then``, after a confirmation where the table wants one for so many objects."""
        if action.confirm is Confirm.NEVER or (action.confirm is Confirm.MANY and len(names) < 2):
            then()
            return
        from tui.screens.confirm import ConfirmScreen

        def answered(yes: bool | None) -> None:
            if yes:
                then()
            else:
                self.tell("note", f"{action.title}: cancelled, nothing was changed")

        self.push_screen(ConfirmScreen(action.title, names, warning or action.help), answered)

    # jobs and journal

    def submit(
        self,
        title: str,
        work: Callable[[Job], Any],
        *,
        command: str = "",
        sections: Iterable[str] = SECTIONS,
        then: Callable[[Any], None] | None = None,
        cancellable: bool = False,
    ) -> Job:
        """Do ``work`` in a thread. Its result (a sentence or None) goes to the journal, an error also to a toast."""
        job = Job(title, command, tuple(sections), then=then, cancellable=cancellable)
        self.jobs.append(job)
        jobs.start(job, work, self._report)
        self.set_timer(lines.WORKING_AFTER, self.paint_journal)
        self.paint_status()
        return job

    def _report(self, job: Job) -> None:
        """Called by a job's thread when it has ended."""
        self.post_message(self.JobEnded(job))

    def on_console_job_ended(self, message: Console.JobEnded) -> None:
        job = message.job
        if job in self.jobs:
            self.jobs.remove(job)
        if job.error is not None:
            self.fail(job.title, job.error, job.command)
        elif isinstance(job.result, str) and job.result:
            self.tell("done", job.result, job.command)
        else:
            self.paint_journal()
        self.paint_status()
        if job.sections:
            self.feed.ask(job.sections)
        if job.then is not None and job.error is None:
            job.then(job.result)

    def tell(self, level: str, text: str, command: str = "", detail: str = "") -> None:
        """One entry for the journal and its row."""
        from tui.sanitize import plain

        self.journal.add(level, plain(text, lines=False), plain(command, lines=False), plain(detail))
        self.paint_journal()

    def fail(self, title: str, error: BaseException, command: str = "") -> None:
        """An error in words: journal and toast, never a traceback over the screen."""
        from engine.errors import Cancelled, EngineError
        from tui.sanitize import plain

        if isinstance(error, Cancelled):
            self.tell("warn", f"{title}: cancelled", command)
            return
        words = self._named(str(error)) or type(error).__name__
        detail = getattr(error, "remedy", "")
        if not isinstance(error, EngineError):
            import traceback

            words = f"{type(error).__name__}: {words}"
            detail = "".join(traceback.format_exception(error))
        self.tell("error", f"{title}: {words}", command, detail)
        remedy = getattr(error, "remedy", "")
        self.clear_notifications()
        if getattr(self.screen, "tells", "") == title:
            return  # the screen in front says it in full
        self.notify(
            plain(words + (f"\n{remedy}" if remedy else "")), title=title, severity="error", markup=False, timeout=6
        )

    def _named(self, words: str) -> str:
        """An error with containers called by name, not by 64 digits that push the cause off the line."""
        import re

        names = {row.id: row.name for row in self.feed.snapshot.containers}
        return re.sub(r"\b[0-9a-f]{64}\b", lambda found: names.get(found[0], found[0][:12]), words)

    # painting

    def _tick(self) -> None:
        if any(job.seconds >= lines.WORKING_AFTER for job in self.jobs):
            self.frame += 1
            self.paint_journal()

    def paint_journal(self) -> None:
        """The journal row: what is being done, else the last entry."""
        cells, right = lines.journal(self)
        for bar in self.screen.query(JournalBar) if self.is_running and self.screen_stack else ():
            bar.show(cells, right)

    def paint_status(self) -> None:
        """The status row."""
        if self.is_running and self.main.is_attached:
            self.main.status.show(*lines.status(self))

    def _count_output(self) -> None:
        """Count what goes to the terminal, for the KB/s of the status row."""
        driver = self._driver
        if driver is None:
            return
        write = driver.write

        def counting(data: str) -> None:
            self._written += len(data)
            write(data)

        driver.write = counting  # type: ignore[method-assign]

    def _measure_link(self) -> None:
        rate, self._written = self._written // 1024, 0
        # Below this any link will do, and the figure itself would be most of the traffic.
        rate = rate if rate >= SHOWN_RATE else 0
        if rate != self.link_rate:
            self.link_rate = rate
            self.paint_status()

    def use_palette(self, palette: theme.Palette) -> None:
        """Switch the colours, live."""
        self.palette = palette
        self.register_theme(palette.textual())
        self.theme = palette.name
        for screen in self.screen_stack:
            for widget in screen.walk_children():
                forget = getattr(widget, "forget_strips", None)
                (forget or widget.refresh)()

    def use_keymap(self, keys: keymap.Keymap) -> None:
        """Switch the keys, live."""
        self.keymap = keys
        self._bindings = keys.bindings(Scope.GLOBAL)
        for screen in self.screen_stack:
            for widget in screen.walk_children():
                bind = getattr(widget, "bind_keys", None)
                if bind is not None:
                    bind()
        self.main.paint_hints()


def run(
    config: Config,
    *,
    demo: bool = False,
    read_only: bool = False,
    keymap_name: str = keymap.DEFAULT,
    theme_name: str = theme.DEFAULT,
    ascii_only: bool = False,
    mouse: bool = True,
) -> int:
    """Open the console on the engine of ``config`` and return its exit code.

    ``demo`` builds and runs the demo container once the screen is there. The caller has made sure that there is a
    terminal and that the user is root.
    """
    from tui.engine_source import EngineSource

    keys = keymap.load(keymap_name)
    palette, problems = theme.load(theme_name)
    os.environ.setdefault("TEXTUAL_FPS", "30")

    def open_engine() -> Engine:
        from engine.engine import Engine

        return Engine(config)

    console: Console
    source = EngineSource(lambda: console.engine())
    console = Console(
        open_engine,
        source,
        keys=keys,
        palette=palette,
        glyphs=glyphs_module.choose(ascii_only=ascii_only),
        read_only=read_only,
        problems=(*keys.problems, *problems),
        config=config,
    )
    if demo:
        from tui.verbs.view import run_demo

        console.call_later(run_demo, console)
    return show(console, mouse=mouse)


def show(console: Console, *, mouse: bool = True) -> int:
    """Run ``console`` on this terminal until the operator leaves; its exit code.

    The size comes from the terminal alone: an exported ``COLUMNS`` or ``LINES``, which readline also leaves to what it
    starts, would make the screen deaf to every later change of size.
    """
    for name in ("COLUMNS", "LINES"):
        os.environ.pop(name, None)
    code = console.run(mouse=mouse)
    sys.stdout.flush()
    return console.return_code or (code or 0)


def run_console(*, data_root: object = None, run_dir: object = None, **options: Any) -> int:
    """``run`` for the command line: the configuration of these directories, and a plain word to who is not root.

    ``PILOTHOUSE_THEME`` and ``PILOTHOUSE_KEYMAP`` choose a theme and a keymap by name.
    """
    from engine.config import Config

    if os.geteuid() != 0:
        sys.stderr.write(
            "pilothouse: the console needs root: it makes mounts, network namespaces and firewall rules\n"
            "run it with sudo; rootless mode is out of scope\n"
        )
        return 1
    config = Config.from_environment(
        data_root=str(data_root) if data_root else None, run_dir=str(run_dir) if run_dir else None
    )
    options.setdefault("theme_name", os.environ.get("PILOTHOUSE_THEME") or theme.DEFAULT)
    options.setdefault("keymap_name", os.environ.get("PILOTHOUSE_KEYMAP") or keymap.DEFAULT)
    return run(config, **options)
