"""Fills an empty volume with what an image holds at the mount point.

Owns the copy of one directory tree with everything a file system keeps about it (owner, mode, times, xattrs, hard
links, holes, devices) and its two crash-safe steps: copy beside the volume, then move in. Knows no names of volumes,
no rows and no locks: the collection calls it with the volume's lock held.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from engine.errors import HostError

STAGING = ".populating"
"""A copy that is not complete yet; after a crash it is thrown away."""

COMPLETE = ".populated"
"""A complete copy that is being moved in; after a crash the move goes on."""

CHUNK = 1 << 26

# Not every file system keeps every xattr (tmpfs and user.*, for one); docker's own copy tolerates these too.
_XATTR_REFUSALS = frozenset({errno.ENOTSUP, errno.EPERM, errno.EACCES, errno.EINVAL})


def is_empty(directory: Path) -> bool:
    """True when ``directory`` holds no entry at all."""
    with os.scandir(directory) as entries:
        return next(entries, None) is None


def populate(source: Path, home: Path, data: Path) -> None:
    """Copy the content and the root attributes of ``source`` into the empty directory ``data`` below ``home``.

    ``data`` stays the same inode: whoever has it mounted already sees the content appear. HostError on any failure,
    after which ``data`` is as empty as before (or, once the copy is complete, finished by the next ``resume``).
    """
    staging = home / STAGING
    try:
        discard(staging)
        staging.mkdir(mode=0o700)
        copy_tree(source, staging)
        staging.rename(home / COMPLETE)
    except OSError as error:
        discard(staging)
        raise HostError(
            f"copying image content into volume {home.name}",
            error.strerror or error,
            remedy="see whether the disk of the data root is full",
        ) from error
    resume(home, data)


def resume(home: Path, data: Path) -> None:
    """Bring an interrupted population of the volume at ``home`` to its end; does nothing where there was none."""
    complete = home / COMPLETE
    try:
        discard(home / STAGING)
        if not complete.is_dir():
            return
        with os.scandir(complete) as entries:
            names = [entry.name for entry in entries]
        for name in names:
            (complete / name).rename(data / name)
        _copy_attributes(complete, data, os.lstat(complete))
        complete.rmdir()
    except OSError as error:
        raise HostError(f"moving image content into volume {home.name}", error.strerror or error) from error


def discard(directory: Path) -> None:
    """Remove a directory tree if it is there."""
    if directory.is_dir():
        import shutil

        shutil.rmtree(directory)


def copy_tree(source: Path, target: Path) -> None:
    """Copy the tree at directory ``source`` into the existing directory ``target``; never follows a symlink."""
    links: dict[tuple[int, int], Path] = {}
    pending = [(source, target)]
    finished: list[tuple[Path, Path, os.stat_result]] = []
    while pending:
        origin, copy = pending.pop()
        finished.append((origin, copy, os.lstat(origin)))
        with os.scandir(origin) as entries:
            for entry in entries:
                made = copy / entry.name
                facts = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(facts.st_mode):
                    made.mkdir(mode=0o700)
                    pending.append((Path(entry.path), made))
                    continue
                if stat.S_ISSOCK(facts.st_mode):
                    continue
                inode = (facts.st_dev, facts.st_ino)
                if facts.st_nlink > 1 and inode in links:
                    os.link(links[inode], made, follow_symlinks=False)
                    continue
                links[inode] = made
                _copy_node(Path(entry.path), made, facts)
    # Children first: making an entry changes its directory's times.
    for origin, copy, facts in reversed(finished):
        _copy_attributes(origin, copy, facts)


def _copy_node(origin: Path, copy: Path, facts: os.stat_result) -> None:
    if stat.S_ISLNK(facts.st_mode):
        copy.symlink_to(origin.readlink())
    elif stat.S_ISREG(facts.st_mode):
        _copy_file(origin, copy, facts.st_size)
    else:
        os.mknod(copy, facts.st_mode, facts.st_rdev)
    _copy_attributes(origin, copy, facts)


def _copy_file(origin: Path, copy: Path, size: int) -> None:
    """Copy the data of a regular file; holes stay holes."""
    reader = os.open(origin, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        writer = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(writer, size)
            position = 0
            while position < size:
                try:
                    position = os.lseek(reader, position, os.SEEK_DATA)
                except OSError as error:
                    if error.errno == errno.ENXIO:
                        break
                    raise
                end = os.lseek(reader, position, os.SEEK_HOLE)
                position = _copy_extent(reader, writer, position, end)
        finally:
            os.close(writer)
    finally:
        os.close(reader)


def _copy_extent(reader: int, writer: int, position: int, end: int) -> int:
    while position < end:
        count = min(CHUNK, end - position)
        try:
            copied = os.copy_file_range(reader, writer, count, position, position)
        except OSError as error:
            # Different file systems on old kernels, or one that has no copy_file_range.
            if error.errno not in (errno.EXDEV, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                raise
            copied = os.pwrite(writer, os.pread(reader, min(count, 1 << 20), position), position)
        if copied == 0:
            return end
        position += copied
    return position


def _copy_attributes(origin: Path, copy: Path, facts: os.stat_result) -> None:
    # chown clears setuid bits and file capabilities, so it comes before both.
    os.chown(copy, facts.st_uid, facts.st_gid, follow_symlinks=False)
    for name in os.listxattr(origin, follow_symlinks=False):
        if name.startswith("trusted.overlay."):
            continue
        try:
            os.setxattr(copy, name, os.getxattr(origin, name, follow_symlinks=False), follow_symlinks=False)
        except OSError as error:
            if error.errno not in _XATTR_REFUSALS:
                raise
    if not stat.S_ISLNK(facts.st_mode):
        copy.chmod(stat.S_IMODE(facts.st_mode))
    os.utime(copy, ns=(facts.st_atime_ns, facts.st_mtime_ns), follow_symlinks=False)
