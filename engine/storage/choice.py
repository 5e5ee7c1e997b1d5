"""Which storage driver a data root uses.

Owns the order of preference and the rule that a data root keeps the driver it began with. Probes by doing: no file
system names, no kernel versions.
"""

from __future__ import annotations

import os
from pathlib import Path

from engine.config import STORAGE_ENV, Config
from engine.errors import HostError, InvalidInput
from engine.storage.driver import Driver, Probe
from engine.storage.overlay2 import Overlay2
from engine.storage.vfs import Vfs

DRIVERS: tuple[type[Driver], ...] = (Overlay2, Vfs)


def choose(config: Config) -> Driver:
    """The driver ``config`` names, else the one the data root already uses, else the first that works there."""
    by_name = {driver.name: driver for driver in DRIVERS}
    if config.storage_driver != "auto":
        if config.storage_driver not in by_name:
            raise InvalidInput(
                f"unknown storage driver {config.storage_driver!r}",
                remedy=f"set {STORAGE_ENV} to one of: auto, {', '.join(by_name)}",
            )
        chosen = by_name[config.storage_driver]
        root = config.data_root / chosen.name
        if not _in_use(root):
            _require(chosen, _probe(chosen, root))
        return chosen(root)
    for driver in DRIVERS:
        if _in_use(config.data_root / driver.name):
            return driver(config.data_root / driver.name)
    reasons = []
    for driver in DRIVERS:
        root = config.data_root / driver.name
        probe = _probe(driver, root)
        if probe.usable:
            return driver(root)
        reasons.append(f"{driver.name}: {probe.reason}")
    raise HostError(
        "choosing a storage driver",
        "; ".join(reasons),
        remedy="put the data root on a local file system (ext4, xfs, btrfs) with --data-root",
    )


def _in_use(root: Path) -> bool:
    try:
        return bool(os.listdir(root))
    except OSError:
        return False


def _probe(driver: type[Driver], root: Path) -> Probe:
    try:
        root.parent.mkdir(parents=True, exist_ok=True, mode=0o711)
    except OSError as error:
        return Probe(False, f"{root.parent}: {error.strerror}")
    return driver.probe(root)


def _require(driver: type[Driver], probe: Probe) -> None:
    if not probe.usable:
        raise HostError(f"using storage driver {driver.name}", probe.reason, remedy="use another driver or data root")
