"""The container engine: everything Pilothouse does to a host, and nothing it shows.

Owns the state, the content, the containers, the networks and the firewall rules of one data root. Never imports
``tui``, Textual or Rich, never prints. Called by the console, the command line, the exit hook and the warden.

Importing this package loads nothing heavy; ``Engine`` is resolved on first use.
"""

from __future__ import annotations

# As typing's, without loading typing: the exit hook's short way has no use for it.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from engine.config import Config
    from engine.engine import Engine

__all__ = ["Config", "Engine", "__version__"]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """Load the composition root only when somebody asks for it, so ``import engine`` stays cheap."""
    if name == "Engine":
        from engine.engine import Engine

        return Engine
    if name == "Config":
        from engine.config import Config

        return Config
    raise AttributeError(f"module 'engine' has no attribute {name!r}")
