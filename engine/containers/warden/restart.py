"""A due restart: ``python -I -S restart.py DATA_ROOT RUN_DIR CONFIG_JSON ID``. The warden's short-lived child.

Owns nothing but its start. The restart itself takes the duty off the list, under the container's lock; a failure is
kept in the container's row.
"""

from __future__ import annotations

import sys
from pathlib import Path


def main(arguments: list[str]) -> int:
    """The program."""
    data_root, run_dir, settings, id = arguments
    sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
    from engine.containers.programs import engine_from
    from engine.errors import EngineError

    engine = engine_from(data_root, run_dir, settings)
    try:
        engine.containers.lifecycle.restart_due(id)
    except EngineError:
        return 1
    finally:
        engine.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
