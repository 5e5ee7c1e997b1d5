"""``build``: the builder's events as BuildKit's plain progress, and its errors with the lines they are about.

Owns that output. Progress goes to stderr, the image id (``-q``) to stdout, so that scripts may capture it.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import BuildError, Cancelled, InvalidInput, Unsupported
from tui.command_line.grammar import PROGRAM, Command
from tui.command_line.session import Session

if TYPE_CHECKING:
    from engine.build.events import BuildEvent
    from engine.images.records import Image

RULE = "-" * 20
KEPT_LINES = 40
INTERRUPTED = 130


def build(command: Command, session: Session) -> int:
    """Build an image; with ``-q`` prints its id alone."""
    context = _context(command.operands[0])
    named = command.text("file")
    if named == "-":
        raise Unsupported(
            "reading the Dockerfile from stdin is not supported by this version",
            remedy=f"name a file: {PROGRAM} build -f FILE {command.operands[0]}",
        )
    quiet = command.on("quiet")
    image = build_image(
        session,
        context,
        dockerfile=named or None,
        tags=command.all("tag"),
        build_args=build_arguments(command.all("build-arg")),
        no_cache=command.on("no-cache"),
        quiet=quiet,
    )
    if quiet:
        session.line(image.id)
    return 0


def build_image(
    session: Session,
    context: Path,
    *,
    dockerfile: str | None = None,
    tags: tuple[str, ...] = (),
    build_args: dict[str, str | None] | None = None,
    no_cache: bool = False,
    quiet: bool = False,
) -> Image:
    """Build with progress on stderr; a failing instruction is shown with its output and its place."""
    progress = Progress(session, quiet=quiet)
    try:
        with _cancelled_by_interrupt() as cancel:
            image = session.engine.builder.build(
                context,
                dockerfile=dockerfile,
                tags=tags,
                build_args=build_args or {},
                no_cache=no_cache,
                progress=progress.show,
                cancel=cancel,
            )
    except Cancelled as error:
        error.exit_code = INTERRUPTED
        raise
    except BuildError as error:
        progress.failed()
        shown = excerpt(error, _dockerfile(context, dockerfile))
        if shown:
            session.note(shown)
        raise
    progress.finished(image, tags)
    return image


@contextmanager
def _cancelled_by_interrupt() -> Iterator[threading.Event | None]:
    """An event that the first ctrl-c sets, so that the builder can undo its work; a second one interrupts at once."""
    if threading.current_thread() is not threading.main_thread():
        yield None
        return
    cancel = threading.Event()
    before = signal.getsignal(signal.SIGINT)

    def note(number: int, frame: object) -> None:
        if cancel.is_set():
            raise KeyboardInterrupt
        cancel.set()

    signal.signal(signal.SIGINT, note)
    try:
        yield cancel
    finally:
        signal.signal(signal.SIGINT, before)


class Progress:
    """BuildKit's plain progress, line by line."""

    def __init__(self, session: Session, *, quiet: bool) -> None:
        self._session = session
        self._quiet = quiet
        self._step = 0
        self._title = ""
        self._output: list[str] = []
        self._pending = ""
        self._began = 0.0
        self._now = 0.0
        self._open = False

    def show(self, event: BuildEvent) -> None:
        """One event of the builder."""
        self._now = event.seconds
        if event.kind == "step":
            self._begin(event)
        elif event.kind == "output":
            self._add(event.text)
        elif event.kind == "warning":
            self._flush()
            self._print(f"#{event.step} WARNING: {event.text}")
        elif event.kind == "error":
            self._end(f"ERROR: {event.text}")
        elif event.kind == "cached":
            self._end("CACHED")
        else:
            self._end(f"DONE {event.seconds - self._began:.1f}s")

    def _begin(self, event: BuildEvent) -> None:
        # A step that ended without a word of its own, as FROM does.
        self._end(f"DONE {event.seconds - self._began:.1f}s")
        self._step, self._title = event.step, f"[{event.step}/{event.total}] {event.text}"
        self._output, self._began, self._open = [], event.seconds, True
        self._print(f"#{event.step} {self._title}")

    def _end(self, words: str) -> None:
        if self._open:
            self._open = False
            self._flush()
            self._print(f"#{self._step} {words}\n")

    def failed(self) -> None:
        """Repeat what the failed step printed where progress was not shown, as BuildKit does at the end."""
        self._flush()
        if not self._output or not self._quiet:
            return
        lines = ["------", f" > {self._title}:", *self._output[-KEPT_LINES:], "------"]
        self._session.note("\n".join(lines))

    def finished(self, image: Image, tags: tuple[str, ...]) -> None:
        """The last lines: what was made and how it is called."""
        self._print(f"#{self._step + 1} exporting to image")
        self._print(f"#{self._step + 1} writing image {image.id} done")
        for name in tags:
            self._print(f"#{self._step + 1} naming to {name} done")

    def _add(self, text: str) -> None:
        *complete, self._pending = (self._pending + text).split("\n")
        for line in complete:
            self._line(line)

    def _flush(self) -> None:
        if self._pending:
            self._line(self._pending)
            self._pending = ""

    def _line(self, line: str) -> None:
        line = line.rstrip("\r")
        shown = f"{self._now - self._began:.3f} {line}"
        self._output.append(shown)
        self._print(f"#{self._step} {shown}")

    def _print(self, line: str) -> None:
        if not self._quiet:
            self._session.note(line)


def build_arguments(texts: tuple[str, ...]) -> dict[str, str | None]:
    """``--build-arg``: NAME=VALUE, or NAME with the value it has in our environment (None where it has none)."""
    found: dict[str, str | None] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name:
            raise InvalidInput(f"invalid build argument '{text}': its name is empty", remedy="write NAME=VALUE")
        found[name] = value if equals else os.environ.get(name)
    return found


def excerpt(error: BuildError, dockerfile: Path) -> str:
    """The lines the error is about, marked, with a few around them, as BuildKit shows them; empty without a place."""
    if not error.line:
        return ""
    try:
        lines = dockerfile.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    first = error.line
    last = min(len(lines), first + error.source.count("\n"))
    marked = range(first, last + 1)
    low, high = first, last
    # BuildKit widens by one line on each side until it has added this many.
    added, wanted = 0, 4 if first == last else 2
    while added < wanted and (low > 1 or high < len(lines)):
        if low > 1:
            low -= 1
            added += 1
        if high < len(lines):
            high += 1
            added += 1
    shown = [
        f" {number:3d} | {'>>> ' if number in marked else '    '}{lines[number - 1]}".rstrip()
        for number in range(low, high + 1)
    ]
    return "\n".join([f"{error.file}:{error.line}", RULE, *shown, RULE])


def _context(text: str) -> Path:
    if text == "-" or "://" in text or text.startswith("git@"):
        raise InvalidInput(
            f"building from {'stdin' if text == '-' else text} is not supported by this version",
            remedy=f"give a directory, for example: {PROGRAM} build .",
        )
    context = Path(text)
    if not context.exists():
        raise InvalidInput(f'unable to prepare context: path "{text}" not found')
    if not context.is_dir():
        raise InvalidInput(
            f"unable to prepare context: path {text!r} is not a directory",
            remedy=f"name the Dockerfile with -f: {PROGRAM} build -f {text} {context.parent}",
        )
    return context.resolve()


def _dockerfile(context: Path, named: str | None) -> Path:
    """Where the builder finds it: in the context, else from the working directory."""
    if named is None:
        return context / "Dockerfile"
    return context / named if (context / named).exists() else Path(named)
