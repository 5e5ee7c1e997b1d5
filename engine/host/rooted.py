"""Opening and making files inside a root that may be hostile: no symlink or ``..`` leads out of it.

Owns openat2(2) with RESOLVE_IN_ROOT (Linux 5.6): the kernel resolves every path as if the root were ``/``. Every
function takes the root as a directory and the path as seen from inside.
"""

from __future__ import annotations

import ctypes
import os
import stat
from pathlib import Path

_SYS_OPENAT2 = 437
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_IN_ROOT = 0x10
_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_EMPTY_DIRECTORY_MODE = 0o755


class _OpenHow(ctypes.Structure):
    _fields_ = [("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64)]


def open_in(root: int, path: str, flags: int, mode: int = 0) -> int:
    """Open ``path`` as seen from directory ``root`` (a descriptor); OSError like ``os.open``."""
    how = _OpenHow(flags | os.O_CLOEXEC, mode, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS)
    result = _libc.syscall(
        ctypes.c_long(_SYS_OPENAT2),
        ctypes.c_int(root),
        ctypes.c_char_p(os.fsencode(path)),
        ctypes.byref(how),
        ctypes.c_size_t(ctypes.sizeof(how)),
    )
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return int(result)


def read_text(root: Path, path: str, limit: int = 4 << 20) -> str | None:
    """The text of a regular file inside ``root``, at most ``limit`` bytes; None when there is no such file."""
    directory = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        # Non-blocking: a fifo in the file's place must not hang us.
        descriptor = open_in(directory, path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return None
    finally:
        os.close(directory)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return None
        return file.read(limit).decode(errors="replace")


def make_directories(root: Path, path: str, *, owner: tuple[int, int] = (0, 0)) -> list[str]:
    """Make ``path`` and its parents inside ``root`` where missing; the ones made, outermost first.

    Only the last gets ``owner``. NotADirectoryError when a part exists and is something else.
    """
    made: list[str] = []
    directory = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        parts = [part for part in path.split("/") if part not in ("", ".")]
        for count in range(1, len(parts) + 1):
            inside = "/" + "/".join(parts[:count])
            try:
                os.close(open_in(directory, inside, os.O_PATH | os.O_DIRECTORY))
            except FileNotFoundError:
                parent = open_in(directory, "/" + "/".join(parts[: count - 1]), os.O_RDONLY | os.O_DIRECTORY)
                try:
                    os.mkdir(parts[count - 1], _EMPTY_DIRECTORY_MODE, dir_fd=parent)
                    if count == len(parts):
                        os.chown(parts[count - 1], *owner, dir_fd=parent, follow_symlinks=False)
                finally:
                    os.close(parent)
                made.append(inside)
    finally:
        os.close(directory)
    return made


def make_file(root: Path, path: str) -> list[str]:
    """Make an empty file at ``path`` inside ``root`` unless something is there; what was made, parents first."""
    parent, _, _ = path.rstrip("/").rpartition("/")
    directory = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        try:
            os.close(open_in(directory, path, os.O_PATH | os.O_NOFOLLOW))
            return []
        except FileNotFoundError:
            made = make_directories(root, parent) if parent else []
            os.close(open_in(directory, path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o755))
            return [*made, path]
    finally:
        os.close(directory)


def remove_empty(root: Path, paths: list[str]) -> None:
    """Remove those of ``paths`` that are still empty files or directories, innermost first; others stay."""
    directory = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        for path in reversed(paths):
            parent, _, name = path.rstrip("/").rpartition("/")
            try:
                above = open_in(directory, parent or "/", os.O_RDONLY | os.O_DIRECTORY)
            except OSError:
                continue
            try:
                status = os.stat(name, dir_fd=above, follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    os.rmdir(name, dir_fd=above)
                elif stat.S_ISREG(status.st_mode) and status.st_size == 0:
                    os.unlink(name, dir_fd=above)
            except OSError:
                continue
            finally:
                os.close(above)
    finally:
        os.close(directory)
