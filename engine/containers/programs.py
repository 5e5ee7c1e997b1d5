"""How the engine's own programs (exit hook, warden, due restart) come to an engine from their arguments.

Owns the one line of wiring they share. They never recover other processes' abandoned work: each does its own part.
"""

from __future__ import annotations

import json
from pathlib import Path

from engine.config import Config
from engine.engine import Engine


def config_from(data_root: str, run_dir: str, settings: str) -> Config:
    """The configuration ``conmon.engine_program`` put on the command line."""
    values = json.loads(settings)
    values["netns_dir"] = Path(values["netns_dir"])
    return Config(data_root=Path(data_root), run_dir=Path(run_dir), **values)


def engine_from(data_root: str, run_dir: str, settings: str) -> Engine:
    """An engine that does nothing on its own."""
    return Engine(config_from(data_root, run_dir, settings), recover=False)
