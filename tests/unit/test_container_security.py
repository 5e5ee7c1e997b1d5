"""What ``--security-opt`` may say."""

from __future__ import annotations

import pytest

from engine.containers.security import Security, parse
from engine.errors import InvalidInput, Unsupported

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("options", "read"),
    [
        ((), Security()),
        (("no-new-privileges",), Security(no_new_privileges=True)),
        (("no-new-privileges=true",), Security(no_new_privileges=True)),
        (("no-new-privileges:true", "no-new-privileges:false"), Security()),
        (("seccomp=unconfined",), Security(seccomp="unconfined")),
        (("seccomp=/a:b",), Security(seccomp="/a:b")),
        (("seccomp=builtin",), Security()),
        (("apparmor=unconfined", "label:disable"), Security()),
    ],
)
def test_options_are_read_as_docker_does(options: tuple[str, ...], read: Security) -> None:
    assert parse(options) == read


@pytest.mark.parametrize("option", ["apparmor=docker-default", "label=type:svirt_apache_t", "label:level:s0"])
def test_confinement_that_would_not_happen_is_refused(option: str) -> None:
    with pytest.raises(Unsupported, match="not supported"):
        parse([option])


@pytest.mark.parametrize("option", ["", "seccomp", "nothing=1", "seccomp:/a=b", "no-new-privileges=maybe"])
def test_what_is_no_option_is_refused(option: str) -> None:
    with pytest.raises(InvalidInput, match="invalid --security-opt"):
        parse([option])
