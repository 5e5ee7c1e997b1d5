"""Putting files of the context into a root file system.

Owns the destination rules of COPY and ADD (Dockerfile reference, "Destination"): trailing slashes, directories whose
contents are copied, links in the destination followed inside the root only. Keeps modes and times, sets the owner.
Never writes outside of the root it is given. Knows no images and no cache.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from engine.build.context import Context, Entry, Source, open_regular
from engine.build.permissions import Change
from engine.errors import Cancelled, EngineError, HostError, InvalidInput
from engine.host.rooted import MAX_LINKS, Parts, RootedTree, lexical, open_root
from engine.storage import whiteouts
from engine.storage.content_copy import copy_content

_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY_MODE = 0o755


class Target:
    """A root file system being written to; directories made on the way belong to ``owner``."""

    def __init__(
        self,
        root: Path,
        *,
        owner: tuple[int, int] = (0, 0),
        change_mode: Change | None = None,
        cancel: threading.Event | None = None,
    ) -> None:
        self._root = open_root(root)
        self._tree = RootedTree(self._root)
        self._owner = owner
        self._change_mode = change_mode
        self._cancel = cancel

    def __enter__(self) -> Target:
        return self

    def __exit__(self, *_: object) -> None:
        self._tree.close()
        os.close(self._root)

    def make_directory(self, path: str) -> bool:
        """``path`` (absolute, inside the root) and its parents; True when it was missing."""
        made: list[str] = []

        def make(parent: int, name: str, parts: Parts) -> None:
            self._make(parent, name, parts)
            made.append(name)

        self._tree.close()
        self._tree.directory(lexical(path), make)
        return bool(made)

    def copy(self, context: Context, source: Source, destination: str) -> None:
        """Copy one source to ``destination``, an absolute path whose trailing slash has its meaning.

        Raises InvalidInput in docker's words when file and directory are in each other's way, HostError on a full disk.
        """
        try:
            if source.is_directory:
                self._copy_tree(context, source, destination)
            else:
                directory, name = self._file_place(destination, source.name)
                self._put(context, source.entries[0], directory, name, {})
        except OSError as error:
            raise _host_error(f"copying {source.name or '.'} to {destination}", error) from error

    def write(self, name: str, data: bytes, destination: str) -> None:
        """Write an inline file (a heredoc) as ``copy`` would place a file called ``name``."""
        try:
            directory, last = self._file_place(destination, name)
            parent = self._open(directory)
            self._make_room(parent, last, directory)
            descriptor = os.open(last, _CREATE, 0o600, dir_fd=parent)
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(descriptor, view) :]
                os.fchown(descriptor, *self._owner)
                mode = 0o644 if self._change_mode is None else self._change_mode(stat.S_IFREG | 0o644)
                os.fchmod(descriptor, mode)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise _host_error(f"writing {name} to {destination}", error) from error

    @contextmanager
    def open_directory(self, destination: str) -> Iterator[str]:
        """A path by which the directory ``destination`` (made when missing) can be reached from outside the root."""
        try:
            descriptor = os.dup(self._open(self._made(lexical(destination))))
        except OSError as error:
            raise _host_error(f"making {destination}", error) from error
        try:
            yield f"/proc/self/fd/{descriptor}/."
        finally:
            os.close(descriptor)

    # Destinations

    def _directory(self, parts: Parts) -> Parts | None:
        """The link-free path of an existing directory, or None."""
        try:
            self._tree.close()
            return self._tree.directory(parts).path
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _open(self, parts: Parts) -> int:
        return self._tree.directory(parts).descriptor

    def _made(self, parts: Parts) -> Parts:
        try:
            self._tree.close()
            return self._tree.directory(parts, self._make).path
        except NotADirectoryError as error:
            raise InvalidInput(
                f"cannot copy to non-directory: /{'/'.join(parts)}", remedy="choose another destination"
            ) from error

    def _make(self, parent: int, name: str, _: Parts) -> None:
        os.mkdir(name, _DIRECTORY_MODE, dir_fd=parent)
        os.chmod(name, _DIRECTORY_MODE, dir_fd=parent)  # whatever the umask
        if self._owner != (0, 0):
            os.chown(name, *self._owner, dir_fd=parent, follow_symlinks=False)

    def _file_place(self, destination: str, name: str) -> tuple[Parts, str]:
        """Directory and name a file goes to."""
        parts = lexical(destination)
        if destination.endswith("/") or not parts:
            return self._made(parts), name
        existing = self._directory(parts)
        if existing is not None:
            return existing, name
        return self._last(parts)

    def _last(self, parts: Parts) -> tuple[Parts, str]:
        """Where the last component of ``parts`` really lies once links in its place are followed inside the root."""
        for _ in range(MAX_LINKS):
            directory, name = self._made(parts[:-1]), parts[-1]
            try:
                link = os.readlink(name, dir_fd=self._open(directory))
            except OSError:
                return directory, name
            parts = _joined(directory, link)
            if not parts:
                return (), name
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))

    # Copying

    def _copy_tree(self, context: Context, source: Source, destination: str) -> None:
        parts = lexical(destination)
        top = self._directory(parts)
        if top is None:
            # A destination that is made here is a new directory, not a copy of the source's own.
            directory, name = ((), "") if destination.endswith("/") else self._last(parts)
            top = self._made((*directory, name) if name else parts)
        times: list[tuple[Parts, int]] = []
        links: dict[tuple[int, int], tuple[Parts, str]] = {}
        for entry in source.entries[1:]:
            self._check_cancel()
            *inside, name = entry.inside.split("/")
            directory = (*top, *inside)
            if entry.is_directory:
                self._put_directory(entry, directory, name)
                times.append(((*directory, name), entry.mtime))
            else:
                self._put(context, entry, directory, name, links)
        # Every file made in a directory changed its time, so times come last.
        for path, mtime in times:
            os.utime(self._open(path), ns=(mtime, mtime))

    def _put_directory(self, entry: Entry, directory: Parts, name: str) -> None:
        parent = self._open(directory)
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError as error:
            if not stat.S_ISDIR(os.lstat(name, dir_fd=parent).st_mode):
                path = "/" + "/".join((*directory, name))
                raise InvalidInput(
                    f"cannot copy to non-directory: {path}",
                    remedy="the image has a file or a link where the source has a directory",
                ) from error
        os.chown(name, *self._owner, dir_fd=parent, follow_symlinks=False)
        os.chmod(name, self._mode(entry), dir_fd=parent)

    def _put(
        self,
        context: Context,
        entry: Entry,
        directory: Parts,
        name: str,
        links: dict[tuple[int, int], tuple[Parts, str]],
    ) -> None:
        parent = self._open(directory)
        self._make_room(parent, name, directory)
        if stat.S_ISLNK(entry.mode):
            os.symlink(entry.link, name, dir_fd=parent)
            os.chown(name, *self._owner, dir_fd=parent, follow_symlinks=False)
            os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=parent, follow_symlinks=False)
            return
        if entry.links > 1:
            first = links.get(entry.identity)
            if first is not None:
                self._link(first, directory, name)
                return
            links[entry.identity] = (directory, name)
        with open_regular(context.root / entry.path) as original:
            descriptor = os.open(name, _CREATE, 0o600, dir_fd=parent)
            try:
                if entry.size:
                    copy_content(original.descriptor, descriptor, entry.size)
                os.fchown(descriptor, *self._owner)
                os.fchmod(descriptor, self._mode(entry))
                for key, value in whiteouts.image_xattrs(original.descriptor).items():
                    os.setxattr(descriptor, key, value)
                os.utime(descriptor, ns=(entry.mtime, entry.mtime))
            finally:
                os.close(descriptor)

    def _link(self, first: tuple[Parts, str], directory: Parts, name: str) -> None:
        holder = os.dup(self._open(first[0]))
        try:
            parent = self._open(directory)
            os.link(first[1], name, src_dir_fd=holder, dst_dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(holder)

    def _make_room(self, parent: int, name: str, directory: Parts) -> None:
        try:
            os.unlink(name, dir_fd=parent)
        except FileNotFoundError:
            return
        except (IsADirectoryError, PermissionError) as error:
            path = "/" + "/".join((*directory, name))
            raise InvalidInput(
                f"cannot replace to directory {path} with file", remedy="choose another destination"
            ) from error

    def _mode(self, entry: Entry) -> int:
        return stat.S_IMODE(entry.mode) if self._change_mode is None else self._change_mode(entry.mode)

    def _check_cancel(self) -> None:
        if self._cancel is not None and self._cancel.is_set():
            raise Cancelled("build cancelled")


def absolute(destination: str, working_dir: str) -> str:
    """A destination as written → an absolute clean path; a trailing slash (or ``.``) stays as a trailing slash."""
    joined = posixpath.join(working_dir or "/", destination)
    clean = "/" + posixpath.normpath(joined).lstrip("/")
    directory = destination in ("", ".") or destination.endswith(("/", "/."))
    return clean + "/" if directory and clean != "/" else clean


def check_sources(instruction: str, sources: Sequence[Source], inline: int, destination: str) -> None:
    """Several sources need a destination that ends with a slash; InvalidInput in docker's words."""
    if len(sources) + inline == 0:
        raise InvalidInput(f"{instruction} failed: no source files were specified")
    if len(sources) + inline > 1 and not destination.endswith("/"):
        raise InvalidInput(
            f"When using {instruction} with more than one source file, "
            "the destination must be a directory and end with a /",
            remedy="add a / to the destination",
        )


def _joined(directory: Parts, link: str) -> Parts:
    """The lexical join; ``..`` ends at the root, as for a process inside it."""
    steps: list[str] = [] if link.startswith("/") else list(directory)
    for step in link.split("/"):
        if step == "..":
            del steps[-1:]
        elif step not in ("", "."):
            steps.append(step)
    return tuple(steps)


def _host_error(step: str, error: OSError) -> EngineError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        from engine.storage.driver import NO_SPACE_REMEDY

        return HostError(step, error.strerror, remedy=NO_SPACE_REMEDY)
    return HostError(step, error.strerror or error)
