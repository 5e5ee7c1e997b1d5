"""Nodes → typed instructions.

Owns which flags an instruction has, how many words it takes and docker's message when it gets others. Pure; errors
carry the instruction's place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from engine.build import instructions as typed
from engine.build.arguments import ArgumentError
from engine.build.expansion import ExpansionError, quote
from engine.build.failure import DockerfileError, Location, invalid
from engine.build.flags import BOOLEAN, STRING, STRINGS, Flags, UnknownFlag, check, nearest
from engine.build.parser import Dockerfile, Heredoc, Node, heredoc_of
from engine.build.run_mounts import parse_mount

_STAGE_NAME = re.compile(r"[a-z][a-z0-9\-_.]*\Z")
_DURATION = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_SECOND = 10**9
_NANOSECONDS = {"ns": 1, "us": 1000, "µs": 1000, "μs": 1000, "ms": 10**6}
_NANOSECONDS |= {"s": _SECOND, "m": 60 * _SECOND, "h": 3600 * _SECOND}
_LEAST_INTERVAL = 1_000_000  # 1 ms
_NETWORKS = ("default", "none", "host")
_SECURITY = ("insecure", "sandbox")


def program(dockerfile: Dockerfile) -> typed.Program:
    """The stages of a parsed file; raises DockerfileError."""
    global_args: list[typed.Arg] = []
    stages: list[tuple[typed.From, list[typed.Instruction]]] = []
    for node in dockerfile.nodes:
        converted = instruction(node)
        if isinstance(converted, typed.From):
            stages.append((converted, []))
        elif stages:
            stages[-1][1].append(converted)
        elif isinstance(converted, typed.Arg):
            global_args.append(converted)
        else:
            raise invalid(
                node.location, "no build stage in current context", remedy="start the Dockerfile with FROM IMAGE"
            )
    if not stages:
        end = len(dockerfile.lines)
        location = Location(dockerfile.file, end, end, dockerfile.lines[-1])
        raise invalid(location, "dockerfile contains no stages to build", remedy="start the Dockerfile with FROM IMAGE")
    return typed.Program(
        dockerfile.file,
        dockerfile.escape,
        tuple(global_args),
        tuple(typed.Stage(source, tuple(body)) for source, body in stages),
        dockerfile.warnings,
    )


def instruction(node: Node) -> typed.Instruction:
    """The typed instruction of one node; raises DockerfileError with its place."""
    converter = _CONVERTERS.get(node.name)
    if converter is None:
        meant = nearest(node.name, tuple(_CONVERTERS))
        remedy = f"did you mean {meant}?" if meant else "see the list of instructions: FROM, RUN, COPY, …"
        raise invalid(node.location, f"unknown instruction: {node.written}", remedy=remedy)
    try:
        return converter(node)
    except DockerfileError:
        raise
    except UnknownFlag as error:
        remedy = f"did you mean --{error.suggestion}?" if error.suggestion else f"{node.name} does not have this flag"
        raise invalid(node.location, str(error), remedy=remedy) from None
    except (ArgumentError, ExpansionError) as error:
        raise invalid(node.location, str(error)) from None


def duration(text: str) -> int:
    """Go's duration syntax (``1m30s``, ``500ms``) in nanoseconds; raises ArgumentError."""
    bare = text.lstrip("+-") if text[:1] in ("+", "-") else text
    pieces = _DURATION.findall(bare)
    if bare == "0":
        return 0
    if not pieces or "".join(number + unit for number, unit in pieces) != bare:
        raise ArgumentError(f"time: invalid duration {quote(text)}")
    total = sum(_nanoseconds(number, _NANOSECONDS[unit]) for number, unit in pieces)
    return -total if text.startswith("-") else total


def _nanoseconds(number: str, unit: int) -> int:
    whole, _, fraction = number.partition(".")
    return int(whole or 0) * unit + int(fraction.ljust(9, "0")[:9]) * unit // 1_000_000_000


def _flags(node: Node, specification: Mapping[str, str]) -> Flags:
    return check(node.flags, specification)


def _exactly_one(node: Node) -> str:
    if len(node.arguments) != 1:
        raise ArgumentError(f"{node.name} requires exactly one argument")
    return node.arguments[0]


def _at_least_one(node: Node) -> tuple[str, ...]:
    if not node.arguments:
        raise ArgumentError(f"{node.name} requires at least one argument")
    return node.arguments


def _pairs(node: Node) -> typed.Pairs:
    _flags(node, {})
    words = _at_least_one(node)
    pairs = tuple(zip(words[::2], words[1::2], strict=True))
    if any(not key for key, _ in pairs):
        raise ArgumentError(f"{node.name} names can not be blank")
    return pairs


