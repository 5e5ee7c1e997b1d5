"""Where a container's mounts come from on the host: directories made for ``-v``, volumes made and filled.

Owns the difference between a missing source that is made and one that is an error (docker's rules), and the filling
of an empty named volume with what the image has at its target.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from engine.containers.config import ContainerConfig
from engine.containers.spec import ResolvedMount
from engine.errors import Conflict, HostError, InvalidInput, NotFound
from engine.host import rooted

if TYPE_CHECKING:
    from engine.engine import Engine


def check(config: ContainerConfig) -> None:
    """Refuse a bind whose source has to exist and does not."""
    for mount in config.binds:
        if mount.kind == "bind" and not mount.create_source and not Path(mount.source).exists():
            raise InvalidInput(
                f'invalid mount config for type "bind": bind source path does not exist: {mount.source}',
                remedy="make it first, or use -v, which makes missing directories",
            )


def make_volumes(engine: Engine, config: ContainerConfig, rootfs: Path) -> None:
    """Make the volumes a new container names; an empty one takes over what ``rootfs`` has at the target."""
    for mount in config.binds:
        if mount.kind != "volume":
            continue
        engine.volumes.create(mount.source, anonymous=mount.anonymous)
        if not mount.nocopy:
            inside = _inside(rootfs, mount.target)
            if inside is not None:
                engine.volumes.populate(mount.source, inside)


def resolve(engine: Engine, config: ContainerConfig) -> tuple[ResolvedMount, ...]:
    """Every mount with its source on the host, made where that is the rule."""
    check(config)
    found: list[ResolvedMount] = []
    for mount in config.binds:
        if mount.kind == "tmpfs":
            found.append(ResolvedMount(Path("tmpfs"), mount))
        elif mount.kind == "bind":
            source = Path(mount.source)
            if not source.exists():
                try:
                    source.mkdir(parents=True, exist_ok=True)
                except OSError as error:
                    raise HostError(
                        f"creating mount source path '{source}'",
                        error.strerror,
                        remedy="make the directory by hand, or mount another",
                    ) from error
            found.append(ResolvedMount(source, mount))
        else:
            try:
                found.append(ResolvedMount(engine.volumes.path(mount.source), mount))
            except NotFound:
                # Removed behind the container's back: docker makes it again, empty.
                engine.volumes.create(mount.source)
                found.append(ResolvedMount(engine.volumes.path(mount.source), mount))
    return tuple(found)


def drop_volumes(engine: Engine, names: Iterable[str]) -> None:
    """Remove the anonymous volumes of a container whose row is gone."""
    for name in names:
        try:
            engine.volumes.remove(name)
        except (Conflict, NotFound):
            continue  # Another container took it over, or it was never made.


def _inside(rootfs: Path, target: str) -> Path | None:
    """The host's path of directory ``target`` inside ``rootfs``, links resolved within it; None when it is none."""
    root = os.open(rootfs, os.O_PATH | os.O_DIRECTORY)
    try:
        descriptor = rooted.open_in(root, target, os.O_PATH | os.O_DIRECTORY)
    except OSError:
        return None
    finally:
        os.close(root)
    try:
        return Path(f"/proc/self/fd/{descriptor}").readlink()
    finally:
        os.close(descriptor)
