"""``--security-opt``: what docker lets one ask of a container's confinement, and which of it this engine carries out.

Owns the reading of the options. AppArmor and SELinux labels are not this engine's: asking for one is refused, so that
nobody believes a container to be confined that is not; asking for none is granted, as there is none.
"""

from __future__ import annotations

from collections.abc import Iterable

from engine.errors import InvalidInput, Unsupported
from engine.values import dataclass

_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_FALSE = ("0", "f", "F", "FALSE", "false", "False")
_NONE = {"apparmor": "unconfined", "label": "disable"}


@dataclass(frozen=True)
class Security:
    """``seccomp`` is ``unconfined``, the path of a docker-format profile, or empty for the engine's own."""

    seccomp: str = ""
    no_new_privileges: bool = False


def parse(options: Iterable[str]) -> Security:
    """The options as docker reads them, ``NAME=VALUE`` or the older ``NAME:VALUE``, the last of a name winning.

    InvalidInput in docker's words for what is none, Unsupported for what this engine does not carry out.
    """
    seccomp, no_new_privileges = "", False
    for option in options:
        if option == "no-new-privileges":
            no_new_privileges = True
            continue
        name, separator, value = option.partition("=" if "=" in option else ":")
        if not separator:
            raise InvalidInput(f'invalid --security-opt 1: "{option}"', remedy="write NAME=VALUE")
        if name == "seccomp":
            seccomp = "" if value == "builtin" else value
        elif name == "no-new-privileges" and value in (*_TRUE, *_FALSE):
            no_new_privileges = value in _TRUE
        elif name in _NONE:
            if value != _NONE[name]:
                raise Unsupported(
                    f'--security-opt "{option}" is not supported: this version confines with capabilities, seccomp '
                    "and masked paths alone",
                    remedy=f"leave it out, or say {name}={_NONE[name]}",
                )
        else:
            raise InvalidInput(
                f'invalid --security-opt 2: "{option}"', remedy="there are seccomp=FILE and no-new-privileges"
            )
    return Security(seccomp, no_new_privileges)
