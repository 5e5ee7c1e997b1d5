"""``rmi``, ``tag``, ``history`` and ``commit``.

Owns their output. What an image is and when one may go is the engine's.
"""

from __future__ import annotations

from engine.errors import EngineError
from tui.command_line import human, table
from tui.command_line.grammar import Command
from tui.command_line.session import Session
from tui.command_line.verbs.listing import short

CREATED_BY_LENGTH = 45

HISTORY_HEADERS = {
    "ID": "IMAGE",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "CreatedBy": "CREATED BY",
    "Size": "SIZE",
    "Comment": "COMMENT",
}


def remove(command: Command, session: Session) -> int:
    """Remove names of images, and images that lose their last one; prints what went."""
    failed = False
    for name in command.operands:
        try:
            gone = session.engine.images.remove(name, force=command.on("force"), prune=not command.on("no-prune"))
        except EngineError as error:
            session.complain(error)
            failed = True
            continue
        for each in gone:
            session.line(f"Untagged: {each.untagged}" if each.untagged else f"Deleted: {each.deleted}")
    return 1 if failed else 0


def tag(command: Command, session: Session) -> int:
    """Give an image another name; silent."""
    source, target = command.operands
    session.engine.images.tag(source, target)
    return 0


def history(command: Command, session: Session) -> int:
    """Print the steps that made an image, the newest first."""
    full = command.on("no-trunc")
    people = command.on("human")
    rows: list[table.Row] = []
    for step in session.engine.images.history(command.operands[0]):
        created_by = step.created_by.replace("\t", " ")
        rows.append(
            {
                "ID": short(step.id, full) if step.id and step.id != "<missing>" else "<missing>",
                "CreatedSince": human.ago(step.created) if people else step.created,
                "CreatedAt": step.created,
                "CreatedBy": created_by if full else human.ellipsis(created_by, CREATED_BY_LENGTH),
                "Size": human.size(step.size, 3) if people else str(step.size),
                "Comment": step.comment,
            }
        )
    lines = table.render(
        rows,
        command.text("format"),
        headers=HISTORY_HEADERS,
        kind="*formatter.historyContext",
        default=("ID", "CreatedSince", "CreatedBy", "Size", "Comment"),
        quiet="ID" if command.on("quiet") else "",
    )
    session.lines(lines)
    return 0


def commit(command: Command, session: Session) -> int:
    """Make an image of a container's changes; prints its id."""
    name = command.operands[1] if len(command.operands) > 1 else ""
    image = session.engine.containers.get(command.operands[0]).commit(
        *_split(name),
        message=command.text("message"),
        author=command.text("author"),
        changes=command.all("change"),
        pause=command.on("pause"),
    )
    session.line(image.id)
    return 0


def _split(name: str) -> tuple[str | None, str | None]:
    """Repository and tag; a colon before a slash belongs to a registry's port."""
    if not name:
        return None, None
    repository, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:
        return name, None
    return repository, tag
