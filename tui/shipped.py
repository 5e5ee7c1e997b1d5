"""Where keymaps and themes are: in the wheel, in a checkout, and in the user's configuration.

Owns the paths only; reads nothing.
"""

from __future__ import annotations

import os
from pathlib import Path


def folder(kind: str) -> Path:
    """The shipped files of ``kind`` (``keymaps``, ``themes``): a wheel's package data, else the checkout's folder."""
    packaged = Path(__file__).parent / "data" / kind
    return packaged if packaged.is_dir() else Path(__file__).parent.parent / kind


def user_folder(kind: str = "") -> Path:
    """The user's own files, below ``$XDG_CONFIG_HOME`` or ``~/.config``."""
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path("~").expanduser() / ".config")
    return Path(base) / "pilothouse" / kind