def _from(node: Node) -> typed.From:
    words = node.arguments
    name = ""
    if len(words) == 3 and words[1].lower() == "as":
        name = words[2].lower()
        if not _STAGE_NAME.match(name):
            raise ArgumentError(
                f"invalid name for build stage: {quote(words[2])}, name can't start with a number or contain symbols"
            )
    elif len(words) != 1:
        raise ArgumentError("FROM requires either one or three arguments")
    flags = _flags(node, {"platform": STRING})
    return typed.From(node.location, node.original, words[0], name, flags.text("platform"))


def _arg(node: Node) -> typed.Arg:
    pairs: list[tuple[str, str | None]] = []
    for word in _at_least_one(node):
        name, equals, value = word.partition("=")
        if not name:
            raise ArgumentError("ARG names can not be blank")
        pairs.append((name, value if equals else None))
    _flags(node, {})
    return typed.Arg(node.location, node.original, tuple(pairs))


def _env(node: Node) -> typed.Env:
    return typed.Env(node.location, node.original, _pairs(node))


def _label(node: Node) -> typed.Label:
    return typed.Label(node.location, node.original, _pairs(node))


def _maintainer(node: Node) -> typed.Maintainer:
    author = _exactly_one(node)
    _flags(node, {})
    return typed.Maintainer(node.location, node.original, author)


def _inline(heredoc: Heredoc) -> typed.InlineFile:
    return typed.InlineFile(heredoc.name, heredoc.text, heredoc.expand, heredoc.content)


def _run(node: Node) -> typed.Run:
    flags = _flags(node, {"mount": STRINGS, "network": STRING, "security": STRING, "device": STRINGS})
    network, security = flags.text("network"), flags.text("security")
    if network and network not in _NETWORKS:
        raise ArgumentError(f"invalid network mode: {quote(network)}")
    if security and security not in _SECURITY:
        raise ArgumentError(f"security {quote(security)} is not valid")
    return typed.Run(
        node.location,
        node.original,
        node.arguments,
        not node.is_json,
        tuple(_inline(heredoc) for heredoc in node.heredocs),
        tuple(parse_mount(text) for text in flags.texts("mount")),
        network,
        security,
        flags.texts("device"),
    )


def _cmd(node: Node) -> typed.Cmd:
    _flags(node, {})
    return typed.Cmd(node.location, node.original, node.arguments, not node.is_json)


def _entrypoint(node: Node) -> typed.Entrypoint:
    _flags(node, {})
    return typed.Entrypoint(node.location, node.original, node.arguments, not node.is_json)


def _transfer(node: Node) -> tuple[tuple[str, ...], tuple[typed.InlineFile, ...], str]:
    """Sources, inline files and destination of COPY and ADD."""
    *words, destination = node.arguments
    if heredoc_of(destination) is not None:
        raise ArgumentError(f"{node.name} cannot accept a heredoc as a destination")
    bodies = {heredoc.name: heredoc for heredoc in node.heredocs}
    sources: list[str] = []
    files: list[typed.InlineFile] = []
    for word in words:
        heredoc = heredoc_of(word)
        if heredoc is not None and heredoc.name in bodies:
            files.append(_inline(bodies[heredoc.name]))
        else:
            sources.append(word)
    return tuple(sources), tuple(files), destination


def _at_least_two(node: Node) -> None:
    if len(node.arguments) < 2:
        raise ArgumentError(
            f"{node.name} requires at least two arguments, but only one was provided. "
            "Destination could not be determined"
        )


def _copy(node: Node) -> typed.Copy:
    _at_least_two(node)
    specification = {
        "chown": STRING,
        "chmod": STRING,
        "from": STRING,
        "link": BOOLEAN,
        "parents": BOOLEAN,
        "exclude": STRINGS,
    }
    flags = _flags(node, specification)
    sources, files, destination = _transfer(node)
    return typed.Copy(
        node.location,
        node.original,
        sources,
        files,
        destination,
        flags.text("chown"),
        flags.text("chmod"),
        flags.switch("link"),
        flags.texts("exclude"),
        flags.text("from"),
        flags.switch("parents"),
    )


