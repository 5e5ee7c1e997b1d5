"""The image ``busybox:latest``, assembled offline from the host's static busybox.

Owns the file tree of that image, laid out like the official one (applets in /bin as links, the usual users and
directories). The same program gives the same image id. Stores nothing itself: it writes a layer tar.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from engine.errors import NotFound
from engine.host import processes
from engine.images.config import ImageConfig, RunConfig
from engine.storage import tar
from engine.values import dataclass

NAME = "busybox:latest"
CREATED_BY = "assembled by pilothouse from the host's static busybox"
_PLACES = ("/bin/busybox", "/usr/bin/busybox", "/sbin/busybox", "/usr/sbin/busybox", "/usr/local/bin/busybox")
_REMEDY = "install it: apt-get install busybox-static, or dnf install busybox"
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PT_INTERP = 3
_NOBODY = 65534

_PASSWD = """\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
bin:x:2:2:bin:/bin:/bin/false
sys:x:3:3:sys:/dev:/bin/false
sync:x:4:100:sync:/bin:/bin/sync
mail:x:8:8:mail:/var/spool/mail:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
operator:x:37:37:Operator:/var:/bin/false
nobody:x:65534:65534:nobody:/home:/bin/false
"""
_GROUPS = (
    ("root", 0), ("daemon", 1), ("bin", 2), ("sys", 3), ("adm", 4), ("tty", 5), ("disk", 6), ("lp", 7), ("mail", 8),
    ("kmem", 9), ("wheel", 10), ("cdrom", 11), ("dialout", 18), ("floppy", 19), ("video", 28), ("audio", 29),
    ("tape", 32), ("www-data", 33), ("operator", 37), ("utmp", 43), ("plugdev", 46), ("staff", 50), ("lock", 54),
    ("netdev", 82), ("users", 100), ("nobody", _NOBODY),
)  # fmt: skip
_DIRECTORIES = (
    ("bin", 0o755, 0), ("dev", 0o755, 0), ("etc", 0o755, 0), ("home", 0o755, _NOBODY), ("lib", 0o755, 0),
    ("proc", 0o755, 0), ("root", 0o700, 0), ("run", 0o755, 0), ("sys", 0o755, 0), ("tmp", 0o1777, 0),
    ("usr", 0o755, 0), ("usr/bin", 0o755, 0), ("usr/sbin", 0o755, 0), ("var", 0o755, 0), ("var/log", 0o755, 0),
    ("var/spool", 0o755, 0), ("var/spool/mail", 0o755, 8), ("var/www", 0o755, 33),
)  # fmt: skip


class Output(Protocol):
    """Where the tar goes."""

    def write(self, data: bytes, /) -> int: ...


@dataclass(frozen=True)
class Busybox:
    """The host's program: where it is, what it can do, when it was made (seconds since the epoch)."""

    path: Path
    applets: tuple[str, ...]
    made: int


def find(places: Sequence[str] = _PLACES) -> Busybox:
    """The host's static busybox; NotFound with the remedy when there is none that would run in a container."""
    dynamic = ""
    for place in places:
        path = Path(place)
        try:
            head = path.open("rb").read(64 * 1024)
        except OSError:
            continue
        if not is_static(head):
            dynamic = dynamic or place
            continue
        listing = processes.run("asking busybox for its applets", [place, "--list"]).stdout.decode()
        applets = {name.rpartition("/")[2] for name in listing.split()} - {"busybox"}
        return Busybox(path.resolve(), tuple(sorted(applets)), int(path.stat().st_mtime))
    why = f"{dynamic} needs shared libraries" if dynamic else "this host has no busybox"
    raise NotFound(f"cannot assemble image {NAME}: {why}", remedy=_REMEDY)


def is_static(head: bytes) -> bool:
    """True for an ELF program without an interpreter (elf(5)); ``head`` is the beginning of the file."""
    if head[:4] != b"\x7fELF" or len(head) < 64:
        return False
    order = "<" if head[5] == 1 else ">"
    if head[4] == 2:
        (table,) = struct.unpack_from(f"{order}Q", head, 32)
        size, count = struct.unpack_from(f"{order}HH", head, 54)
    else:
        (table,) = struct.unpack_from(f"{order}I", head, 28)
        size, count = struct.unpack_from(f"{order}HH", head, 42)
    if table + size * count > len(head):
        return False
    return all(struct.unpack_from(f"{order}I", head, table + size * index)[0] != _PT_INTERP for index in range(count))


def write_layer(busybox: Busybox, out: Output) -> None:
    """Write the image's only layer as an uncompressed tar; every time in it is the program's."""
    stamp = busybox.made * 1_000_000_000
    entries: list[tuple[tar.Entry, bytes]] = []
    for name, mode, owner in _DIRECTORIES:
        entries.append((tar.Entry(f"{name}/", tar.DIRECTORY, mode, owner, owner), b""))
    program = busybox.path.read_bytes()
    entries.append((tar.Entry("bin/busybox", mode=0o755, size=len(program)), program))
    for applet in busybox.applets:
        entries.append((tar.Entry(f"bin/{applet}", tar.HARDLINK, 0o755, link="bin/busybox"), b""))
    # Scripts that begin with #!/usr/bin/env expect it there.
    entries.append((tar.Entry("usr/bin/env", tar.SYMLINK, 0o777, link="../../bin/env"), b""))
    users = [line.partition(":")[0] for line in _PASSWD.splitlines()]
    for name, mode, text in (
        ("etc/group", 0o644, "".join(f"{group}:x:{gid}:\n" for group, gid in _GROUPS)),
        ("etc/passwd", 0o644, _PASSWD),
        ("etc/shadow", 0o640, "".join(f"{user}:*:::::::\n" for user in users)),
    ):
        data = text.encode()
        entries.append((tar.Entry(name, mode=mode, size=len(data)), data))
    for entry, data in entries:
        entry.mtime = stamp
        out.write(tar.encode(entry) + data + bytes(tar.padding(len(data))))
    out.write(tar.END)


def image_config(busybox: Busybox) -> ImageConfig:
    """The image's configuration, without layers and history."""
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(busybox.made))
    return ImageConfig(created=created, config=RunConfig(env=(_PATH,), cmd=("sh",)))
