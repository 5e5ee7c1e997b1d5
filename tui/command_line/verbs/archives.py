"""``save``, ``load`` and ``import``: images as tar archives.

Owns the choice of file or stream and what is printed. An archive is never written to a terminal, and a file named with
``-o`` appears only when it is complete.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO

from engine.errors import HostError, InvalidInput
from tui.command_line.grammar import Command
from tui.command_line.session import Session


def save(command: Command, session: Session) -> int:
    """Write images to stdout, or to the file of ``-o``."""
    output = command.text("output")
    if not output:
        if session.out_is_terminal:
            raise InvalidInput("cowardly refusing to save to a terminal. Use the -o flag or redirect")
        try:
            session.engine.images.save(command.operands, session.out_bytes)
            session.out_bytes.flush()
        except HostError as error:
            # Whoever read our stdout is gone: the end of a pipe, not a failure to tell about.
            if isinstance(error.__cause__, BrokenPipeError):
                raise error.__cause__ from None
            raise
        return 0
    target = Path(output)
    if not target.parent.is_dir():
        raise InvalidInput(f'invalid output path: directory "{target.parent}" does not exist')
    if target.is_dir():
        raise InvalidInput(f'invalid output path: "{output}" is a directory')
    if target.exists() and not target.is_file():
        # A pipe or a device is written to as it is.
        with target.open("wb") as stream:
            session.engine.images.save(command.operands, stream)
        return 0
    _save_file(command, session, target)
    return 0


def _save_file(command: Command, session: Session, target: Path) -> None:
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    except OSError as error:
        raise HostError(f"open {target}", error.strerror) from error
    unfinished = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            session.engine.images.save(command.operands, stream)
        unfinished.chmod(0o600)
        unfinished.rename(target)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def load(command: Command, session: Session) -> int:
    """Read images from stdin, or from the file of ``-i``; prints their names."""
    source = command.text("input")
    if not source and session.stdin.isatty():
        raise InvalidInput(
            "requested load from stdin, but stdin is empty", remedy="name a file: -i FILE, or redirect: < FILE"
        )
    progress = None if command.on("quiet") or not session.err.isatty() else session.note
    with _opened(source, session) as stream:
        names = session.engine.images.load(stream, progress=progress)
    for name in names:
        session.line(f"Loaded image ID: {name}" if name.startswith("sha256:") else f"Loaded image: {name}")
    return 0


def import_file_system(command: Command, session: Session) -> int:
    """Make an image of one layer from a tar archive of a file system; prints its id."""
    source, *name = command.operands
    if source.startswith(("http://", "https://")):
        raise InvalidInput(
            f"importing from {source} is not supported", remedy="fetch it first: curl -L URL | pilothouse import -"
        )
    with _opened("" if source == "-" else source, session) as stream:
        image = session.engine.images.import_tar(
            stream, name[0] if name else None, changes=command.all("change"), message=command.text("message")
        )
    session.line(image.id)
    return 0


def _opened(source: str, session: Session) -> BinaryIO | nullcontext[BinaryIO]:
    """The named file, or stdin, which stays open."""
    if not source:
        return nullcontext(session.in_bytes)
    try:
        return Path(source).open("rb")
    except OSError as error:
        raise HostError(f"open {source}", (error.strerror or "").lower()) from error
