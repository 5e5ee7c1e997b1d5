"""The exit hook: what conmon runs when a container's process has ended. A program, not a module to import.

Owns nothing but its start: ``python -I -S exit_hook.py DATA_ROOT RUN_DIR CONFIG_JSON ID GENERATION``. It skips when a
living engine has left word that it deals with this exit; else it loads the engine and takes the one path every exit
takes. It never sleeps and never waits for a restart: that is the warden's.
"""

# pathlib takes longer to load than the hook's short way takes in all.

from __future__ import annotations

import os
import sys

LOG_LIMIT = 1 << 20


def main(arguments: list[str]) -> int:
    """The program; 0 when the exit is dealt with or left to a living engine."""
    data_root, run_dir, settings, id, generation = arguments
    sys.path.insert(0, os.path.realpath(__file__).rsplit("/", 3)[0])
    # Nothing else is loaded before this: an engine that stops containers waits for the processor we use.
    from engine.containers import marker

    if marker.stands(f"{run_dir}/containers/{id}/marker", int(generation)):
        return 0
    try:
        from engine.containers.exits import hook
        from engine.containers.programs import engine_from

        engine = engine_from(data_root, run_dir, settings)
        hook(engine, id, int(generation))
        engine.close()
    except Exception:
        import traceback

        _note(f"{run_dir}/exit-hook.log", f"container {id}:\n{traceback.format_exc()}")
        return 1
    return 0


def _note(path: str, text: str) -> None:
    """Nobody sees this program's output; the file keeps the last trouble, bounded."""
    with open(path, "a", encoding="utf-8") as file:
        if file.tell() > LOG_LIMIT:
            file.truncate(0)
        file.write(text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
