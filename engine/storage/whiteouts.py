"""Deletion marks: OCI's names in archives, overlayfs's marks on disk.

Owns both vocabularies (OCI image spec, "Whiteouts"; kernel overlayfs.rst, "whiteouts and opaque directories") and
which extended attributes belong to an image. Walks nothing.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress

PREFIX = ".wh."
OPAQUE = ".wh..wh..opq"
# aufs kept its own files under this prefix; old images still carry them.
AUFS_PREFIX = ".wh..wh."

OPAQUE_XATTR = "trusted.overlay.opaque"

_KEPT = ("security.capability", "security.ima", "system.posix_acl_access", "system.posix_acl_default")


def is_overlay_whiteout(status: os.stat_result) -> bool:
    """True for a character device 0:0, overlayfs's mark of a deleted name."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def is_overlay_opaque(path: str | int) -> bool:
    """True when a directory of an upper layer hides all that lower layers have in it."""
    try:
        return os.getxattr(path, OPAQUE_XATTR) == b"y"
    except OSError:
        return False


def belongs_to_image(xattr: str) -> bool:
    """True for attributes an image carries.

    ``trusted.*`` is overlayfs's own bookkeeping and would let an image steer the host's overlay; ``security.selinux``
    is the host's labelling.
    """
    return xattr in _KEPT or xattr.startswith("user.")


def image_xattrs(path: str | int) -> dict[str, bytes]:
    """The extended attributes of ``path`` (not followed) that belong to an image."""
    follow = isinstance(path, int)
    try:
        names = os.listxattr(path, follow_symlinks=follow)
    except OSError:
        return {}
    found = {}
    for name in names:
        if belongs_to_image(name):
            with suppress(OSError):  # gone meanwhile: the tree may belong to a running container
                found[name] = os.getxattr(path, name, follow_symlinks=follow)
    return found
