"""``volume create``, ``rm`` and ``prune``.

Owns their output. Listing and inspecting volumes is with the other lists.
"""

from __future__ import annotations

from tui.command_line import human
from tui.command_line.filters import Filters
from tui.command_line.grammar import Command
from tui.command_line.session import Session
from tui.command_line.values import pairs

WARNING = "WARNING! This will remove {} volumes not used by at least one container.\nAre you sure you want to continue?"


def create(command: Command, session: Session) -> int:
    """Make a volume and print its name."""
    name = command.operands[0] if command.operands else None
    volume = session.engine.volumes.create(
        name, pairs(command.all("label")), driver=command.text("driver"), options=pairs(command.all("opt"))
    )
    session.line(volume.name)
    return 0


def remove(command: Command, session: Session) -> int:
    """Remove volumes; prints the name of each."""

    def act(name: str) -> None:
        session.engine.volumes.remove(name, force=command.on("force"))

    return session.each(command.operands, act)


def prune(command: Command, session: Session) -> int:
    """Remove unused volumes, asking first; prints their names and what that freed."""
    filters = Filters(command.all("filter"), ("label", "all"))
    every = command.on("all") or bool(filters.values("all") and filters.truth("all", True))
    if not command.on("force") and not session.ask(WARNING.format("all local" if every else "anonymous local")):
        return 0
    wanted = {key: value if equals else None for key, equals, value in split_all(filters.values("label"))}
    pruned = session.engine.volumes.prune(all=every, labels=wanted)
    if pruned.names:
        session.line("Deleted Volumes:")
        session.lines(pruned.names)
        session.line()
    session.line(f"Total reclaimed space: {human.size(pruned.reclaimed)}")
    return 0


def split_all(texts: list[str]) -> list[tuple[str, str, str]]:
    """Each text cut at its first ``=``."""
    return [text.partition("=") for text in texts]
