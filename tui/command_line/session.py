"""What one command line runs with: the engine on first use, and the streams it talks to.

Owns how text reaches the user: lines to a terminal are stripped of control codes, errors go to stderr with the
program's name, questions are asked only of a terminal. The console hands in an engine and streams of its own. Knows no
verb.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, BinaryIO, TextIO

from engine.errors import EngineError
from tui.command_line.grammar import PROGRAM
from tui.sanitize import plain

if TYPE_CHECKING:
    from engine.containers.collection import Containers
    from engine.engine import Engine

PARALLEL = 16


class Session:
    """The surroundings of one command."""

    def __init__(
        self,
        *,
        data_root: str = "",
        run_dir: str = "",
        engine: Engine | None = None,
        out: TextIO | None = None,
        err: TextIO | None = None,
        stdin: TextIO | None = None,
    ) -> None:
        self.data_root = data_root
        self.run_dir = run_dir
        self.out = out or sys.stdout
        self.err = err or sys.stderr
        self.stdin = stdin or sys.stdin
        if engine is not None:
            self.__dict__["engine"] = engine

    @cached_property
    def engine(self) -> Engine:
        """The engine of the chosen directories; made on first use, so that help needs no root."""
        from engine.config import Config
        from engine.engine import Engine

        return Engine(Config.from_environment(data_root=self.data_root or None, run_dir=self.run_dir or None))

    @cached_property
    def containers(self) -> Containers:
        """The engine's containers, their warnings shown on stderr."""
        containers = self.engine.containers
        containers.on_warning = lambda words: self.note(f"WARNING: {words}")
        return containers

    @cached_property
    def out_is_terminal(self) -> bool:
        """True when stdout is a terminal."""
        return self.out.isatty()

    @property
    def out_bytes(self) -> BinaryIO:
        """stdout for bytes; what was printed as text before stands before them."""
        self.out.flush()
        return self.out.buffer

    @property
    def err_bytes(self) -> BinaryIO:
        """stderr for bytes."""
        self.err.flush()
        return self.err.buffer

    @property
    def in_bytes(self) -> BinaryIO:
        """stdin as bytes."""
        return self.stdin.buffer

    def line(self, text: str = "") -> None:
        """Print one line (or several) to stdout."""
        self.out.write((plain(text) if self.out_is_terminal else text) + "\n")

    def lines(self, texts: Iterable[str]) -> None:
        """Print lines to stdout."""
        for text in texts:
            self.line(text)

    def note(self, text: str) -> None:
        """Print a line to stderr that is no error: progress, a warning."""
        self.out.flush()
        self.err.write((plain(text) if self.err.isatty() else text) + "\n")
        self.err.flush()

    def complain(self, error: EngineError) -> None:
        """Print an error and its remedy to stderr."""
        self.note(f"{PROGRAM}: {error}" + (f"\n{error.remedy}" if error.remedy else ""))

    def ask(self, question: str) -> bool:
        """A yes-or-no question on the terminal; No without one, and by default."""
        self.out.write(f"{question} [y/N] ")
        self.out.flush()
        answer = self.stdin.readline().strip().lower()
        if not answer and not self.stdin.isatty():
            self.out.write("\n")
        return answer in ("y", "yes")

    def each(self, names: Sequence[str], act: Callable[[str], str | None], *, together: bool = False) -> int:
        """Do one thing to many objects; each success prints its name (or what ``act`` returns), each failure its error.

        ``together``: all at the same time, so that ten stops take as long as one; the output keeps the order given.
        The exit code is 1 if any failed.
        """
        failed = False
        for name, outcome in zip(names, _together(names, act) if together else _in_turn(names, act), strict=True):
            if isinstance(outcome, EngineError):
                self.complain(outcome)
                failed = True
            else:
                self.line(name if outcome is None else outcome)
        return 1 if failed else 0


Outcome = str | EngineError | None


def _in_turn(names: Sequence[str], act: Callable[[str], str | None]) -> Iterator[Outcome]:
    for name in names:
        yield _try(act, name)


def _together(names: Sequence[str], act: Callable[[str], str | None]) -> Iterator[Outcome]:
    """The outcomes in order, each as soon as it and those before it are there."""
    if len(names) < 2:
        yield from _in_turn(names, act)
        return
    import threading

    outcomes: list[Outcome | Exception] = [None] * len(names)
    free = threading.Semaphore(PARALLEL)

    def work(index: int) -> None:
        with free:
            try:
                outcomes[index] = _try(act, names[index])
            except Exception as error:
                outcomes[index] = error

    threads = [threading.Thread(target=work, args=(index,), daemon=True) for index in range(len(names))]
    for thread in threads:
        thread.start()
    for index, thread in enumerate(threads):
        thread.join()
        outcome = outcomes[index]
        if isinstance(outcome, Exception) and not isinstance(outcome, EngineError):
            raise outcome
        yield outcome


def _try(act: Callable[[str], str | None], name: str) -> Outcome:
    try:
        return act(name)
    except EngineError as error:
        return error
