"""The ``:`` line: any command of the command line, parsed by the command line's own grammar.

A command runs as a process of its own, so that it can be cancelled, cannot hold the screen's interpreter, and does
exactly what the same words do in a shell. Commands that want the terminal get it, with the screen put aside.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tui.sanitize import plain
from tui.widgets.text import TextLine

if TYPE_CHECKING:
    from tui.app import Console
    from tui.jobs import Job

HISTORY: list[str] = []
_OWN = {"q": "quit", "quit": "quit", "theme": "theme", "keymap": "keymap", "help": "help"}


def program(console: Console, arguments: Sequence[str]) -> list[str]:
    """The argument list that runs the command line on this console's engine, isolated from the working directory."""
    config = console.config
    roots = ["--data-root", str(config.data_root), "--run-dir", str(config.run_dir)] if config is not None else []
    return [sys.executable, "-I", "-m", "tui.command_line.main", *roots, *arguments]


def run(console: Console, line: str) -> None:
    """Carry out one line."""
    from engine.errors import EngineError

    line = line.strip().removeprefix("pilothouse ").strip()
    if not line:
        return
    try:
        words = shlex.split(line)
    except ValueError as error:
        console.tell("error", f":{line}: {error}")
        return
    if words and words[0] in _OWN:
        globals()[f"_{_OWN[words[0]]}"](console, words[1:])
        return
    from tui.command_line.grammar import parse
    from tui.command_line.vocabulary import VOCABULARY

    try:
        command = parse(VOCABULARY, words)
    except EngineError as error:
        console.tell("error", f":{line}: {str(error).splitlines()[0]}", detail=error.remedy)
        return
    if command.verb.changes and console.locked:
        console.tell("warn", f"{command.verb.title}: the console is read-only")
    elif wants_terminal(command.options, command.verb.path):
        foreground(console, words, f"pilothouse {shlex.join(words)}")
    else:
        background(console, words)


def wants_terminal(options: Any, path: tuple[str, ...]) -> bool:
    """True for commands that talk to the operator: ``-t``, ``-i``, attach."""
    if options.get("detach"):
        return False
    return path[-1] == "attach" or bool(options.get("tty") or options.get("interactive"))


def foreground(console: Console, words: Sequence[str], command: str, *, title: str = "") -> None:
    """Run a command on the operator's own terminal; the screen comes back afterwards."""
    code, problem = 0, ""
    with console.suspend():
        try:
            sys.stdout.write(f"\x1b[2J\x1b[H{title or command}\r\n\n")
            sys.stdout.flush()
            code = subprocess.run(program(console, words), check=False).returncode
        except OSError as error:
            problem = str(error)
    if problem:
        console.tell("error", f"{title or command}: {problem}", command)
    else:
        words = f"{title or command}: exit code {code}"
        console.tell("done" if code == 0 else "note", words, command if title else "")
    console.feed.ask()


def background(console: Console, words: Sequence[str]) -> None:
    """Run a command and show what it prints: one line in the journal, more on a screen of its own."""
    from tui.screens.text import TextScreen

    command = f"pilothouse {shlex.join(words)}"
    screen = TextScreen(f":{shlex.join(words)}", following=False)
    collected: list[TextLine] = []
    lock = threading.Lock()

    def flush() -> None:
        with lock:
            lines, collected[:] = list(collected), []
        if lines:
            if not screen.is_attached and console.screen is not screen:
                console.push_screen(screen)
            screen.call_later(screen.text.append, lines)

    def work(job: Job) -> str:
        lines = 0
        last = ""
        process = subprocess.Popen(
            program(console, words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True, env={**os.environ, "COLUMNS": str(max(60, console.size.width - 2))},
        )  # fmt: skip
        threading.Thread(target=_stop_when_cancelled, args=(job, process), daemon=True).start()
        assert process.stdout is not None
        for raw in process.stdout:
            text = plain(raw.decode(errors="replace").rstrip("\n")).expandtabs()
            lines += 1
            last = text or last
            with lock:
                collected.append(TextLine(text))
                waiting = len(collected)
            if lines > 1 and (waiting == 1 or waiting >= 200):
                console.call_later(flush)
        code = process.wait()
        if lines > 1:
            console.call_later(flush)
        if job.cancel.is_set():
            return f":{shlex.join(words)} cancelled"
        if code:
            from engine.errors import EngineError

            raise EngineError(last.removeprefix("pilothouse: ") or f"exit code {code}")
        return last if lines == 1 else f"{shlex.join(words)}: {lines} lines" if lines else f"{shlex.join(words)}: done"

    console.submit(f":{shlex.join(words)}", work, command=command, cancellable=True)


def _stop_when_cancelled(job: Job, process: subprocess.Popen[bytes]) -> None:
    """SIGINT, as ctrl+c would; SIGKILL five seconds later."""
    while process.poll() is None:
        if job.cancel.wait(0.2):
            process.send_signal(signal.SIGINT)
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
            return


# the console's own words


def _quit(console: Console, words: Sequence[str]) -> None:
    from tui.verbs import view

    view.quit(console)


def _help(console: Console, words: Sequence[str]) -> None:
    if words:
        background(console, ["help", *words])
        return
    from tui.verbs import view

    view.help(console)


def _theme(console: Console, words: Sequence[str]) -> None:
    from tui import theme

    if not words:
        console.tell("note", f"themes: {', '.join(theme.names())}; in use: {console.palette.name}")
        return
    palette, problems = theme.load(words[0])
    for problem in problems:
        console.tell("warn", problem)
    console.use_palette(palette)
    if not problems:
        console.tell("note", f"theme {palette.name}")


def _keymap(console: Console, words: Sequence[str]) -> None:
    from tui import keymap

    if not words:
        names = ", ".join(path.stem for path in keymap.presets())
        console.tell("note", f"keymaps: {names}; in use: {console.keymap.name}")
        return
    keys = keymap.load(words[0])
    for problem in keys.problems:
        console.tell("warn", problem)
    console.use_keymap(keys)
    if not keys.problems:
        console.tell("note", f"keymap {keys.name}")
