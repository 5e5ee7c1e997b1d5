"""Running the OCI runtime where ``/`` is no mount point: in a chroot, as a rescue system or a build root has.

Owns a small script that stands in for the runtime there, and is itself the program which that script runs: it moves to
a mount namespace whose root is the chroot's directory and becomes the runtime. Elsewhere nothing of this is used.
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

from engine.errors import EngineError, HostError
from engine.host import chroots

_SCRIPT = """#!/bin/sh
# Written by pilothouse: / is no mount point here, and the container runtime needs one.
exec {python} -I -S {program} {runtime} "$@"
"""


def stand_in(runtime: Path, run_dir: Path) -> Path:
    """The script that runs ``runtime`` on a ``/`` that is a mount point; it has the runtime's name."""
    script = run_dir / "chroot" / runtime.name
    words = (sys.executable, Path(__file__).resolve(), runtime)
    python, program, quoted = (shlex.quote(str(word)) for word in words)
    text = _SCRIPT.format(python=python, program=program, runtime=quoted)
    try:
        if script.exists() and script.read_text() == text:
            return script
        script.parent.mkdir(parents=True, exist_ok=True)
        # Whole or not at all: another process may be about to run it.
        half = script.with_name(f"{runtime.name}.{os.getpid()}")
        half.write_text(text)
        half.chmod(0o700)
        half.rename(script)
    except OSError as error:
        raise HostError(f"writing {script}", error.strerror, remedy="see that the run dir is writable") from error
    return script


def main(arguments: list[str]) -> int:
    """Become the runtime with ``arguments`` (the program first) in a namespace that has a root of its own."""
    directory = Path.cwd()
    try:
        chroots.enter_own_root()
        os.chdir(directory)
        os.execv(arguments[0], arguments)
    except (EngineError, OSError) as error:
        sys.stderr.write(f"{error}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
