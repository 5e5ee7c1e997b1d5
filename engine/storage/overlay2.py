"""The overlayfs driver: one directory per layer, merged by the kernel.

Owns ``ROOT/ID/{diff,work,merged,link,lower,parent}`` and the short links ``ROOT/l/NAME``. Mount options name
directories relative to the root through those links, so that 120 layers fit in the one page the kernel reads.
Mounted with ``metacopy=off,redirect_dir=off``: otherwise a changed mode or a renamed directory would leave an upper
directory that is no complete difference (kernel overlayfs.rst).
"""

# ruff: noqa: PTH211 - strings and descriptors: a Path per file costs more than the file.

from __future__ import annotations

import base64
import errno
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from engine.errors import Conflict, HostError, InvalidInput, NotFound
from engine.host import mounts, rooted, syscalls
from engine.host.rooted import Parts
from engine.storage import difference, whiteouts
from engine.storage.driver import NO_SPACE_REMEDY, Change, Driver, Probe

CLONE_FS = 0x200
# docker's limit, kept so that every image made here runs there too.
MAX_DEPTH = 127
_PARAMETERS = Path("/sys/module/overlay/parameters")


class Overlay2(Driver):
    """Layers as overlayfs lower directories, writable directories as upper ones."""

    name = "overlay2"

    @staticmethod
    def probe(root: Path) -> Probe:
        """Mount an overlay where it would be used and see that it marks deletions as the kernel documents."""
        base = root.parent / f".probe-overlay-{os.getpid()}-{threading.get_native_id()}"
        try:
            for name in ("lower/gone", "upper", "work", "merged"):
                (base / name).mkdir(parents=True)
            (base / "lower" / "file").touch()
            _mount_relative(base, "merged", "lower", "upper", "work")
            try:
                (base / "merged" / "file").unlink()
                (base / "merged" / "gone").rmdir()
                (base / "merged" / "gone").mkdir()
                # Without d_type in directory entries the kernel shows deleted names.
                shown = os.listdir(base / "merged")
            finally:
                mounts.unmount(base / "merged")
            if shown != ["gone"]:
                return Probe(False, f"the file system of {root.parent} gives no file types (xfs made with ftype=0?)")
            if not whiteouts.is_overlay_whiteout((base / "upper" / "file").lstat()):
                return Probe(False, "overlayfs here does not mark deleted files with a device 0:0")
            if not whiteouts.is_overlay_opaque(str(base / "upper" / "gone")):
                return Probe(False, f"the file system of {root.parent} keeps no trusted.* extended attributes")
            return Probe(True)
        except (OSError, HostError) as error:
            return Probe(False, f"an overlay cannot be mounted in {root.parent}: {error}")
        finally:
            _quietly_remove(base)

    def create(self, id: str, parent: str | None) -> None:
        directory = self.root / self.check(id)
        lower = self._lower_of(parent)
        (self.root / "l").mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            directory.mkdir(mode=0o710)
        except FileExistsError as error:
            raise Conflict(f"storage directory {id} exists already") from error
        try:
            template = self.root if parent is None else self.root / parent / "diff"
            status = template.stat()
            for name in ("diff", "work", "merged"):
                (directory / name).mkdir()
            # The merged root shows the upper directory's attributes: keep the image's, whatever the umask says.
            (directory / "diff").chmod(0o755 if parent is None else stat.S_IMODE(status.st_mode))
            if parent is not None:
                os.chown(directory / "diff", status.st_uid, status.st_gid)
                os.utime(directory / "diff", ns=(status.st_mtime_ns, status.st_mtime_ns))
                (directory / "parent").write_text(parent)
            (directory / "lower").write_text(lower)
            self._make_short_link(id)
        except OSError as error:
            self.remove(id)
            raise _host_error(f"creating storage directory {id}", error) from error

    def mount(self, id: str) -> Path:
        directory = self.root / self.check(id)
        lower = self._read(id, "lower")
        if not lower:
            return directory / "diff"
        merged = directory / "merged"
        if merged.stat().st_dev == directory.stat().st_dev:
            _mount_relative(self.root, f"{id}/merged", lower, f"{id}/diff", f"{id}/work")
        return merged

    def unmount(self, id: str) -> None:
        mounts.unmount(self.root / self.check(id) / "merged")

    def remove(self, id: str) -> None:
        self.unmount(id)
        directory = self.root / id
        try:
            short = (directory / "link").read_text()
        except OSError:
            short = ""
        try:
            if short:
                (self.root / "l" / short).unlink(missing_ok=True)
            rooted.remove(str(directory))
        except OSError as error:
            raise _host_error(f"removing storage directory {id}", error) from error

    def apply(self, id: str, tar: BinaryIO) -> int:
        from engine.storage.unpack import Deletions, source_of, unpack  # as pack below: most verbs move no layer

        lowers = self._lower_paths(id)

        def below(parts: Parts) -> Path | None:
            return _find_below(lowers, parts)

        return unpack(source_of(tar), self.root / self.check(id) / "diff", Deletions.OVERLAY, below=below)

    def changes(self, id: str) -> Iterator[Change]:
        found = []
        for node in self._nodes(id):
            if node.path:
                found.append(Change(node.kind, f"/{node.path}"))
            if node.opaque:
                found.extend(self._hidden(id, node))
        yield from sorted(found, key=lambda change: os.fsencode(change.path))

    def diff(self, id: str, out: BinaryIO) -> int:
        from engine.storage.pack import pack

        return pack(self._nodes(id), out)

    def usage(self, id: str) -> int:
        return tree_usage(str(self.root / self.check(id) / "diff"))

    def describe(self, id: str) -> dict[str, str]:
        directory = self.root / self.check(id)
        data = {
            "LowerDir": ":".join(self._lower_paths(id)),
            "MergedDir": str(directory / "merged"),
            "UpperDir": str(directory / "diff"),
            "WorkDir": str(directory / "work"),
        }
        if not data["LowerDir"]:
            del data["LowerDir"]
        return data

    def parent(self, id: str) -> str | None:
        try:
            return (self.root / self.check(id) / "parent").read_text() or None
        except OSError:
            return None

    def ids(self) -> list[str]:
        try:
            return sorted(name for name in os.listdir(self.root) if name != "l" and not name.startswith("."))
        except FileNotFoundError:
            return []

    def _nodes(self, id: str) -> Iterator[difference.Node]:
        return difference.of_overlay(str(self.root / self.check(id) / "diff"), self._lower_paths(id))

    def _hidden(self, id: str, node: difference.Node) -> Iterator[Change]:
        """What an opaque directory hides: the names below that were not made again."""
        shown: dict[str, bool] = {}
        for lower in _directories_below(self._lower_paths(id), tuple(node.path.split("/"))):
            for name in os.listdir(lower):
                if name not in shown:
                    shown[name] = not whiteouts.is_overlay_whiteout(os.lstat(f"{lower}/{name}"))
        own = self.root / id / "diff" / node.path
        for name in sorted(shown, key=os.fsencode):
            if shown[name] and not os.path.lexists(own / name):
                yield Change(difference.DELETED, f"/{node.path}/{name}")

    def _lower_of(self, parent: str | None) -> str:
        """The ``lowerdir`` option of a directory over ``parent``."""
        if parent is None:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            return ""
        below = self._read(parent, "lower")
        lower = f"l/{self._read(parent, 'link')}" + (f":{below}" if below else "")
        if lower.count(":") + 1 > MAX_DEPTH:
            raise InvalidInput(
                f"max depth exceeded: an image has at most {MAX_DEPTH} layers",
                remedy="join RUN instructions with &&, or export and import the image to make it one layer",
            )
        return lower

    def _lower_paths(self, id: str) -> list[str]:
        lower = self._read(id, "lower")
        return [os.path.realpath(self.root / link) for link in lower.split(":")] if lower else []

    def _read(self, id: str, name: str) -> str:
        try:
            return (self.root / self.check(id) / name).read_text()
        except FileNotFoundError as error:
            raise NotFound(
                f"storage directory {id} does not exist or is incomplete",
                remedy="remove and load or build the image again",
            ) from error

    def _make_short_link(self, id: str) -> None:
        while True:
            short = base64.b32encode(os.urandom(6)).decode().rstrip("=")
            # Written first: if we die here, ``remove`` still knows the link's name.
            (self.root / id / "link").write_text(short)
            with suppress(FileExistsError):
                os.symlink(f"../{id}/diff", self.root / "l" / short)
                return


