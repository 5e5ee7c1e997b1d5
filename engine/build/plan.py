"""Stage three's result: a stage's instructions → steps that only have to be carried out.

Owns the order of things and what this version refuses. Everything that can be known without running anything is
decided here (variables, working directories, users, configuration, unsupported features), so that a Dockerfile with a
mistake in its last line fails before its first line runs. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from engine.build import instructions as typed
from engine.build import metadata, permissions
from engine.build.arguments import ArgumentError
from engine.build.conversion import instruction as convert
from engine.build.copying import absolute
from engine.build.expansion import ExpansionError, Rules, expand
from engine.build.failure import Location, invalid, unsupported
from engine.build.parser import heredoc_of, parse
from engine.build.scope import Scope, global_scope, host_platform, unconsumed
from engine.images.config import RunConfig
from engine.values import dataclass, replace

_URL = re.compile(r"(https?://|git@|git://|ssh://)")


@dataclass(frozen=True)
class RunAction:
    """Run a process in the root file system. ``environment`` holds proxies that stay out of the cache key."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    keyed_environment: tuple[str, ...]
    working_dir: str
    user: str
    network: str


@dataclass(frozen=True)
class CopyAction:
    """Copy from the context. ``destination`` is absolute; ``unpack`` says whether archives are extracted."""

    instruction: str
    sources: tuple[str, ...]
    files: tuple[typed.InlineFile, ...]
    destination: str
    chown: str
    chmod: str
    unpack: bool


@dataclass(frozen=True)
class DirectoryAction:
    """Make a directory unless it is there (WORKDIR)."""

    path: str
    user: str


Action = RunAction | CopyAction | DirectoryAction


@dataclass(frozen=True)
class Step:
    """One instruction, ready to be carried out.

    ``action`` is None when only the configuration changes; ``config`` and ``author`` hold after the step;
    ``created_by`` is the history's text (empty: not in it), ``text`` what the user is shown.
    """

    location: Location
    text: str
    created_by: str
    config: RunConfig
    author: str
    action: Action | None = None


