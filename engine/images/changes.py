"""``--change`` of commit and import: Dockerfile instructions applied to an image's configuration.

Owns the step from the whole document to its ``config`` member and back; what an instruction does is
``engine.build.metadata``'s, so that it is the same in a Dockerfile and here.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.images.config import ImageConfig
from engine.values import replace


def apply_changes(config: ImageConfig, changes: Sequence[str]) -> ImageConfig:
    """``config`` after every change in order; InvalidInput names the one that is wrong."""
    if not changes:
        return config
    from engine.build import metadata

    return replace(config, config=metadata.apply_changes(config.config, changes))