def _add(node: Node) -> typed.Add:
    _at_least_two(node)
    specification = {
        "chown": STRING,
        "chmod": STRING,
        "link": BOOLEAN,
        "keep-git-dir": BOOLEAN,
        "checksum": STRING,
        "unpack": BOOLEAN,
        "exclude": STRINGS,
    }
    flags = _flags(node, specification)
    sources, files, destination = _transfer(node)
    return typed.Add(
        node.location,
        node.original,
        sources,
        files,
        destination,
        flags.text("chown"),
        flags.text("chmod"),
        flags.switch("link"),
        flags.texts("exclude"),
        flags.switch("keep-git-dir"),
        flags.text("checksum"),
        flags.switch("unpack") if flags.given("unpack") else None,
    )


def _expose(node: Node) -> typed.Expose:
    ports = _at_least_one(node)
    _flags(node, {})
    return typed.Expose(node.location, node.original, tuple(sorted(ports)))


def _workdir(node: Node) -> typed.Workdir:
    path = _exactly_one(node)
    _flags(node, {})
    return typed.Workdir(node.location, node.original, path)


def _user(node: Node) -> typed.User:
    user = _exactly_one(node)
    _flags(node, {})
    return typed.User(node.location, node.original, user)


def _volume(node: Node) -> typed.Volume:
    paths = tuple(path.strip() for path in _at_least_one(node))
    _flags(node, {})
    if not all(paths):
        raise ArgumentError("VOLUME specified can not be an empty string")
    return typed.Volume(node.location, node.original, paths)


def _stop_signal(node: Node) -> typed.StopSignal:
    signal = _exactly_one(node)
    _flags(node, {})
    return typed.StopSignal(node.location, node.original, signal)


def _healthcheck(node: Node) -> typed.Healthcheck:
    kind, *command = _at_least_one(node)
    kind = kind.upper()
    if kind == "NONE":
        if command:
            raise ArgumentError("HEALTHCHECK NONE takes no arguments")
        return typed.Healthcheck(node.location, node.original, ("NONE",))
    names = ("interval", "timeout", "start-period", "start-interval")
    flags = _flags(node, dict.fromkeys((*names, "retries"), STRING))
    if kind != "CMD":
        raise ArgumentError(f"Unknown type {quote(kind)} in HEALTHCHECK (try CMD)")
    if not command:
        raise ArgumentError("Missing command after HEALTHCHECK CMD")
    interval, timeout, start_period, start_interval = (_interval(name, flags.text(name)) for name in names)
    return typed.Healthcheck(
        node.location,
        node.original,
        ("CMD" if node.is_json else "CMD-SHELL", *command),
        interval,
        timeout,
        start_period,
        start_interval,
        _retries(flags.text("retries")),
    )


def _interval(name: str, text: str) -> int:
    value = duration(text) if text else 0
    if value != 0 and value < _LEAST_INTERVAL:
        raise ArgumentError(f"Interval {quote(name)} cannot be less than 1ms")
    return value


def _retries(text: str) -> int:
    if not text:
        return 0
    if not re.fullmatch(r"[+-]?\d+", text):
        raise ArgumentError(f"strconv.ParseInt: parsing {quote(text)}: invalid syntax")
    if int(text) < 0:
        raise ArgumentError(f"--retries cannot be negative ({int(text)})")
    return int(text)


def _shell(node: Node) -> typed.Shell:
    _flags(node, {})
    words = _at_least_one(node)
    if not node.is_json:
        raise ArgumentError(f"SHELL requires the arguments to be in JSON form: {node.original}")
    return typed.Shell(node.location, node.original, words)


def _onbuild(node: Node) -> typed.Onbuild:
    if node.child is None:
        raise ArgumentError("ONBUILD requires at least one argument")
    _flags(node, {})
    if node.child.name == "ONBUILD":
        raise ArgumentError("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if node.child.name in ("MAINTAINER", "FROM"):
        raise ArgumentError(f"{node.child.name} isn't allowed as an ONBUILD trigger")
    expression = re.sub(r"(?i)^\s*ONBUILD\s*", "", node.original)
    expression += "".join(f"\n{heredoc.content}{heredoc.name}" for heredoc in node.heredocs)
    child = Node(
        node.child.name,
        node.child.written,
        node.child.flags,
        node.child.arguments,
        node.child.is_json,
        node.child.original,
        node.location,
        node.heredocs,
    )
    return typed.Onbuild(node.location, node.original, expression, instruction(child))


_CONVERTERS: dict[str, Callable[[Node], typed.Instruction]] = {
    "ADD": _add,
    "ARG": _arg,
    "CMD": _cmd,
    "COPY": _copy,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "FROM": _from,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "MAINTAINER": _maintainer,
    "ONBUILD": _onbuild,
    "RUN": _run,
    "SHELL": _shell,
    "STOPSIGNAL": _stop_signal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}
