"""The build context: the directory a Dockerfile may copy from.

Owns finding sources in it (wildcards, links, ``.dockerignore``) and their checksums. Nothing outside the directory is
ever reachable: ``..`` is refused, symbolic links are followed as if the context were ``/``. Reads only.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

from engine.build.dockerignore import Ignore, read, translate
from engine.errors import Cancelled, InvalidInput
from engine.values import dataclass

MAX_LINKS = 40  # as Linux does in one lookup (path_resolution(7))
_CHUNK = 1 << 20
_WILDCARD = re.compile(r"[*?\[]|\\.")


class ContextError(InvalidInput):
    """A source cannot be taken from the context."""


@dataclass(frozen=True)
class Entry:
    """One file, directory or link below a source.

    ``inside`` is its path below the source (empty for the source itself), ``path`` where it lies in the context.
    ``mode`` is the whole st_mode; ``link`` is the target of a symbolic link; times are in nanoseconds. ``identity``
    (device, inode) tells hard links of one file.
    """

    inside: str
    path: str
    mode: int
    size: int
    mtime: int
    identity: tuple[int, int]
    links: int
    link: str = ""

    @property
    def is_directory(self) -> bool:
        """True for a directory."""
        return stat.S_ISDIR(self.mode)


@dataclass(frozen=True)
class Source:
    """What one source of COPY or ADD stands for: ``name`` when it is put into a directory, and its entries.

    The first entry is the source itself; a directory's entries follow parents first, in name order.
    """

    name: str
    entries: tuple[Entry, ...]

    @property
    def is_directory(self) -> bool:
        """True when the contents, not the thing itself, are copied."""
        return self.entries[0].is_directory


class Context:
    """One build context."""

    def __init__(self, root: Path, ignore: Ignore | None = None, cancel: threading.Event | None = None) -> None:
        self.root = root
        self.ignore = ignore or Ignore()
        self._cancel = cancel

    @classmethod
    def open(cls, root: Path, dockerfile: Path, cancel: threading.Event | None = None) -> Context:
        """The context at ``root``, with ``DOCKERFILE.dockerignore`` or else ``.dockerignore`` obeyed."""
        if not root.is_dir():
            raise ContextError(
                f"unable to prepare context: path {str(root)!r} not found",
                remedy="give the directory that holds the files to copy",
            )
        root = root.resolve()
        for candidate in (dockerfile.with_name(dockerfile.name + ".dockerignore"), root / ".dockerignore"):
            try:
                patterns = read(candidate.read_text(errors="surrogateescape"))
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise ContextError(f"reading {candidate}: {error.strerror}") from error
            return cls(root, Ignore(patterns), cancel)
        return cls(root, cancel=cancel)

    def sources(self, written: str) -> list[Source]:
        """What ``written`` (a path or a wildcard) names, in order; only a wildcard may name nothing.

        Raises ContextError in docker's words for what is missing, ignored or outside.
        """
        path = normalize(written)
        if not has_wildcard(written):
            return [self._source(path, written)]
        found: list[Source] = []
        for match in self._glob(path):
            if self._ignored(match):
                continue
            resolved = self._resolve(match)
            if resolved is None:
                raise not_found(match)  # a link to nowhere, or out of the context
            found.append(Source(posixpath.basename(match), tuple(self._entries(resolved))))
        return found

    def digest(self, entry: Entry) -> str:
        """sha256 (hex) of a file's bytes; empty for everything else."""
        if not stat.S_ISREG(entry.mode):
            return ""
        with open_regular(self.root / entry.path) as file:
            if entry.size <= _CHUNK:
                return hashlib.sha256(file.read()).hexdigest()
            hasher = hashlib.sha256()
            buffer = memoryview(bytearray(_CHUNK))
            while count := file.readinto(buffer):
                self._check_cancel()
                hasher.update(buffer[:count])
            return hasher.hexdigest()

    def _source(self, path: str, written: str) -> Source:
        resolved = self._resolve(path)
        if resolved is None or self._ignored(path):
            raise not_found(written)
        entries = tuple(self._entries(resolved))
        if not entries:
            raise not_found(written)
        return Source(posixpath.basename(path), entries)

    def _ignored(self, path: str) -> bool:
        if not path or self.ignore.empty or not self.ignore.covers(path):
            return False
        return not self.ignore.may_hold_exceptions(path)

    def _resolve(self, path: str) -> str | None:
        """``path`` without symbolic links, followed inside the context; None when it does not exist."""
        pending = [step for step in reversed(path.split("/")) if step]
        done: list[str] = []
        links = 0
        while pending:
            step = pending.pop()
            if step in ("", "."):
                continue
            if step == "..":
                del done[-1:]
                continue
            try:
                target = os.readlink(self.root.joinpath(*done, step))  # noqa: PTH115 - Path would clean it
            except FileNotFoundError:
                return None
            except OSError:
                done.append(step)  # EINVAL: not a link
                continue
            links += 1
            if links > MAX_LINKS:
                raise ContextError(f"COPY failed: too many links in build context: {path}")
            if target.startswith("/"):
                done = []
            pending.extend(reversed(target.split("/")))
        return "/".join(done) if os.path.lexists(self.root.joinpath(*done)) else None

    def _glob(self, pattern: str) -> list[str]:
        """Paths that match, component by component, in order; links to directories are walked into."""
        matches = [""]
        for component in pattern.split("/"):
            expression = _component(component)
            following: list[str] = []
            for parent in matches:
                resolved = self._resolve(parent)
                if resolved is None:
                    continue
                try:
                    names = sorted(os.listdir(self.root / resolved))
                except (NotADirectoryError, FileNotFoundError):
                    continue
                following.extend(posixpath.join(parent, name) for name in names if expression.fullmatch(name))
            matches = following
        return matches

    def _entries(self, path: str) -> Iterator[Entry]:
        status = os.lstat(self.root / path)
        if not stat.S_ISDIR(status.st_mode):
            yield self._entry("", path, status)
            return
        matched: tuple[bool, ...] = ()
        ignored = False
        if path and not self.ignore.empty:
            steps = path.split("/")
            for end in range(1, len(steps) + 1):
                ignored, matched = self.ignore.step("/".join(steps[:end]), matched)
        below = list(self._below("", path, matched))
        if below or not ignored:
            yield self._entry("", path, status)
            yield from below

    def _below(self, inside: str, path: str, matched: tuple[bool, ...]) -> Iterator[Entry]:
        self._check_cancel()
        with os.scandir(self.root / path) as scan:
            children = sorted(scan, key=lambda child: child.name)
        for child in children:
            child_path = f"{path}/{child.name}" if path else child.name
            child_inside = f"{inside}/{child.name}" if inside else child.name
            ignored, child_matched = (False, ()) if self.ignore.empty else self.ignore.step(child_path, matched)
            status = child.stat(follow_symlinks=False)
            if stat.S_ISSOCK(status.st_mode):
                continue  # as docker's context does: a socket means nothing without its process
            if not stat.S_ISDIR(status.st_mode):
                if not ignored:
                    yield self._entry(child_inside, child_path, status)
                continue
            if ignored and not self.ignore.may_hold_exceptions(child_path):
                continue
            # An ignored directory is there after all when an exception takes in something below it.
            below = self._below(child_inside, child_path, child_matched)
            first = next(below, None)
            if ignored and first is None:
                continue
            yield self._entry(child_inside, child_path, status)
            if first is not None:
                yield first
                yield from below

    def _entry(self, inside: str, path: str, status: os.stat_result) -> Entry:
        mode = status.st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)):
            raise ContextError(
                f"{path} in the build context is a device or a FIFO",
                remedy="leave it out with .dockerignore, or make it with RUN mknod",
            )
        return Entry(
            inside,
            path,
            mode,
            status.st_size if stat.S_ISREG(mode) else 0,
            status.st_mtime_ns,
            (status.st_dev, status.st_ino),
            1 if stat.S_ISDIR(mode) else status.st_nlink,
            os.readlink(self.root / path) if stat.S_ISLNK(mode) else "",  # noqa: PTH115 - Path would clean it
        )

    def _check_cancel(self) -> None:
        if self._cancel is not None and self._cancel.is_set():
            raise Cancelled("build cancelled")


