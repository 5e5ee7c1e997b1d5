"""The ``pilothouse`` program: reads the command line, runs its verb, turns every ending into an exit code.

Owns the order of start-up (what costs time is imported when it is needed) and the last word on errors and signals. Has
no verb of its own: without one it opens the console.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tui.command_line.grammar import Command, Value
    from tui.command_line.session import Session

DEBUG_ENV = "PILOTHOUSE_DEBUG"
INTERRUPTED = 130
BROKEN_PIPE = 141
# What containers are given must not depend on the shell the engine was called from.
UMASK = 0o022
# Modules, classes and functions are what a verb allocates, and none of them is garbage: Python's own threshold of 700
# would look through them fifty times. Cycles are still found where a verb goes on for long (build, logs -f).
COLLECT_AFTER = 50_000


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program with ``argv`` (without its name); returns the exit code and never raises.

    Without ``argv`` it is the program itself: a verb then ends the process here.
    """
    if argv is not None:
        return _main(list(argv))
    gc.set_threshold(COLLECT_AFTER)
    _fill_closed_streams()
    code = _main(sys.argv[1:])
    _leave(code)
    return code


def _fill_closed_streams() -> None:
    """Join a standard stream that is closed (``>&-``) to /dev/null: else the next file opened would take its place.

    Python has None for such a stream, and open(2) gives the lowest free number, so that the order does the rest.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


def _leave(code: int) -> None:
    """End the process without the interpreter's teardown: 10 ms in which every module is taken apart for nothing.

    Returns where something may still want Python's own end: a thread that is waited for, or the console's libraries.
    """
    if "textual" in sys.modules:
        return
    threading = sys.modules.get("threading")
    if threading and any(not each.daemon for each in threading.enumerate() if each is not threading.main_thread()):
        return
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        return
    os._exit(code)


def _main(words: list[str]) -> int:
    if words in (["--version"], ["-v"]):
        from tui.version import VERSION

        print(f"pilothouse version {VERSION}")
        return 0
    os.umask(UMASK)
    try:
        code = _run(words)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _silence_stdout()
        return BROKEN_PIPE
    except OSError as error:
        if not _stdout_fails():
            return _unexpected(error)
        _silence_stdout()
        sys.stderr.write(f"pilothouse: writing to stdout: {error.strerror}\n")
        return 1
    except Exception as error:
        return _unexpected(error)


def execute(command: Command, session: Session) -> int:
    """Run a parsed command; EngineError goes up to the caller. The console's ``:`` line calls this too."""
    from importlib import import_module

    module, _, function = command.verb.handler.partition(":")
    handler = getattr(import_module(f"tui.command_line.verbs.{module}"), function)
    code: int = handler(command, session)
    return code


def _run(words: list[str]) -> int:
    from engine.errors import EngineError
    from tui.command_line.grammar import UnknownVerb, UsageError, parse, read_globals
    from tui.command_line.session import Session
    from tui.command_line.usage import complaint, group_help, program_help, verb_help
    from tui.command_line.vocabulary import VOCABULARY

    for stream in (sys.stdout, sys.stderr):
        # File names and labels may hold any bytes: pass them on as they came.
        stream.reconfigure(errors="surrogateescape")  # type: ignore[union-attr]
    try:
        request = read_globals(VOCABULARY, words)
        rest = [word for word in request.words if word not in ("--help", "-h")]
        if request.globals.pop("help", False):
            sys.stdout.write(program_help(VOCABULARY, _columns()))
            return 0
        if request.globals["version"]:
            return main(["--version"])
        if not request.words:
            return _console(request.globals)
        if len(rest) == 1 and rest[0] in VOCABULARY.groups:
            sys.stdout.write(group_help(VOCABULARY, rest[0]))
            return 0
        command = parse(VOCABULARY, words)
        if command.help:
            sys.stdout.write(verb_help(command.verb, _columns()))
            return 0
    except UnknownVerb as error:
        sys.stderr.write(complaint(error))
        return error.exit_code
    except UsageError as error:
        sys.stderr.write(complaint(error))
        return error.exit_code
    session = Session(data_root=command.global_text("data-root"), run_dir=command.global_text("run-dir"))
    try:
        return execute(command, session)
    except UsageError as error:
        sys.stderr.write(complaint(error))
        return error.exit_code
    except EngineError as error:
        if os.environ.get(DEBUG_ENV):
            raise
        session.complain(error)
        return error.exit_code


def _console(options: Mapping[str, Value]) -> int:
    if not sys.stdin.isatty() or not sys.stdout.isatty():
        sys.stderr.write(
            "pilothouse: the console needs a terminal, and this is none\n"
            "give a command, such as 'pilothouse ps', or run it from a terminal (ssh -t HOST pilothouse)\n"
        )
        return 1
    if os.geteuid() != 0:
        sys.stderr.write("pilothouse: the console needs root, as the engine does\nrun it with sudo\n")
        return 1
    from engine.config import Config
    from engine.errors import EngineError

    def text(name: str) -> str:
        return str(options.get(name) or "")

    try:
        from tui import app, keymap, theme

        return app.run(
            Config.from_environment(data_root=text("data-root") or None, run_dir=text("run-dir") or None),
            read_only=bool(options["read-only"]),
            keymap_name=text("keymap") or keymap.DEFAULT,
            theme_name=text("theme") or theme.DEFAULT,
            ascii_only=bool(options["ascii"]),
            mouse=not options["no-mouse"],
        )
    except EngineError as error:
        sys.stderr.write(f"pilothouse: {error}\n" + (f"{error.remedy}\n" if error.remedy else ""))
        return error.exit_code


def _columns() -> int:
    try:
        return min(120, os.get_terminal_size(sys.stdout.fileno()).columns)
    except (OSError, ValueError):
        return 80


def _stdout_fails() -> bool:
    """True when what was printed cannot be written, because of a full disk for one."""
    try:
        sys.stdout.flush()
    except OSError:
        return True
    return False


def _silence_stdout() -> None:
    """Keep the interpreter's own flush at exit from failing once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _unexpected(error: Exception) -> int:
    if os.environ.get(DEBUG_ENV):
        import traceback

        traceback.print_exception(error)
    else:
        first = (str(error).splitlines() or [""])[0]
        sys.stderr.write(
            f"pilothouse: unexpected {type(error).__name__}: {first}\n"
            f"this is a fault of pilothouse; for the full story run it again with {DEBUG_ENV}=1\n"
        )
    return 125


if __name__ == "__main__":
    sys.exit(main())