def _mount_relative(base: Path, target: str, lower: str, upper: str, work: str) -> None:
    """Mount an overlay whose options are relative to ``base``, in a thread that has its own working directory."""
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    for parameter in ("metacopy", "redirect_dir"):
        if (_PARAMETERS / parameter).exists():
            options += f",{parameter}=off"
    failure: list[BaseException] = []

    def enter_and_mount() -> None:
        try:
            syscalls.unshare(CLONE_FS)
            os.chdir(base)
            mounts.mount("overlay", Path(target), "overlay", 0, options)
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=enter_and_mount, name="overlay-mount")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]


def _directories_below(lowers: list[str], parts: Parts) -> list[str]:
    """The directories that merge at ``parts`` in the layers ``lowers``, topmost first."""
    rules = difference.OverlayRules()
    current = lowers
    for part in parts:
        found = rules.find(current, part) or []
        current = [path for path in found if stat.S_ISDIR(os.lstat(path).st_mode)]
    return current


def _find_below(lowers: list[str], parts: Parts) -> Path | None:
    found = difference.OverlayRules().find(_directories_below(lowers, parts[:-1]), parts[-1])
    return Path(found[0]) if found else None


def tree_usage(root: str) -> int:
    """Bytes of all files below ``root``, hard links once."""
    total = 0
    seen: set[int] = set()
    pending = [root]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    status = entry.stat(follow_symlinks=False)
                    if status.st_nlink > 1:
                        if status.st_ino in seen:
                            continue
                        seen.add(status.st_ino)
                    total += status.st_size
    return total


def _quietly_remove(base: Path) -> None:
    try:
        rooted.remove(str(base))
    except OSError:
        return


def _host_error(step: str, error: OSError) -> HostError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return HostError(step, error.strerror or error, remedy=NO_SPACE_REMEDY if full else "")
