"""Running the OCI runtime where ``/`` is no mount point: in a chroot, as a rescue system or a build root has.

Owns a small script that stands in for the runtime there. A runtime sets the propagation of ``/`` before it makes a
container's mounts, which the kernel refuses unless a mount begins there (mount(2)); so the script gives the runtime,
and it alone, a mount namespace in which one does. Elsewhere nothing of this is used.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from engine.errors import HostError

_SCRIPT = """#!/bin/sh
# Written by pilothouse: / is no mount point here, and the container runtime needs one.
# The mount that holds the place is made private first, so that nothing of this is seen outside.
exec unshare --mount --propagation unchanged sh -c '
  place=$0
  mount --make-private "$(findmnt --noheadings --first-only --output TARGET --target "$place")" &&
  mount --rbind / "$place" && mount --make-rprivate "$place" && exec chroot "$place" "$@"
' {place} {runtime} "$@"
"""


def is_chroot() -> bool:
    """True where no mount begins at this process's ``/``."""
    with open("/proc/self/mountinfo", "rb") as table:
        return not any(line.split(b" ", 5)[4] == b"/" for line in table)


def stand_in(runtime: Path, run_dir: Path) -> Path:
    """The script that runs ``runtime`` on a ``/`` that is a mount point; it has the runtime's name."""
    place = run_dir / "chroot"
    script = place / runtime.name
    text = _SCRIPT.format(place=shlex.quote(str(place / "root")), runtime=shlex.quote(str(runtime)))
    try:
        if script.exists() and script.read_text() == text:
            return script
        (place / "root").mkdir(parents=True, exist_ok=True)
        # Whole or not at all: another process may be about to run it.
        half = place / f"{runtime.name}.{os.getpid()}"
        half.write_text(text)
        half.chmod(0o700)
        half.rename(script)
    except OSError as error:
        raise HostError(f"writing {script}", error.strerror, remedy="see that the run dir is writable") from error
    return script
