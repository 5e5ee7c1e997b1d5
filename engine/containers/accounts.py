"""``--user`` and ``--group-add``: names looked up in the image's own passwd and group files.

Owns docker's rules for user forms (libcontainer's ``user`` package): name, uid, name:group, uid:gid. Reads only inside
the root file system it is given, through ``engine.host.rooted``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from engine.errors import InvalidInput
from engine.host import rooted
from engine.values import dataclass

MAX_ID = (1 << 31) - 1


@dataclass(frozen=True)
class Account:
    """Who a process runs as; ``groups`` are the additional group ids, ``home`` is where HOME points."""

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    home: str = "/"


def lookup(rootfs: Path, user: str, group_add: Sequence[str] = ()) -> Account:
    """The account ``user`` means inside ``rootfs``; InvalidInput in docker's words when a name is unknown."""
    return resolve(
        user, group_add, rooted.read_text(rootfs, "/etc/passwd") or "", rooted.read_text(rootfs, "/etc/group") or ""
    )


def resolve(user: str, group_add: Sequence[str], passwd: str, group: str) -> Account:
    """``lookup`` on the texts of the two files."""
    name, colon, wanted = (user or "0").partition(":")
    users = [fields for fields in (line.split(":") for line in passwd.splitlines()) if len(fields) >= 6]
    groups = [fields for fields in (line.split(":") for line in group.splitlines()) if len(fields) >= 3]
    uid, gid, home, login = 0, 0, "/", ""
    entry = next((fields for fields in users if fields[0] == name), None)
    if entry is None and name.isdigit():
        uid = _number(name, f"uid {name}")
        entry = next((fields for fields in users if fields[2] == str(uid)), None)
    if entry is not None:
        login, uid, gid, home = entry[0], _number(entry[2], name), _number(entry[3], name), entry[5] or "/"
    elif not name.isdigit() and name:
        raise InvalidInput(
            f"unable to find user {name}: no matching entries in passwd file",
            remedy="the name is looked up in the image's /etc/passwd; give a number to use any uid",
        )
    extra: list[int] = []
    if colon and wanted:
        gid = _group(wanted, groups)
    elif login:
        extra = [
            _number(fields[2], fields[0])
            for fields in groups
            if len(fields) >= 4 and login in fields[3].split(",") and fields[2].isdigit()
        ]
    extra += [_group(each, groups) for each in group_add]
    return Account(uid, gid, tuple(dict.fromkeys(extra)), home)


def _group(name: str, groups: Sequence[Sequence[str]]) -> int:
    for fields in groups:
        if fields[0] == name:
            return _number(fields[2], name)
    if name.isdigit():
        return _number(name, f"gid {name}")
    raise InvalidInput(
        f"unable to find group {name}: no matching entries in group file",
        remedy="the name is looked up in the image's /etc/group; give a number to use any gid",
    )


def _number(text: str, what: str) -> int:
    if not text.isdigit() or int(text) > MAX_ID:
        raise InvalidInput(f"uids and gids must be in range 0-{MAX_ID}: {what}")
    return int(text)
