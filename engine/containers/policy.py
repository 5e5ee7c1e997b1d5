"""Restart policies: whether and when a container that ended is started again. Pure.

Owns docker's rules: 100 ms, doubled up to a minute, back to 100 ms after a run of ten seconds; a manual stop cancels.
"""

from __future__ import annotations

from engine.containers.quantities import RestartPolicy
from engine.values import dataclass

FIRST_DELAY_MS = 100
MAX_DELAY_MS = 60_000
STEADY_RUN_S = 10.0


@dataclass(frozen=True)
class Decision:
    """``restart`` is true if the container is to be started again after ``delay_ms``."""

    restart: bool
    delay_ms: int = 0


def after_exit(
    policy: RestartPolicy, *, exit_code: int, stopped_by_user: bool, restarts: int, last_delay_ms: int, ran_s: float
) -> Decision:
    """What follows the exit of a container that ran for ``ran_s`` seconds and was restarted ``restarts`` times."""
    if stopped_by_user or not policy.active:
        return Decision(False)
    if policy.name == "on-failure" and (exit_code == 0 or 0 < policy.max_retries <= restarts):
        return Decision(False)
    if ran_s >= STEADY_RUN_S or last_delay_ms == 0:
        return Decision(True, FIRST_DELAY_MS)
    return Decision(True, min(last_delay_ms * 2, MAX_DELAY_MS))


def after_boot(policy: RestartPolicy, *, exit_code: int, stopped_by_user: bool, restarts: int) -> bool:
    """Whether ``pilothouse restore`` starts a container that has run before the reboot.

    As dockerd at its start: always starts even what was stopped by hand, unless-stopped remembers that it was.
    """
    if policy.name == "always":
        return True
    if policy.name == "unless-stopped":
        return not stopped_by_user
    if policy.name == "on-failure":
        return not stopped_by_user and exit_code != 0 and not 0 < policy.max_retries <= restarts
    return False
