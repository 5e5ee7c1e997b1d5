"""What the instructions that only describe an image do to its configuration.

Owns CMD, ENTRYPOINT, ENV, LABEL, EXPOSE, USER, VOLUME, STOPSIGNAL, HEALTHCHECK, SHELL, ONBUILD and the working
directory of WORKDIR, with docker's text for the history. Pure: a ``RunConfig`` in, another out. Serves the build and
``--change`` of commit and import alike.
"""

from __future__ import annotations

import posixpath
import re
import signal
from collections.abc import Iterable, Sequence

from engine.build import instructions as typed
from engine.build.conversion import instruction as convert
from engine.build.expansion import ExpansionError, Rules, quote
from engine.build.failure import DockerfileError, invalid
from engine.build.parser import parse
from engine.build.scope import Scope
from engine.errors import InvalidInput
from engine.images.config import Healthcheck, RunConfig
from engine.values import dataclass, replace

DEFAULT_SHELL = ("/bin/sh", "-c")
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_PORT = re.compile(r"(\d+)(?:-(\d+))?\Z")
_CHANGES = (
    *(typed.Cmd, typed.Entrypoint, typed.Env, typed.Expose, typed.Label, typed.Onbuild, typed.User, typed.Volume),
    *(typed.Workdir, typed.StopSignal, typed.Healthcheck, typed.Shell),
)


class MetadataError(ValueError):
    """An instruction's value means nothing; the message is docker's."""


@dataclass(frozen=True)
class Described:
    """The configuration after an instruction, and the instruction's text for the history (empty: not in it)."""

    config: RunConfig
    text: str


def describe(config: RunConfig, instruction: typed.Instruction, scope: Scope, *, cmd_was_set: bool) -> Described | None:
    """Carry out ``instruction``; None when it is none of those that only describe.

    ``cmd_was_set``: a CMD stood before in the same Dockerfile, so that ENTRYPOINT leaves it alone. Raises
    MetadataError and ExpansionError.
    """
    if isinstance(instruction, typed.Env):
        return _env(config, instruction, scope)
    if isinstance(instruction, typed.Label):
        return _label(config, instruction, scope)
    if isinstance(instruction, (typed.Cmd, typed.Entrypoint)):
        return _command(config, instruction, cmd_was_set)
    if isinstance(instruction, typed.Expose):
        words = sorted(word for port in instruction.ports for word in scope.expand_words(port))
        ports = sorted({port for word in words for port in exposed(word)})
        every = tuple(sorted({*config.exposed_ports, *ports}))
        return Described(replace(config, exposed_ports=every), f"EXPOSE [{' '.join(ports)}]")
    if isinstance(instruction, typed.User):
        user = scope.expand(instruction.user)
        return Described(replace(config, user=user), f"USER {user}")
    if isinstance(instruction, typed.Volume):
        paths = [scope.expand(path) for path in instruction.paths]
        if not all(paths):
            raise MetadataError("VOLUME specified can not be an empty string")
        volumes = tuple(sorted({*config.volumes, *paths}))
        return Described(replace(config, volumes=volumes), f"VOLUME [{' '.join(paths)}]")
    if isinstance(instruction, typed.StopSignal):
        name = scope.expand(instruction.signal)
        check_signal(name)
        return Described(replace(config, stop_signal=name), f"STOPSIGNAL {name}")
    if isinstance(instruction, typed.Healthcheck):
        return _healthcheck(config, instruction)
    if isinstance(instruction, typed.Shell):
        return Described(replace(config, shell=instruction.words), f"SHELL [{' '.join(instruction.words)}]")
    if isinstance(instruction, typed.Onbuild):
        on_build = (*config.on_build, instruction.expression)
        return Described(replace(config, on_build=on_build), "")  # no part of docker's history
    return None


def apply_changes(config: RunConfig, changes: Sequence[str]) -> RunConfig:
    """``--change`` of commit and import: each is one Dockerfile instruction. InvalidInput in docker's words."""
    cmd_was_set = False
    for change in changes:
        try:
            nodes = parse(change, "--change").nodes
            for node in nodes:
                instruction = convert(node)
                if not isinstance(instruction, _CHANGES):
                    raise InvalidInput(
                        f"{node.written.lower()} is not a valid change command",
                        remedy=f"use one of {', '.join(kind.__name__.upper() for kind in _CHANGES)}",
                    )
                scope = Scope(config.env, {}, {}, Rules())
                if isinstance(instruction, typed.Workdir):
                    config = replace(config, working_dir=working_dir(config, scope.expand(instruction.path)))
                    continue
                described = describe(config, instruction, scope, cmd_was_set=cmd_was_set)
                assert described is not None
                config = described.config
                cmd_was_set = cmd_was_set or isinstance(instruction, typed.Cmd)
        except DockerfileError as error:
            raise InvalidInput(f"invalid change {change!r}: {error}", remedy=error.remedy) from error
        except (MetadataError, ExpansionError) as error:
            raise InvalidInput(f"invalid change {change!r}: {error}") from error
    return config


