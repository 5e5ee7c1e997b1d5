"""Typed instructions: flags, word counts, and docker's words for what is wrong."""

from __future__ import annotations

import pytest

from engine.build import instructions as typed
from engine.build.conversion import duration, program
from engine.build.failure import DockerfileError
from engine.build.parser import parse

pytestmark = pytest.mark.unit


def one(line: str) -> typed.Instruction:
    return program(parse(f"FROM a\n{line}\n")).stages[0].instructions[0]


ERRORS = {
    "FORM a": ("unknown instruction: FORM", "did you mean FROM?"),
    "COPY --form=b x y": ("unknown flag: --form", "did you mean --from?"),
    "RUN --zzz x": ("unknown flag: --zzz", "RUN does not have this flag"),
    "COPY --link --link a b": ("duplicate flag specified: --link", ""),
    "COPY --chown a b": ("missing a value on flag: --chown", ""),
    "COPY --link= a b": ("missing a value on flag: --link", ""),
    "COPY --link=maybe a b": ("expecting boolean value for flag --link, not: maybe", ""),
    "COPY a": (
        "COPY requires at least two arguments, but only one was provided. Destination could not be determined",
        "",
    ),
    "ADD": ("ADD requires at least two arguments, but only one was provided. Destination could not be determined", ""),
    "COPY a <<E\nE": ("COPY cannot accept a heredoc as a destination", ""),
    "FROM": ("FROM requires either one or three arguments", ""),
    "FROM a b": ("FROM requires either one or three arguments", ""),
    "FROM a AS 1x": (
        'invalid name for build stage: "1x", name can\'t start with a number or contain symbols',
        "",
    ),
    "ENV": ("ENV requires at least one argument", ""),
    "ENV =b": ("ENV names can not be blank", ""),
    "ARG": ("ARG requires at least one argument", ""),
    "ARG =b": ("ARG names can not be blank", ""),
    "LABEL": ("LABEL requires at least one argument", ""),
    "MAINTAINER": ("MAINTAINER requires exactly one argument", ""),
    "WORKDIR": ("WORKDIR requires exactly one argument", ""),
    "USER": ("USER requires exactly one argument", ""),
    "STOPSIGNAL": ("STOPSIGNAL requires exactly one argument", ""),
    "EXPOSE": ("EXPOSE requires at least one argument", ""),
    "VOLUME": ("VOLUME requires at least one argument", ""),
    'VOLUME [" "]': ("VOLUME specified can not be an empty string", ""),
    "SHELL sh -c": ("SHELL requires the arguments to be in JSON form: SHELL sh -c", ""),
    "SHELL []": ("SHELL requires at least one argument", ""),
    "HEALTHCHECK": ("HEALTHCHECK requires at least one argument", ""),
    "HEALTHCHECK NONE x": ("HEALTHCHECK NONE takes no arguments", ""),
    "HEALTHCHECK CMD": ("Missing command after HEALTHCHECK CMD", ""),
    "HEALTHCHECK true": ('Unknown type "TRUE" in HEALTHCHECK (try CMD)', ""),
    "HEALTHCHECK --interval=1x CMD a": ('time: invalid duration "1x"', ""),
    "HEALTHCHECK --interval=1us CMD a": ('Interval "interval" cannot be less than 1ms', ""),
    "HEALTHCHECK --retries=-1 CMD a": ("--retries cannot be negative (-1)", ""),
    "HEALTHCHECK --retries=x CMD a": ('strconv.ParseInt: parsing "x": invalid syntax', ""),
    "ONBUILD": ("ONBUILD requires at least one argument", ""),
    "ONBUILD ONBUILD RUN x": ("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed", ""),
    "ONBUILD FROM x": ("FROM isn't allowed as an ONBUILD trigger", ""),
    "ONBUILD COPY x": (
        "COPY requires at least two arguments, but only one was provided. Destination could not be determined",
        "",
    ),
    "RUN --network=vpn x": ('invalid network mode: "vpn"', ""),
    "RUN --security=lax x": ('security "lax" is not valid', ""),
    "RUN --mount=type=nfs x": ('unsupported mount type "nfs"', ""),
    "RUN --mount=type=bind,color=red x": ("unexpected key 'color' in 'color=red'", ""),
    "RUN --mount=target x": ("invalid field 'target' must be a key=value pair", ""),
    "RUN --mount=from=$x x": ("'from' doesn't support variable expansion, define alias stage instead", ""),
}


