"""What a container mounts: binds, named and anonymous volumes, tmpfs; the ``-v`` and ``--tmpfs`` forms.

Owns the frozen ``Mount`` and its parsing. Never touches the file system: ``sources.py`` makes what is missing.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from engine.errors import InvalidInput
from engine.values import dataclass, fields

VOLUME_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+\Z")
PROPAGATIONS = ("rprivate", "private", "rshared", "shared", "rslave", "slave")
TMPFS_FORM = "use TARGET[:OPTIONS], for example /run:size=64m,mode=1777"
_TMPFS_FLAGS = (
    "defaults ro rw suid nosuid dev nodev exec noexec sync async dirsync mand nomand atime noatime diratime nodiratime "
    "relatime norelatime strictatime nostrictatime private rprivate shared rshared slave rslave"
)
TMPFS_SETTINGS = ("size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol")
FORM = "use SOURCE:TARGET[:OPTIONS], for example data:/var/lib/data or /srv/www:/www:ro"


@dataclass(frozen=True)
class Mount:
    """One mount of a container.

    ``kind`` is ``bind``, ``volume`` or ``tmpfs``; ``source`` the host path, the volume's name (empty until an
    anonymous volume is made) or, for tmpfs, nothing; ``target`` an absolute, clean path inside. ``create_source`` is
    true if a missing host directory is made, as ``-v`` does and ``--mount`` does not. ``nocopy`` keeps the image's
    content out of a new volume. ``options`` are a tmpfs's mount options. ``written`` is the ``-v`` text docker's
    ``HostConfig.Binds`` shows, empty for the image's own volumes.
    """

    kind: str
    source: str
    target: str
    read_only: bool = False
    create_source: bool = False
    nocopy: bool = False
    anonymous: bool = False
    propagation: str = "rprivate"
    options: tuple[str, ...] = ()
    written: str = ""

    def to_json(self) -> dict[str, Any]:
        """The fields that differ from their defaults."""
        return {
            each.name: getattr(self, each.name) for each in fields(self) if each.default != getattr(self, each.name)
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Mount:
        """The inverse of ``to_json``."""
        return cls(**{**data, "options": tuple(data.get("options", ()))})


def parse_volume(text: str) -> Mount:
    """One ``-v`` argument, with docker's grammar: ``[SOURCE:]TARGET[:ro,rw,nocopy,z,Z,rprivate,...]``.

    A SOURCE that starts with ``/`` is a host path, with ``.`` a host path from the working directory, anything else a
    volume's name.
    """
    parts = text.split(":")
    if len(parts) > 3 or "" in parts:
        raise InvalidInput(f"invalid volume specification: '{text}'", remedy=FORM)
    source, target, words = ("", parts[0], "") if len(parts) == 1 else (parts[0], parts[1], "".join(parts[2:]))
    target = clean_target(target, text)
    settings = _options(words, text)
    if not source:
        return Mount("volume", "", target, anonymous=True, **settings)
    if source.startswith((".", "~")):
        source = str(Path(source).expanduser().absolute())
    if source.startswith("/"):
        if settings.get("nocopy"):
            raise InvalidInput(f"invalid volume specification: '{text}': nocopy is for volumes", remedy=FORM)
        source = posixpath.normpath(source)
        written = ":".join([source, target, *([words] if words else [])])
        return Mount("bind", source, target, create_source=True, written=written, **settings)
    if not VOLUME_NAME.match(source):
        raise InvalidInput(
            f'create {source}: "{source}" includes invalid characters for a local volume name, only '
            '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed',
            remedy="if you intended to pass a host directory, use an absolute path",
        )
    written = ":".join([source, target, *([words] if words else [])])
    return Mount("volume", source, target, written=written, **settings)


def parse_tmpfs(text: str) -> Mount:
    """One ``--tmpfs`` argument: ``TARGET[:OPTION,OPTION]``, with the options docker takes."""
    target, _, words = text.partition(":")
    options = tuple(word for word in words.split(",") if word)
    for option in options:
        name, equals, _ = option.partition("=")
        if name not in TMPFS_SETTINGS if equals else name not in _TMPFS_FLAGS.split():
            raise InvalidInput(f'invalid tmpfs option ["{option}"]', remedy=TMPFS_FORM)
    return Mount("tmpfs", "", clean_target(target, text, TMPFS_FORM), options=options)


def clean_target(target: str, text: str, form: str = FORM) -> str:
    """``target`` normalised; InvalidInput, with ``form`` as remedy, when it is not absolute or is the root itself."""
    if not target.startswith("/"):
        raise InvalidInput(
            f"invalid volume specification: '{text}': invalid mount config: invalid mount path: '{target}' "
            "mount path must be absolute",
            remedy=form,
        )
    clean = posixpath.normpath("/" + target.lstrip("/"))
    if clean == "/":
        raise InvalidInput(f"invalid volume specification: '{text}': destination can't be '/'", remedy=form)
    return clean


def _options(words: str, text: str) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for word in filter(None, words.split(",")):
        if word in ("rw", "ro"):
            if "read_only" in settings:
                raise InvalidInput(f"invalid volume specification: '{text}': invalid mode: {words}", remedy=FORM)
            settings["read_only"] = word == "ro"
        elif word == "nocopy":
            settings["nocopy"] = True
        elif word in PROPAGATIONS:
            settings["propagation"] = word
        elif word not in ("z", "Z", "cached", "delegated", "consistent"):
            # z and Z relabel for SELinux, the others are hints of other systems: accepted, without effect here.
            raise InvalidInput(f"invalid volume specification: '{text}': invalid mode: {words}", remedy=FORM)
    return settings
