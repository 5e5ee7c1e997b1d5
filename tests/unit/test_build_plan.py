"""Planned steps: scopes, configuration, history, what is refused before anything runs, and cache keys."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from engine.build import cache
from engine.build.conversion import program
from engine.build.failure import DockerfileError, UnsupportedInstruction
from engine.build.metadata import MetadataError, apply_changes, exposed
from engine.build.parser import parse
from engine.build.permissions import parse as parse_mode
from engine.build.plan import CopyAction, DirectoryAction, Plan, RunAction, base_of, plan
from engine.build.scope import host_platform
from engine.errors import InvalidInput
from engine.images.config import RunConfig

pytestmark = pytest.mark.unit

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def planned(body: str, config: RunConfig | None = None, build_args: Mapping[str, str] | None = None) -> Plan:
    text = body if "FROM" in body else f"FROM a\n{body}"
    return plan(program(parse(text)), config or RunConfig(), "", build_args or {})


def result(body: str, config: RunConfig | None = None, build_args: Mapping[str, str] | None = None) -> RunConfig:
    return planned(body, config, build_args).steps[-1].config


def history(body: str, build_args: Mapping[str, str] | None = None) -> list[str]:
    return [step.created_by for step in planned(body, None, build_args).steps]


def run_of(body: str, build_args: Mapping[str, str] | None = None, config: RunConfig | None = None) -> RunAction:
    action = planned(body, config, build_args).steps[-1].action
    assert isinstance(action, RunAction)
    return action


def copy_of(body: str) -> CopyAction:
    action = planned(body).steps[-1].action
    assert isinstance(action, CopyAction)
    return action


def base(text: str, **build_args: str) -> str:
    return base_of(program(parse(text)), build_args).name


# ------------------------------------------------------------------------------------------------------- variables


def test_from_sees_global_arguments() -> None:
    assert base("ARG v=1\nARG image=busybox:$v\nFROM $image\n") == "busybox:1"
    assert base("ARG v=1\nFROM busybox:$v\n", v="2") == "busybox:2"
    assert base("FROM ${nosuch:-busybox}\n") == "busybox"
    assert base("FROM busybox:$TARGETARCH\n") == "busybox:" + host_platform().split("/")[1]
    with pytest.raises(DockerfileError, match=r"base name \(\$v\) should not be blank"):
        base("ARG v\nFROM $v\n")


def test_a_stage_sees_a_global_argument_once_it_declares_it() -> None:
    assert result("ARG v=1\nFROM a\nLABEL k=$v\n").labels == {"k": ""}
    assert result("ARG v=1\nFROM a\nARG v\nLABEL k=$v\n").labels == {"k": "1"}
    assert result("ARG v=1\nFROM a\nARG v=2\nLABEL k=$v\n").labels == {"k": "2"}
    assert result("ARG v=1\nFROM a\nARG v=2\nLABEL k=$v\n", build_args={"v": "3"}).labels == {"k": "3"}


def test_arguments_count_from_their_line_on() -> None:
    assert result("LABEL before=$v\nARG v=1\nLABEL after=$v\n").labels == {"after": "1", "before": ""}


def test_of_arg_and_env_the_later_wins() -> None:
    assert result("ARG v=arg\nENV v=env\nLABEL k=$v").labels == {"k": "env"}
    assert result("ENV v=env\nARG v=arg\nLABEL k=$v").labels == {"k": "arg"}


def test_arguments_reach_run_but_not_the_image() -> None:
    run = run_of("ARG v=1\nENV e=2\nRUN x")
    assert run.environment["v"] == "1" and run.environment["e"] == "2"
    assert result("ARG v=1\nENV e=$v\nRUN x").env == (PATH, "e=1")


def test_one_env_is_expanded_before_it_is_set() -> None:
    assert result("ENV a=1\nENV a=2 b=$a").env == (PATH, "a=2", "b=1")


def test_env_keeps_its_place_in_the_image() -> None:
    config = RunConfig(env=("A=1", "PATH=/bin", "B=2"))
    assert result("ENV PATH /x:$PATH\nENV C=3", config).env == ("A=1", "PATH=/x:/bin", "B=2", "C=3")


def test_proxies_reach_run_and_leave_no_trace() -> None:
    run = run_of("RUN x", {"http_proxy": "http://p"})
    assert run.environment["http_proxy"] == "http://p"
    assert not any("http_proxy" in item for item in run.keyed_environment)
    assert history("RUN x", {"http_proxy": "http://p"}) == ["RUN /bin/sh -c x"]


def test_unused_build_arguments_are_warned_of() -> None:
    warnings = planned("ARG a\nRUN x", None, {"a": "1", "zz": "2", "http_proxy": "p"}).warnings
    assert warnings == ("one or more build-args [zz] were not consumed",)


def test_the_escape_directive_reaches_expansion() -> None:
    assert result("# escape=`\nFROM a\nENV d=c:\\dir e=`$x\n").env[1:] == ("d=c:\\dir", "e=$x")


# --------------------------------------------------------------------------------------------------- configuration


def test_history_reads_as_docker_writes_it() -> None:
    lines = history(
        'MAINTAINER me\nENV a=1 b="2 3"\nARG v=1\nRUN x && \\\n  y\nRUN ["/x", "y"]\nLABEL l=m\n'
        "EXPOSE 80 53/udp\nEXPOSE 9\nWORKDIR /w\nUSER u\nVOLUME /v /u\n"
        'STOPSIGNAL TERM\nCMD x\nENTRYPOINT ["e"]\nCOPY --chown=1 a b /c/\n'
        'SHELL ["/bin/bash", "-c"]\nONBUILD RUN z\n'
    )
    assert lines == [
        "MAINTAINER me",
        "ENV a=1 b=2 3",
        "ARG v=1",
        "RUN |1 v=1 /bin/sh -c x &&   y",
        "RUN |1 v=1 /x y",
        "LABEL l=m",
        "EXPOSE [53/udp 80/tcp]",
        "EXPOSE [9/tcp]",
        "WORKDIR /w",
        "USER u",
        "VOLUME [/v /u]",
        "STOPSIGNAL TERM",
        'CMD ["/bin/sh" "-c" "x"]',
        'ENTRYPOINT ["e"]',
        "COPY --chown=1 a b /c/",
        "SHELL [/bin/bash -c]",
        "",
    ]


def test_cmd_and_entrypoint() -> None:
    assert result("CMD x y").cmd == ("/bin/sh", "-c", "x y")
    assert result('CMD ["x", "y"]').cmd == ("x", "y")
    assert result('SHELL ["/bin/bash", "-xc"]\nCMD x').cmd == ("/bin/bash", "-xc", "x")
    assert result('ENTRYPOINT ["e"]', RunConfig(cmd=("old",))).cmd is None
    assert result('CMD x\nENTRYPOINT ["e"]').cmd == ("/bin/sh", "-c", "x")
    assert result("ENTRYPOINT []", RunConfig(entrypoint=("old",))).entrypoint is None


def test_workdir_builds_on_itself() -> None:
    assert result("WORKDIR /a\nWORKDIR b/\nWORKDIR ../c").working_dir == "/a/c"
    assert result("WORKDIR x", RunConfig(working_dir="/base")).working_dir == "/base/x"
    assert result("ENV d=/x\nWORKDIR $d/y").working_dir == "/x/y"
    [step] = planned("WORKDIR /").steps
    assert step.action is None
    [step] = planned("WORKDIR /a", RunConfig(user="u")).steps
    assert step.action == DirectoryAction("/a", "u")


def test_expose_takes_variables_ranges_and_protocols() -> None:
    assert result("ARG p='80 443'\nEXPOSE $p 8000-8002/udp").exposed_ports == (
        *("443/tcp", "80/tcp", "8000/udp", "8001/udp", "8002/udp"),
    )
    for word in ("x", "80/icmp", "70000", "9-8"):
        with pytest.raises(MetadataError):
            exposed(word)


def test_healthcheck_reaches_the_configuration() -> None:
    check = result("HEALTHCHECK --interval=5s CMD curl $x").healthcheck
    assert check is not None and check.test == ("CMD-SHELL", "curl $x") and check.interval == 5 * 10**9


def test_onbuild_triggers_of_the_base_come_first_and_do_not_stay() -> None:
    made = planned("RUN own", RunConfig(on_build=("RUN inherited", "ENV a=1")))
    assert [step.text for step in made.steps] == ["RUN inherited", "ENV a=1", "RUN own"]
    assert made.steps[-1].config.on_build == ()
    assert made.steps[0].location.start == 1


def test_scratch_gets_a_path() -> None:
    assert result("FROM scratch\nCMD x\n").env == (PATH,)


# --------------------------------------------------------------------------------------------------------- actions


def test_run_knows_where_and_as_whom() -> None:
    run = run_of('WORKDIR /w\nUSER u:g\nRUN --network=none ["a", "$b"]')
    assert (run.arguments, run.working_dir, run.user, run.network) == (("a", "$b"), "/w", "u:g", "none")


def test_run_heredocs() -> None:
    assert run_of("RUN <<E\na\nb\nE").arguments == ("/bin/sh", "-c", "a\nb\n")
    assert run_of("RUN <<-E\n\ta\nE").arguments == ("/bin/sh", "-c", "a\n")
    assert run_of("RUN cat <<A <<B\n$x\nA\nb\nB").arguments == ("/bin/sh", "-c", "cat <<A <<B\n$x\nA\nb\nB")


@pytest.mark.parametrize(
    ("written", "destination"),
    [
        ("/x", "/x"),
        ("/x/", "/x/"),
        ("x", "/w/x"),
        (".", "/w/"),
        ("./", "/w/"),
        ("..", "/"),
        ("../y/.", "/y/"),
        ("/", "/"),
    ],
)
def test_destinations_are_absolute(written: str, destination: str) -> None:
    assert copy_of(f"WORKDIR /w\nCOPY a {written}").destination == destination


def test_copy_expands_words_and_unquoted_heredocs() -> None:
    copy = copy_of("ARG v=1\nCOPY --chown=$v a$v <<E <<'F' /d$v/\n$v \"q\"\nE\n$v\nF\n")
    assert (copy.sources, copy.destination, copy.chown) == (("a1",), "/d1/", "1")
    assert [file.data for file in copy.files] == ['1 "q"\n', "$v\n"]


def test_only_add_unpacks() -> None:
    assert [copy_of(f"{line} a b").unpack for line in ("COPY", "ADD", "ADD --unpack=false")] == [False, True, False]


UNSUPPORTED = {
    "FROM a\nRUN x\nFROM b\n": (3, "a build of several stages"),
    "FROM a\nCOPY --from=x a b\n": (2, "COPY --from"),
    "FROM a\nCOPY --parents a b\n": (2, "COPY --parents"),
    "FROM a\nCOPY --exclude=x a b\n": (2, "COPY --exclude"),
    "FROM a\nADD http://h/x /\n": (2, "ADD of a URL"),
    "FROM a\nADD git@h:x.git /\n": (2, "ADD of a URL"),
    "FROM a\nADD --checksum=sha256:1 http://h/x /\n": (2, "ADD --checksum"),
    "FROM a\n\nRUN --mount=type=cache,target=/x y\n": (3, "RUN --mount=type=cache"),
    "FROM a\nRUN --network=host y\n": (2, "RUN --network=host"),
    "FROM a\nRUN --security=insecure y\n": (2, "RUN --security=insecure"),
    "FROM a\nRUN --device=x y\n": (2, "RUN --device"),
    "FROM a\nRUN <<E\n#!/bin/x\nE\n": (2, "a heredoc that starts with #!"),
    "FROM --platform=linux/s390x a\n": (1, f"building for platform 'linux/s390x' on a {host_platform()} host"),
}


@pytest.mark.parametrize("text", UNSUPPORTED)
def test_what_is_not_carried_out_is_said_before_anything_runs(text: str) -> None:
    line, what = UNSUPPORTED[text]
    with pytest.raises(UnsupportedInstruction) as caught:
        parsed = program(parse(text))
        base_of(parsed, {})
        plan(parsed, RunConfig(), "", {})
    assert str(caught.value) == f"Dockerfile line {line}: {what} is not supported by this version"
    assert caught.value.source == text.split("\n")[line - 1] or "<<" in text


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("EXPOSE x", "invalid containerPort: x"),
        ("STOPSIGNAL SIGNOSUCH", "invalid signal: SIGNOSUCH"),
        ("ENV a=${b", "missing '}'"),
        ("COPY --chmod=999 a b", "invalid chmod parameter: '999'"),
        ("COPY http://h/x /", "source can't be a URL for COPY"),
        ("RUN []", "RUN requires a command"),
        ("VOLUME $nosuch", "VOLUME specified can not be an empty string"),
    ],
)
def test_values_that_mean_nothing_are_named(line: str, words: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        planned(f"RUN first\n{line}")
    assert words in str(caught.value) and caught.value.line == 3


def test_the_platform_of_this_host_may_be_named() -> None:
    assert base(f"FROM --platform={host_platform()} a\n") == "a"
    assert base("FROM --platform=$BUILDPLATFORM a\n") == "a"


# ------------------------------------------------------------------------------------------------------ cache keys


def key(body: str, build_args: Mapping[str, str] | None = None) -> str:
    return cache.run_key("parent", run_of(body, build_args))


def test_what_reaches_a_process_is_in_its_key() -> None:
    reference = key("RUN x")
    different = ["RUN y", "ENV a=1\nRUN x", "ARG a=2\nRUN x", "WORKDIR /w\nRUN x", "USER u\nRUN x", 'RUN ["x"]']
    different += ["RUN --network=none x", 'SHELL ["/bin/bash", "-c"]\nRUN x']
    keys = {key(body) for body in different}
    assert len(keys) == len(different) and reference not in keys


def test_what_does_not_reach_a_process_is_not() -> None:
    reference = key("RUN x")
    for body in ("LABEL a=b\nRUN x", "CMD y\nRUN x", "EXPOSE 1\nRUN x", "ARG a\nRUN x"):
        assert key(body) == reference, body
    assert key("RUN x", {"HTTP_PROXY": "p"}) == reference


def test_keys_stand_on_each_other() -> None:
    run = run_of("RUN x")
    assert cache.run_key("one", run) != cache.run_key("two", run)
    copy = copy_of("COPY a b")
    assert cache.copy_key("one", copy, ["c"]) != cache.copy_key("one", copy, ["d"])
    assert cache.base_key("a") != cache.base_key("b")


# ----------------------------------------------------------------------------------------------- changes and modes


def test_changes_of_commit() -> None:
    config = apply_changes(
        RunConfig(env=("A=1",), working_dir="/w"),
        ["ENV B=$A", "CMD serve", 'ENTRYPOINT ["e"]', "WORKDIR x", "EXPOSE 80", "USER u", "LABEL a=b", "VOLUME /v"],
    )
    assert config.env == ("A=1", "B=1") and config.cmd == ("/bin/sh", "-c", "serve") and config.entrypoint == ("e",)
    assert (config.working_dir, config.user, config.exposed_ports) == ("/w/x", "u", ("80/tcp",))


@pytest.mark.parametrize("change", ["RUN x", "FROM a", "COPY a b", "ENV", "EXPOSE x", "NOSUCH x", ""])
def test_changes_that_are_refused(change: str) -> None:
    with pytest.raises(InvalidInput):
        apply_changes(RunConfig(), [change])


@pytest.mark.parametrize(
    ("text", "mode", "changed"),
    [
        ("755", 0o100644, 0o755),
        ("4755", 0o100644, 0o4755),
        ("u+x", 0o100644, 0o744),
        ("go-rwx", 0o040755, 0o700),
        ("a=rX", 0o100644, 0o444),
        ("u=rwX,go=rX", 0o040700, 0o755),
        ("u=rwX,go=rX", 0o100600, 0o644),
        ("o=g", 0o100640, 0o644),
        ("+t", 0o040755, 0o1755),
        ("u+s,g+s", 0o100755, 0o6755),
        ("u+w-x", 0o100555, 0o655),
    ],
)
def test_modes(text: str, mode: int, changed: int) -> None:
    assert oct(parse_mode(text)(mode)) == oct(changed)


@pytest.mark.parametrize("text", ["888", "77777", "u+z", "u", "x+r", "-1", ""])
def test_modes_that_mean_nothing(text: str) -> None:
    with pytest.raises(ValueError, match="invalid chmod parameter"):
        parse_mode(text)