@dataclass(frozen=True)
class Plan:
    """A stage's steps after FROM, and warnings for the user."""

    steps: tuple[Step, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Base:
    """The name after FROM with variables replaced, and where it stands."""

    name: str
    text: str
    location: Location


def base_of(program: typed.Program, build_args: Mapping[str, str]) -> Base:
    """What the only stage starts from; raises DockerfileError, UnsupportedInstruction for a second stage."""
    if len(program.stages) > 1:
        raise unsupported(
            program.stages[1].source.location,
            "a build of several stages",
            remedy="split the stages into Dockerfiles of their own and build FROM the first one's image",
        )
    source = program.stages[0].source
    rules = Rules(escape=program.escape)
    try:
        values = global_scope(program.global_args, build_args, source.name, rules)
        name = expand(source.base, values, rules).text
        platform = expand(source.platform, values, rules).text
    except ExpansionError as error:
        raise invalid(source.location, str(error)) from None
    if not name:
        raise invalid(
            source.location,
            f"base name ({source.base}) should not be blank",
            remedy="give the ARG before FROM a default, or pass it with --build-arg",
        )
    if source.platform and platform != host_platform():
        raise unsupported(source.location, f"building for platform {platform!r} on a {host_platform()} host")
    return Base(name, source.original.strip(), source.location)


def plan(program: typed.Program, config: RunConfig, author: str, build_args: Mapping[str, str]) -> Plan:
    """The steps of the only stage on a base with ``config``; raises DockerfileError and UnsupportedInstruction."""
    return _Planner(program, config, author, build_args).run()


class _Planner:
    def __init__(self, program: typed.Program, config: RunConfig, author: str, build_args: Mapping[str, str]) -> None:
        rules = Rules(escape=program.escape)
        self._program = program
        self._stage = program.stages[0]
        self._triggers = config.on_build
        if not any(line.startswith("PATH=") for line in config.env):
            config = replace(config, env=(*config.env, f"PATH={metadata.DEFAULT_PATH}"))
        self._config = replace(config, on_build=())
        self._author = author
        self._build_args = build_args
        values = global_scope(program.global_args, build_args, self._stage.name, rules)
        self._scope = Scope(self._config.env, values, build_args, rules)
        self._cmd_was_set = False
        self._steps: list[Step] = []

    def run(self) -> Plan:
        for instruction in (*self._inherited(), *self._stage.instructions):
            try:
                self._add(instruction)
            except (metadata.MetadataError, ExpansionError, ArgumentError) as error:
                raise metadata.located(instruction, error) from None
        return Plan(tuple(self._steps), tuple(self._warnings()))

    def _inherited(self) -> list[typed.Instruction]:
        """The base image's ONBUILD triggers, placed at the FROM line."""
        location = self._stage.source.location
        found: list[typed.Instruction] = []
        for trigger in self._triggers:
            for node in parse(trigger, location.file).nodes:
                found.append(convert(replace(node, location=location)))
        return found

    def _warnings(self) -> list[str]:
        found = [f"line {line}: {text}" for line, text in self._program.warnings]
        declared = [item for item in self._stage.instructions if isinstance(item, typed.Arg)]
        left = unconsumed(self._build_args, [*self._program.global_args, *declared])
        if left:
            found.append(f"one or more build-args [{' '.join(left)}] were not consumed")
        for item in self._stage.instructions:
            if isinstance(item, typed.Healthcheck) and item.test != ("NONE",):
                line = item.location.start
                found.append(f"line {line}: HEALTHCHECK is kept in the image, but this version makes no health checks")
        return found

    def _add(self, instruction: typed.Instruction) -> None:
        if isinstance(instruction, typed.Arg):
            self._step(instruction, "ARG " + " ".join(self._scope.declare(instruction)))
        elif isinstance(instruction, typed.Maintainer):
            self._author = instruction.author
            self._step(instruction, f"MAINTAINER {instruction.author}")
        elif isinstance(instruction, typed.Run):
            self._run(instruction)
        elif isinstance(instruction, typed.Transfer):
            self._transfer(instruction)
        elif isinstance(instruction, typed.Workdir):
            self._workdir(instruction)
        else:
            described = metadata.describe(self._config, instruction, self._scope, cmd_was_set=self._cmd_was_set)
            assert described is not None
            self._config = described.config
            self._cmd_was_set = self._cmd_was_set or isinstance(instruction, typed.Cmd)
            self._step(instruction, described.text)

    def _step(self, instruction: typed.Instruction, created_by: str, action: Action | None = None) -> None:
        text = instruction.original.strip()
        self._steps.append(Step(instruction.location, text, created_by, self._config, self._author, action))

    def _run(self, run: typed.Run) -> None:
        if run.mounts:
            raise unsupported(run.location, f"RUN --mount=type={run.mounts[0].type}")
        if run.security == "insecure":
            raise unsupported(run.location, "RUN --security=insecure", remedy="build steps always run in the sandbox")
        if run.devices:
            raise unsupported(run.location, "RUN --device")
        if run.network == "host":
            raise unsupported(run.location, "RUN --network=host", remedy="leave the flag out, or use --network=none")
        words = self._run_words(run)
        arguments = metadata.in_shell(self._config, words) if run.in_shell else words
        if not arguments:
            raise ArgumentError("RUN requires a command")
        environment = self._scope.run_environment()
        declared = self._scope.run_arguments()
        prefix = f"|{len(declared)} {' '.join(declared)} " if declared else ""
        action = RunAction(
            arguments,
            environment,
            tuple(f"{name}={value}" for name, value in sorted(self._scope.values().items())),
            self._config.working_dir or "/",
            self._config.user,
            "none" if run.network == "none" else "bridge",
        )
        self._step(run, f"RUN {prefix}{' '.join(arguments)}", action)

    def _run_words(self, run: typed.Run) -> tuple[str, ...]:
        """The command with its heredocs: a lone heredoc is the script itself, others are left to the shell."""
        if not run.files:
            return run.words
        if heredoc_of(run.words[0]) is None:
            bodies = "".join(f"\n{file.raw}{file.name}" for file in run.files)
            return (run.words[0] + bodies,)
        script = run.files[0].data
        if script.startswith("#!"):
            raise unsupported(
                run.location,
                "a heredoc that starts with #!",
                remedy="name the interpreter instead: RUN python3 <<EOF",
            )
        return (script,)

    def _transfer(self, transfer: typed.Transfer) -> None:
        name = "ADD" if isinstance(transfer, typed.Add) else "COPY"
        self._refuse_flags(transfer, name)
        sources = tuple(self._scope.expand(source) for source in transfer.sources)
        destination = self._scope.expand(transfer.destination)
        chown = self._scope.expand(transfer.chown)
        chmod = self._scope.expand(transfer.chmod)
        files = tuple(
            replace(file, data=self._scope.expand_body(file.data)) if file.expand else file for file in transfer.files
        )
        for source in sources:
            if _URL.match(source) is not None:
                if name == "COPY":
                    raise ArgumentError("source can't be a URL for COPY")
                raise unsupported(
                    transfer.location, "ADD of a URL", remedy="fetch the file into the build context first"
                )
        if chmod:
            permissions.parse(chmod)
        unpack = isinstance(transfer, typed.Add) and transfer.unpack is not False
        action = CopyAction(
            name,
            sources,
            files,
            absolute(destination, self._config.working_dir),
            chown,
            chmod,
            unpack,
        )
        flags = [f"--chown={chown}"] if chown else []
        flags += [f"--chmod={chmod}"] if chmod else []
        shown = [name, *flags, *sources, *(f"<<{file.name}" for file in files), destination]
        self._step(transfer, " ".join(shown), action)

    def _refuse_flags(self, transfer: typed.Transfer, name: str) -> None:
        # --link is taken as it is: it promises better reuse, not other files, and docker may ignore it as well.
        if isinstance(transfer, typed.Copy) and transfer.source_stage:
            raise unsupported(
                transfer.location, "COPY --from", remedy="copy the files into the build context, or build one stage"
            )
        if isinstance(transfer, typed.Copy) and transfer.parents:
            raise unsupported(transfer.location, "COPY --parents")
        if transfer.exclude:
            raise unsupported(transfer.location, f"{name} --exclude", remedy="use .dockerignore")
        if isinstance(transfer, typed.Add) and transfer.checksum:
            if not any(_URL.match(source) for source in transfer.sources):
                raise ArgumentError("checksum requires HTTP(S) or Git sources")
            raise unsupported(transfer.location, "ADD --checksum")

    def _workdir(self, instruction: typed.Workdir) -> None:
        path = metadata.working_dir(self._config, self._scope.expand(instruction.path))
        self._config = replace(self._config, working_dir=path)
        action = DirectoryAction(path, self._config.user) if path != "/" else None
        self._step(instruction, f"WORKDIR {path}", action)