def normalize(written: str) -> str:
    """A source as a clean path relative to the context; ContextError when ``..`` leads out of it."""
    depth = 0
    for step in written.split("/"):
        if step in ("", "."):
            continue
        depth += -1 if step == ".." else 1
        if depth < 0:
            raise ContextError(
                f"forbidden path outside the build context: {written}",
                remedy="copy only from below the build context, or build with a parent directory as context",
            )
    return posixpath.normpath("/" + written).lstrip("/")


def has_wildcard(path: str) -> bool:
    """True when ``path`` holds ``*``, ``?``, ``[`` or an escape."""
    return _WILDCARD.search(path) is not None


def not_found(written: str) -> ContextError:
    """docker's error for a source that is not there."""
    return ContextError(
        f"file not found in build context or excluded by .dockerignore: stat {written}: file does not exist",
        remedy="paths are relative to the build context; see what is there and what .dockerignore leaves out",
    )


def open_regular(path: Path) -> _File:
    """Open a regular file for reading, never following a last link and never blocking on what took its place."""
    return _File(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC))


class _File:
    """A plain descriptor with just what hashing and copying need; cheaper than ``io`` for thousands of files."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)

    def read(self) -> bytes:
        """All that is left."""
        pieces: list[bytes] = []
        while piece := os.read(self.descriptor, _CHUNK):
            pieces.append(piece)
        return b"".join(pieces)

    def readinto(self, buffer: memoryview) -> int:
        """Fill ``buffer`` from the file; 0 at its end."""
        return os.readv(self.descriptor, [buffer])


def _component(pattern: str) -> re.Pattern[str]:
    try:
        # In Go's filepath.Match two stars are just stars.
        return re.compile(translate(re.sub(r"(?<!\\)\*{2,}", "*", pattern)), re.DOTALL)
    except re.error as error:
        raise ContextError(f"syntax error in pattern: {pattern}") from error