@pytest.mark.parametrize("line", ERRORS)
def test_mistakes_are_named_as_docker_names_them(line: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        one(line)
    words, remedy = ERRORS[line]
    assert str(caught.value) == f"dockerfile parse error on line 2: {words}"
    assert caught.value.remedy == remedy
    assert caught.value.line == 2


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("RUN x\nFROM a\n", 1, "no build stage in current context"),
        ("ARG a\nARG b\n", 2, "dockerfile contains no stages to build"),
    ],
)
def test_a_file_needs_a_stage(text: str, line: int, words: str) -> None:
    with pytest.raises(DockerfileError, match=words) as caught:
        program(parse(text))
    assert caught.value.line == line
    assert "FROM" in caught.value.remedy


def test_stages_and_global_arguments() -> None:
    made = program(parse("ARG v=1\nFROM a:$v AS One\nRUN x\nFROM --platform=linux/amd64 b\nCMD y\n"))
    assert made.global_args[0].pairs == (("v", "1"),)
    assert [(stage.source.base, stage.name, stage.source.platform) for stage in made.stages] == [
        ("a:$v", "one", ""),
        ("b", "", "linux/amd64"),
    ]
    assert [len(stage.instructions) for stage in made.stages] == [1, 1]


def test_copy_with_all_flags_and_a_heredoc() -> None:
    copy = one("COPY --from=x --chown=1 --chmod=644 --link --parents --exclude=*.a --exclude=b <<'E' c d/\nbody\nE")
    assert isinstance(copy, typed.Copy)
    assert (copy.sources, copy.destination, copy.source_stage) == (("c",), "d/", "x")
    assert (copy.chown, copy.chmod, copy.link, copy.parents) == ("1", "644", True, True)
    assert copy.exclude == ("*.a", "b")
    assert copy.files == (typed.InlineFile("E", "body\n", False, "body\n"),)


def test_add_knows_whether_unpack_was_said() -> None:
    said = {line: one(f"ADD {line} a b") for line in ("", "--unpack", "--unpack=false")}
    assert [add.unpack for add in said.values() if isinstance(add, typed.Add)] == [None, True, False]


def test_run_with_flags() -> None:
    run = one("RUN --mount=type=cache,target=/c --mount=type=secret,id=x,required --network=none echo hi")
    assert isinstance(run, typed.Run)
    assert run.words == ("echo hi",) and run.in_shell
    assert [mount.type for mount in run.mounts] == ["cache", "secret"]
    assert run.mounts[1].options == (("type", "secret"), ("id", "x"), ("required", None))
    assert run.network == "none"


def test_healthcheck_in_nanoseconds() -> None:
    check = one('HEALTHCHECK --interval=1m30s --timeout=500ms --start-period=0 --retries=3 CMD ["a"]')
    assert isinstance(check, typed.Healthcheck)
    assert check.test == ("CMD", "a")
    assert (check.interval, check.timeout, check.start_period, check.retries) == (90 * 10**9, 5 * 10**8, 0, 3)


def test_onbuild_keeps_its_text_and_checks_the_trigger() -> None:
    onbuild = one("ONBUILD COPY <<E /x\nbody\nE")
    assert isinstance(onbuild, typed.Onbuild)
    assert onbuild.expression == "COPY <<E /x\nbody\nE"
    assert isinstance(onbuild.trigger, typed.Copy) and onbuild.trigger.files[0].data == "body\n"


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [("0", 0), ("1h2m3s", 3723 * 10**9), ("1.5s", 1_500_000_000), (".5ms", 500_000), ("-2us", -2000), ("10µs", 10_000)],
)
def test_durations(text: str, nanoseconds: int) -> None:
    assert duration(text) == nanoseconds
