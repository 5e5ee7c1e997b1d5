"""The program's version.

Owns one string, kept equal to ``pyproject.toml`` by a test: reading the installed metadata costs more than a verb may.
"""

from __future__ import annotations

VERSION = "0.1.0"
