"""Stage two: the typed instructions of a Dockerfile.

Owns one frozen class per instruction and the stages they form. Variables are still unexpanded: ``scope`` and ``plan``
do that. Says nothing about what is carried out. Made by ``conversion``.
"""

from __future__ import annotations

from engine.build.failure import Location
from engine.values import dataclass

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Instruction:
    """What every instruction knows: its place and its logical line as written."""

    location: Location
    original: str


@dataclass(frozen=True)
class From(Instruction):
    """``FROM [--platform=P] BASE [AS NAME]``; an empty ``name`` means none."""

    base: str
    name: str = ""
    platform: str = ""


@dataclass(frozen=True)
class Arg(Instruction):
    """``ARG NAME[=DEFAULT] …``; a default of None means none was written."""

    pairs: tuple[tuple[str, str | None], ...]


@dataclass(frozen=True)
class Env(Instruction):
    """``ENV K=V …`` or the old ``ENV K V``."""

    pairs: Pairs


@dataclass(frozen=True)
class Label(Instruction):
    """``LABEL K=V …``."""

    pairs: Pairs


@dataclass(frozen=True)
class Maintainer(Instruction):
    """``MAINTAINER NAME``; sets the image's author."""

    author: str


@dataclass(frozen=True)
class InlineFile:
    """A heredoc: its name, its body and, for files of COPY and ADD, whether variables in it are expanded."""

    name: str
    data: str
    expand: bool
    raw: str  # the body as written, tabs included


@dataclass(frozen=True)
class Command(Instruction):
    """A command line: ``words`` are one string in shell form (``in_shell``), else the array of the JSON form."""

    words: tuple[str, ...]
    in_shell: bool


@dataclass(frozen=True)
class Mount:
    """One ``--mount`` of RUN: its type and its options in order; an option without ``=`` has the value None."""

    type: str
    options: tuple[tuple[str, str | None], ...]


@dataclass(frozen=True)
class Run(Command):
    """``RUN``, with its heredocs and flags as written."""

    files: tuple[InlineFile, ...] = ()
    mounts: tuple[Mount, ...] = ()
    network: str = ""
    security: str = ""
    devices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cmd(Command):
    """``CMD``."""


@dataclass(frozen=True)
class Entrypoint(Command):
    """``ENTRYPOINT``."""


@dataclass(frozen=True)
class Transfer(Instruction):
    """What COPY and ADD share: sources in the context, inline files, and the destination."""

    sources: tuple[str, ...]
    files: tuple[InlineFile, ...]
    destination: str
    chown: str = ""
    chmod: str = ""
    link: bool = False
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True)
class Copy(Transfer):
    """``COPY``; ``source_stage`` is the value of ``--from``."""

    source_stage: str = ""
    parents: bool = False


@dataclass(frozen=True)
class Add(Transfer):
    """``ADD``; ``unpack`` is None where the kind of source decides."""

    keep_git_dir: bool = False
    checksum: str = ""
    unpack: bool | None = None


@dataclass(frozen=True)
class Expose(Instruction):
    """``EXPOSE PORT[/PROTOCOL] …``."""

    ports: tuple[str, ...]


@dataclass(frozen=True)
class Workdir(Instruction):
    """``WORKDIR PATH``."""

    path: str


@dataclass(frozen=True)
class User(Instruction):
    """``USER NAME[:GROUP]``."""

    user: str


@dataclass(frozen=True)
class Volume(Instruction):
    """``VOLUME PATH …``."""

    paths: tuple[str, ...]


@dataclass(frozen=True)
class StopSignal(Instruction):
    """``STOPSIGNAL SIGNAL``."""

    signal: str


@dataclass(frozen=True)
class Healthcheck(Instruction):
    """``HEALTHCHECK``; ``test`` starts with NONE, CMD or CMD-SHELL, durations are nanoseconds, 0 means the default."""

    test: tuple[str, ...]
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


@dataclass(frozen=True)
class Shell(Instruction):
    """``SHELL ["…"]``."""

    words: tuple[str, ...]


@dataclass(frozen=True)
class Onbuild(Instruction):
    """``ONBUILD TRIGGER``; ``expression`` is the trigger's text, ``trigger`` the same, checked."""

    expression: str
    trigger: Instruction


@dataclass(frozen=True)
class Stage:
    """One FROM and what follows it."""

    source: From
    instructions: tuple[Instruction, ...]

    @property
    def name(self) -> str:
        """The name after AS, lower case, or empty."""
        return self.source.name


@dataclass(frozen=True)
class Program:
    """A whole Dockerfile: the ARGs before the first FROM, and the stages."""

    file: str
    escape: str
    global_args: tuple[Arg, ...]
    stages: tuple[Stage, ...]
    warnings: tuple[tuple[int, str], ...] = ()