def in_shell(config: RunConfig, words: Sequence[str]) -> tuple[str, ...]:
    """A shell-form command as an argument list."""
    return (*(config.shell or DEFAULT_SHELL), " ".join(words))


def working_dir(config: RunConfig, path: str) -> str:
    """Where WORKDIR ``path`` leads from the current working directory: absolute and clean."""
    joined = posixpath.join(config.working_dir or "/", path)
    return "/" + posixpath.normpath("/" + joined).lstrip("/")


def with_environment(env: Iterable[str], name: str, value: str) -> tuple[str, ...]:
    """``env`` with ``name`` set, in its old place when it has one."""
    lines = list(env)
    for index, line in enumerate(lines):
        if line.partition("=")[0] == name:
            lines[index] = f"{name}={value}"
            return tuple(lines)
    return (*lines, f"{name}={value}")


def exposed(word: str) -> list[str]:
    """``8000-8002/udp`` → each port with its protocol. MetadataError in docker's words."""
    port, _, protocol = word.partition("/")
    # docker takes a host part and ignores it.
    port = port.rpartition(":")[2]
    protocol = protocol.lower() or "tcp"
    if protocol not in ("tcp", "udp", "sctp"):
        raise MetadataError(f"invalid proto: {protocol}")
    match = _PORT.match(port)
    if match is None:
        raise MetadataError(f"invalid containerPort: {port}")
    first, last = int(match[1]), int(match[2] or match[1])
    if last < first or last > 65535:
        raise MetadataError(f"invalid containerPort: {port}")
    return [f"{number}/{protocol}" for number in range(first, last + 1)]


def check_signal(name: str) -> None:
    """MetadataError unless ``name`` is a signal as docker takes them: 9, KILL, SIGKILL, RTMIN+3."""
    if name.isdigit():
        if 0 < int(name) <= signal.SIGRTMAX:
            return
        raise MetadataError(f"invalid signal: {name}")
    bare = name.upper().removeprefix("SIG")
    if re.fullmatch(r"RTMIN(\+([1-9]|1[0-5]))?|RTMAX(-([1-9]|1[0-4]))?", bare):
        return
    if f"SIG{bare}" not in signal.Signals.__members__:
        raise MetadataError(f"invalid signal: {name}")


def _env(config: RunConfig, instruction: typed.Env, scope: Scope) -> Described:
    # All values of one ENV are expanded before any of them is set.
    pairs = [(scope.expand(name), scope.expand(value)) for name, value in instruction.pairs]
    env = config.env
    for name, value in pairs:
        scope.set(name, value)
        env = with_environment(env, name, value)
    return Described(replace(config, env=env), " ".join(["ENV", *(f"{name}={value}" for name, value in pairs)]))


def _label(config: RunConfig, instruction: typed.Label, scope: Scope) -> Described:
    pairs = [(scope.expand(name), scope.expand(value)) for name, value in instruction.pairs]
    labels = dict(sorted({**config.labels, **dict(pairs)}.items()))
    return Described(replace(config, labels=labels), " ".join(["LABEL", *(f"{name}={value}" for name, value in pairs)]))


def _command(config: RunConfig, instruction: typed.Cmd | typed.Entrypoint, cmd_was_set: bool) -> Described:
    words = in_shell(config, instruction.words) if instruction.in_shell else instruction.words
    shown = f"[{' '.join(map(quote, words))}]"
    if isinstance(instruction, typed.Cmd):
        return Described(replace(config, cmd=words, args_escaped=True), f"CMD {shown}")
    cmd = config.cmd if cmd_was_set else None
    return Described(replace(config, entrypoint=words or None, cmd=cmd), f"ENTRYPOINT {shown}")


def _healthcheck(config: RunConfig, instruction: typed.Healthcheck) -> Described:
    check = Healthcheck(
        instruction.test,
        instruction.interval,
        instruction.timeout,
        instruction.start_period,
        instruction.start_interval,
        instruction.retries,
    )
    return Described(replace(config, healthcheck=check), instruction.original.strip())


def located(instruction: typed.Instruction, error: Exception) -> DockerfileError:
    """An error of this module or of expansion with the instruction's place."""
    return invalid(instruction.location, str(error))
