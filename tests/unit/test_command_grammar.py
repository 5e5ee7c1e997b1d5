"""docker's command grammar: what is read, what is refused, in which words and with which exit code."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import EngineError
from tui.command_line.grammar import Command, UsageError, parse
from tui.command_line.usage import complaint, group_help, program_help, usage_line, verb_help
from tui.command_line.vocabulary import VOCABULARY

pytestmark = pytest.mark.unit


def read(line: str) -> Command:
    return parse(VOCABULARY, line.split())


def given_options(line: str) -> dict[str, object]:
    command = read(line)
    return {name: command.options[name] for name in command.given}


@pytest.mark.parametrize(
    ("line", "options", "operands"),
    [
        ("run busybox", {}, ("busybox",)),
        ("run -it busybox sh", {"interactive": True, "tty": True}, ("busybox", "sh")),
        ("run -dp 80:80 web", {"detach": True, "publish": ("80:80",)}, ("web",)),
        ("run -p80:80 -p=81:81 web", {"publish": ("80:80", "81:81")}, ("web",)),
        ("run --publish 1:1 --publish=2:2/udp x", {"publish": ("1:1", "2:2/udp")}, ("x",)),
        ("run --name=a --name b x", {"name": "b"}, ("x",)),
        ("run --rm=false x", {"rm": False}, ("x",)),
        ("run -d=false -t=1 x", {"detach": False, "tty": True}, ("x",)),
        ("run x --rm -d", {}, ("x", "--rm", "-d")),
        ("run x -- y", {}, ("x", "--", "y")),
        ("run -- x -d", {}, ("x", "-d")),
        ("run --pids-limit -1 x", {"pids-limit": -1}, ("x",)),
        ("run --entrypoint= x", {"entrypoint": ""}, ("x",)),
        ("run -e A=1 -eB=2 x", {"env": ("A=1", "B=2")}, ("x",)),
        ("run --net host x", {"network": "host"}, ("x",)),
        ("run -h web x", {"hostname": "web"}, ("x",)),
        ("exec -it web sh -c id", {"interactive": True, "tty": True}, ("web", "sh", "-c", "id")),
        ("exec web ls -l", {}, ("web", "ls", "-l")),
        ("stop a -t 3 b", {"timeout": 3}, ("a", "b")),
        ("stop --time=3 a", {"timeout": 3}, ("a",)),
        ("rm -fv a", {"force": True, "volumes": True}, ("a",)),
        ("logs -f --tail 5 a", {"follow": True, "tail": "5"}, ("a",)),
        ("logs -fn5 a", {"follow": True, "tail": "5"}, ("a",)),
        ("container ls -aq", {"all": True, "quiet": True}, ()),
        ("build -t a -t b --build-arg X=1 .", {"tag": ("a", "b"), "build-arg": ("X=1",)}, (".",)),
        ("commit -p=false c", {"pause": False}, ("c",)),
        ("import - name", {}, ("-", "name")),
    ],
)
def test_reads_as_docker_does(line: str, options: dict[str, object], operands: tuple[str, ...]) -> None:
    assert given_options(line) == options
    assert read(line).operands == operands


@pytest.mark.parametrize(
    ("line", "words", "code"),
    [
        ("run --foo x", "unknown flag: --foo", 125),
        ("run --env-fil x y", "unknown flag: --env-fil", 125),
        ("run --na x y", "unknown flag: --na", 125),
        ("run -z x", "unknown shorthand flag: 'z' in -z", 125),
        ("run -itz x", "unknown shorthand flag: 'z' in -itz", 125),
        ("run -e", "flag needs an argument: 'e' in -e", 125),
        ("run --name", "flag needs an argument: --name", 125),
        ("run --=x y", "bad flag syntax: --=x", 125),
        ("run ---x y", "bad flag syntax: ---x", 125),
        ("run --rm=maybe x", 'invalid argument "maybe" for "--rm" flag: strconv.ParseBool: parsing "maybe"', 125),
        ("stop -t abc x", 'invalid argument "abc" for "-t, --timeout" flag: strconv.ParseInt: parsing "abc"', 125),
        ("stop -t 1_0 x", "strconv.ParseInt", 125),
        ("run", "'pilothouse run' requires at least 1 argument", 1),
        ("exec web", "'pilothouse exec' requires at least 2 arguments", 1),
        ("ps x", "'pilothouse ps' accepts no arguments", 1),
        ("tag a", "'pilothouse tag' requires 2 arguments", 1),
        ("logs a b", "'pilothouse logs' requires 1 argument", 1),
        ("commit", "'pilothouse commit' requires at least 1 and at most 2 arguments", 1),
        ("volume create a b", "'pilothouse volume create' requires at most 1 argument", 1),
        ("nosuch", "unknown command: pilothouse nosuch", 1),
        ("container nosuch", "unknown command: pilothouse container nosuch", 1),
        ("attach x", "'attach' is a command of docker's that this version does not have yet", 1),
        ("network create x", "'network create' is a command of docker's", 1),
        ("run --env-file f x", "--env-file is a flag of docker's that this version does not have yet", 125),
        ("--nosuch ps", "unknown flag: --nosuch", 125),
    ],
)
def test_refuses_in_dockers_words(line: str, words: str, code: int) -> None:
    with pytest.raises(UsageError) as caught:
        read(line)
    assert words in str(caught.value)
    assert caught.value.exit_code == code


def test_a_complaint_shows_the_use_and_where_help_is() -> None:
    with pytest.raises(UsageError) as caught:
        read("run --foo x")
    assert complaint(caught.value) == (
        "pilothouse: unknown flag: --foo\n\n"
        "Usage:  pilothouse run [OPTIONS] IMAGE [COMMAND] [ARG...]\n\n"
        "See 'pilothouse run --help'.\n"
    )


def test_a_slip_of_the_finger_is_answered_with_a_guess() -> None:
    with pytest.raises(UsageError) as caught:
        read("stpo web")
    assert "did you mean 'pilothouse stop'?" in complaint(caught.value)


def test_global_flags_stand_before_the_verb_only() -> None:
    command = read("--data-root /d --run-dir=/r ps -a")
    assert (command.global_text("data-root"), command.global_text("run-dir")) == ("/d", "/r")
    with pytest.raises(UsageError, match="unknown flag: --data-root"):
        read("ps --data-root /d")


def test_help_is_understood_whatever_else_is_missing() -> None:
    assert read("run --help").help
    assert read("tag --help a").help
    assert read("ps -h").help
    assert not read("run x --help").help


def test_defaults_are_there_without_being_given() -> None:
    command = read("run x")
    assert command.text("restart") == "no"
    assert command.on("sig-proxy")
    assert command.all("publish") == ()
    assert command.number("pids-limit") is None


def test_every_verb_has_a_handler_that_exists() -> None:
    from importlib import import_module

    for verb in VOCABULARY.verbs:
        module, _, function = verb.handler.partition(":")
        assert callable(getattr(import_module(f"tui.command_line.verbs.{module}"), function)), verb.handler


def test_names_of_verbs_and_flags_are_unique() -> None:
    paths = [path for verb in VOCABULARY.verbs for path in (verb.path, *verb.aliases)]
    assert len(paths) == len(set(paths))
    for verb in VOCABULARY.verbs:
        long = [flag.name for flag in verb.flags]
        short = [flag.short for flag in verb.flags if flag.short]
        assert len(long) == len(set(long)), verb.title
        assert len(short) == len(set(short)), verb.title
        assert not verb.later & set(long), verb.title
        assert all(flag.alias_of in long for flag in verb.flags if flag.alias_of), verb.title
    assert not VOCABULARY.later & {" ".join(path) for path in paths}


def test_help_names_every_flag_and_fits_the_terminal() -> None:
    for verb in VOCABULARY.verbs:
        text = verb_help(verb, 80)
        assert text.startswith(usage_line(verb))
        for flag in verb.flags:
            assert bool(flag.alias_of) or f"--{flag.name}" in text
        options = text.partition("Options:")[2]
        assert all(len(line) <= 80 for line in options.splitlines()), verb.title


def test_the_programs_help_names_every_verb() -> None:
    text = program_help(VOCABULARY)
    for name, _ in VOCABULARY.members(""):
        assert f"\n  {name} " in text
    assert "ls " in group_help(VOCABULARY, "container")


@given(
    st.lists(st.sampled_from(["run", "-it", "--rm", "--", "-", "--name", "x", "--name=", "-p", "ps", "", "-=", "--x"]))
)
def test_any_words_parse_or_are_refused_with_words(words: list[str]) -> None:
    try:
        parse(VOCABULARY, words)
    except EngineError as error:
        assert str(error)
