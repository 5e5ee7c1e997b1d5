"""Whole builds: results, cache, RUN, failure, cancelling, crashes, two builds at once."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from engine.build.events import BuildEvent
from engine.config import Config
from engine.engine import Engine
from engine.errors import BuildError, Cancelled, InvalidInput
from engine.images.records import Image
from engine.values import replace
from tests.kernel.fault_scenes import wait_until

pytestmark = pytest.mark.kernel


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """An empty build context."""
    root = tmp_path / "context"
    root.mkdir()
    return root


def write(context: Path, text: str) -> Path:
    (context / "Dockerfile").write_text(text)
    return context


class Told:
    """The events of a build."""

    def __init__(self) -> None:
        self.events: list[BuildEvent] = []

    def __call__(self, event: BuildEvent) -> None:
        self.events.append(event)

    def cached(self) -> list[int]:
        return [event.step for event in self.events if event.kind == "cached"]

    def output(self) -> str:
        return "".join(event.text for event in self.events if event.kind == "output")


def assert_whole(engine: Engine) -> None:
    """No directory without a layer, no mount, no open operation."""
    layers = {row["cache_id"] for row in engine.database.all("SELECT cache_id FROM layers")}
    assert set(engine.driver.ids()) == layers
    assert not engine.journal.pending()
    mounted = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    assert not [path for path in mounted if path.startswith(f"{engine.config.data_root}/")]
    assert not list((engine.config.data_root / "staging").glob("*"))


DEMO = """\
FROM busybox
MAINTAINER someone@example.org
RUN mkdir -p /data && \\
    # made in one step
    echo made > /data/file && \\
    cat /data/file
ADD app /data/app
ENV PATH /data/app/bin:$PATH
EXPOSE 27017
WORKDIR /data/app/bin/
COPY app.conf .
CMD serve -f app.conf
"""


@pytest.fixture
def demo(context: Path) -> Path:
    (context / "app" / "bin").mkdir(parents=True)
    (context / "app" / "bin" / "serve").write_text("#!/bin/sh\ncat $2\n")
    (context / "app" / "bin" / "serve").chmod(0o755)
    (context / "app.conf").write_text("port=27017\n")
    return write(context, DEMO)


def test_a_whole_build(engine: Engine, demo: Path) -> None:
    told = Told()
    image = engine.builder.build(demo, tags=["demo", "other:1"], progress=told)

    assert image.names == ("demo:latest", "other:1")
    config = engine.images.config(image.id)
    assert config.author == "someone@example.org"
    assert config.config.cmd == ("/bin/sh", "-c", "serve -f app.conf")
    assert config.config.env == ("PATH=/data/app/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",)
    assert config.config.exposed_ports == ("27017/tcp",)
    assert config.config.working_dir == "/data/app/bin"
    history = [(step.created_by, step.empty_layer) for step in config.history[1:]]
    assert history == [
        ("MAINTAINER someone@example.org", True),
        ("RUN /bin/sh -c mkdir -p /data &&     echo made > /data/file &&     cat /data/file", False),
        ("ADD app /data/app", False),
        ("ENV PATH=/data/app/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", True),
        ("EXPOSE [27017/tcp]", True),
        ("WORKDIR /data/app/bin", True),
        ("COPY app.conf .", False),
        ('CMD ["/bin/sh" "-c" "serve -f app.conf"]', True),
    ]
    assert told.output() == "made\n"
    assert [event.kind for event in told.events].count("step") == told.events[-1].total == 9
    assert (told.events[-1].kind, told.events[-1].text) == ("done", image.id)
    assert_whole(engine)


def test_no_images_of_single_steps_appear(engine: Engine, demo: Path) -> None:
    image = engine.builder.build(demo)
    assert {one.id for one in engine.images.list(all=True)} == {image.id, engine.images.get("busybox").id}


def test_another_dockerfile_and_arguments(engine: Engine, context: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (context / "sub").mkdir()
    (context / "sub" / "Other.df").write_text("ARG base\nFROM $base\nARG x\nARG y\nLABEL x=$x y=$y\n")
    monkeypatch.setenv("y", "from the environment")
    arguments = {"base": "busybox", "x": "given", "y": None}
    image = engine.builder.build(context, dockerfile="sub/Other.df", build_args=arguments)
    assert engine.images.config(image.id).config.labels == {"x": "given", "y": "from the environment"}


def test_the_vfs_driver_builds_it_too(config: Config, demo: Path) -> None:
    engine = Engine(replace(config, storage_driver="vfs"))
    image = engine.builder.build(demo)
    assert engine.builder.build(demo).id == image.id
    engine.images.create_directory("look", image)
    root = engine.driver.mount("look")
    assert (root / "data/file").read_text() == "made\n"
    assert (root / "data/app/bin/app.conf").read_text() == "port=27017\n"
    engine.images.discard("look")
    assert_whole(engine)
    engine.close()


# -------------------------------------------------------------------------------------------------------------- cache


def cached(engine: Engine, context: Path, **options: Any) -> tuple[Image, list[int]]:
    told = Told()
    image = engine.builder.build(context, progress=told, **options)
    return image, told.cached()


def test_a_second_build_is_the_first(engine: Engine, config: Config, demo: Path) -> None:
    first, hits = cached(engine, demo)
    assert hits == []
    second, hits = cached(engine, demo, tags=["named"])
    assert second.id == first.id and hits == [3, 4, 7, 8]
    engine.close()
    third, hits = cached(Engine(config), demo)
    assert third.id == first.id and third.names == ("named:latest",) and hits == [3, 4, 7, 8]


def test_content_decides_and_not_times(engine: Engine, demo: Path) -> None:
    first, _ = cached(engine, demo)
    os.utime(demo / "app.conf", (1, 1))
    (demo / "unused").touch()
    assert cached(engine, demo)[0].id == first.id
    (demo / "app.conf").write_text("port=27018\n")
    second, hits = cached(engine, demo)
    assert second.id != first.id and hits == [3, 4, 7]
    (demo / "app" / "bin" / "serve").chmod(0o700)
    assert cached(engine, demo)[1] == [3]


def test_a_changed_step_makes_all_after_it_anew(engine: Engine, context: Path) -> None:
    write(context, "FROM busybox\nRUN echo 1 > /a\nRUN date +%N > /b\n")
    first, _ = cached(engine, context)
    write(context, "FROM busybox\nRUN echo 2 > /a\nRUN date +%N > /b\n")
    assert cached(engine, context)[1] == []
    write(context, "FROM busybox\nRUN echo 1 > /a\nRUN date +%N > /b\nLABEL late=1\n")
    third, hits = cached(engine, context)
    assert hits == [2, 3] and third.chain == first.chain and third.id != first.id


def test_arguments_matter_where_they_are_used(engine: Engine, context: Path) -> None:
    (context / "f").touch()
    write(context, "FROM busybox\nARG v\nCOPY f /\nRUN echo $v > /v\n")
    cached(engine, context, build_args={"v": "1"})
    assert cached(engine, context, build_args={"v": "2"})[1] == [3]
    image, hits = cached(engine, context, build_args={"v": "1"})
    assert hits == [3, 4]
    assert "ARG v=1" in [step.created_by for step in engine.images.config(image.id).history]


def test_no_cache_runs_everything(engine: Engine, context: Path) -> None:
    write(context, "FROM busybox\nRUN date +%s%N > /now\n")
    first, _ = cached(engine, context)
    second, hits = cached(engine, context, no_cache=True)
    assert hits == [] and second.id != first.id
    assert cached(engine, context)[0].id == second.id


def test_equal_layers_are_kept_once(engine: Engine, context: Path) -> None:
    (context / "file").write_text("x")
    write(context, "FROM busybox\nCOPY file /\nRUN date +%N > /b; cat /file\n")
    first, _ = cached(engine, context)
    second, _ = cached(engine, context, no_cache=True)
    below = [engine.images.store.layers.stack(image.chain)[-2] for image in (first, second)]
    assert below[0] == below[1] and first.chain != second.chain
    assert_whole(engine)


def test_a_removed_image_takes_its_results_along(engine: Engine, context: Path) -> None:
    write(context, "FROM busybox\nRUN echo > /a\n")
    image, _ = cached(engine, context)
    engine.images.remove(image.id)
    assert cached(engine, context)[1] == []


def test_a_result_lives_while_any_image_holds_it(engine: Engine, context: Path) -> None:
    write(context, "FROM busybox\nRUN echo > /a\n")
    first, _ = cached(engine, context)
    write(context, "FROM busybox\nRUN echo > /a\nLABEL b=c\n")
    cached(engine, context)
    engine.images.remove(first.id)
    assert cached(engine, context)[1] == [2]


def test_removing_an_image_leaves_another_its_results(engine: Engine, context: Path) -> None:
    texts = ("FROM busybox\nRUN echo a > /a\nRUN echo b > /b\n", "FROM busybox\nRUN echo a > /a\nRUN echo c > /c\n")
    write(context, texts[0])
    first, _ = cached(engine, context)
    write(context, texts[1])
    second, hits = cached(engine, context)
    assert hits == [2]
    engine.images.remove(second.id)
    write(context, texts[0])
    again, hits = cached(engine, context)
    assert (again.id, hits) == (first.id, [2, 3])


# ---------------------------------------------------------------------------------------------------------------- RUN


def test_run_has_a_network_and_a_sandbox(engine: Engine, context: Path) -> None:
    write(
        context,
        "FROM busybox\nRUN ip -4 addr show eth0; cat /etc/resolv.conf; mount -t tmpfs none /mnt || echo kept in\n"
        "RUN --network=none ip link | grep -c eth0 || echo alone\n",
    )
    told = Told()
    image = engine.builder.build(context, progress=told)
    assert "172.17.0." in told.output() and "kept in" in told.output() and "alone" in told.output()
    # Nothing that the sandbox needed is left in the layers.
    [_, *made] = engine.images.store.layers.stack(image.chain)
    assert [list(engine.driver.changes(layer.cache_id)) for layer in made] == [[], []]


def test_run_sees_its_user_directory_and_variables(engine: Engine, context: Path) -> None:
    write(
        context,
        "FROM busybox\nARG arg=1\nENV env=2\nUSER daemon\nWORKDIR /w\n"
        'RUN echo "$(id -un) $(pwd) $arg $env $HTTP_PROXY"\nSHELL ["/bin/sh", "-xc"]\n'
        'RUN <<E\necho "a heredoc"\nE\n',
    )
    told = Told()
    engine.builder.build(context, build_args={"HTTP_PROXY": "http://p"}, progress=told)
    assert told.output() == "daemon /w 1 2 http://p\n+ echo 'a heredoc'\na heredoc\n"


def test_output_keeps_characters_whole(engine: Engine, context: Path) -> None:
    write(context, "FROM busybox\nRUN printf '\\xe2\\x82'; sleep 0.2; printf '\\xac'\n")
    told = Told()
    engine.builder.build(context, progress=told)
    assert told.output() == "€"


def test_a_failing_run_shows_output_code_and_place_and_leaves_nothing(engine: Engine, context: Path) -> None:
    images = engine.images.list(all=True)
    write(context, "FROM busybox\nRUN echo said; \\\n  touch /half; exit 7\nRUN never\n")
    told = Told()
    with pytest.raises(BuildError) as caught:
        engine.builder.build(context, tags=["app"], progress=told)

    words = 'process "/bin/sh -c echo said;   touch /half; exit 7" did not complete successfully: exit code: 7'
    assert str(caught.value) == words
    assert (caught.value.file, caught.value.line) == ("Dockerfile", 2)
    assert caught.value.source == "RUN echo said; \\\n  touch /half; exit 7"
    assert told.output() == "said\n"
    assert (told.events[-1].kind, told.events[-1].text) == ("error", words)
    assert engine.images.list(all=True) in (images, [engine.images.get("busybox")])
    assert_whole(engine)


def test_a_missing_command_is_named(engine: Engine, context: Path) -> None:
    write(context, 'FROM busybox\nRUN ["/nosuch", "x"]\n')
    with pytest.raises(BuildError, match="/nosuch") as caught:
        engine.builder.build(context)
    assert caught.value.line == 2
    assert_whole(engine)


def test_finished_steps_of_a_failed_build_are_not_done_again(engine: Engine, context: Path) -> None:
    write(context, "FROM busybox\nRUN date +%N > /a\nRUN false\n")
    with pytest.raises(BuildError):
        engine.builder.build(context, tags=["app"])
    write(context, "FROM busybox\nRUN date +%N > /a\nRUN true\n")
    image, hits = cached(engine, context)
    assert hits == [2] and image.names == ()
    # What was kept for the cache's sake alone is gone now that the image has it.
    assert {one.id for one in engine.images.list(all=True)} == {image.id, engine.images.get("busybox").id}
    assert_whole(engine)


def test_a_dangling_image_of_the_users_stays(engine: Engine, context: Path) -> None:
    write(context, "FROM busybox\nRUN date +%N > /a\n")
    first, _ = cached(engine, context, tags=["app"])
    second, _ = cached(engine, context, tags=["app"], no_cache=True)
    assert {first.id, second.id} < {one.id for one in engine.images.list(all=True)}


def test_a_mistake_in_the_last_line_runs_nothing(engine: Engine, context: Path) -> None:
    for last in ("COPY --from=other / /", "EXPOSE x", "RUNN x", "FROM busybox"):
        write(context, f"FROM busybox\nRUN echo ran\n{last}\n")
        told = Told()
        with pytest.raises(BuildError):
            engine.builder.build(context, progress=told)
        assert told.output() == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("FROM nosuchimage\n", "No such image: nosuchimage"),
        ("FROM UPPER\n", r"repository name \(UPPER\) must be lowercase"),
        ("", "the Dockerfile cannot be empty"),
        ("\n \n", "the Dockerfile cannot be empty"),
    ],
)
def test_what_a_build_starts_from(engine: Engine, context: Path, text: str, words: str) -> None:
    with pytest.raises(BuildError, match=words) as caught:
        engine.builder.build(write(context, text))
    assert caught.value.line == 1 and caught.value.remedy


def test_wrong_arguments_are_named(engine: Engine, context: Path) -> None:
    with pytest.raises(InvalidInput, match=r"failed to read dockerfile: open .*/Dockerfile: no such file"):
        engine.builder.build(context)
    with pytest.raises(InvalidInput, match="unable to prepare context"):
        engine.builder.build(context / "nowhere")
    with pytest.raises(InvalidInput, match="invalid reference format"):
        engine.builder.build(write(context, "FROM busybox\n"), tags=["-bad-"])


# ------------------------------------------------------------------------------------- cancelling, crashes, two at once


def test_cancelling_ends_the_process_and_leaves_nothing(engine: Engine, context: Path) -> None:
    write(context, "FROM busybox\nRUN echo started; sleep 4712\n")
    cancel = threading.Event()

    def progress(event: BuildEvent) -> None:
        if event.kind == "output":
            cancel.set()

    with pytest.raises(Cancelled):
        engine.builder.build(context, tags=["app"], progress=progress, cancel=cancel)
    assert not sleeping("4712")
    assert [image.names for image in engine.images.list(all=True)] == [("busybox:latest",)]
    assert_whole(engine)


def test_a_killed_build_is_cleared_away_by_the_next_engine(engine: Engine, config: Config, context: Path) -> None:
    engine.images.ensure_busybox()
    write(context, "FROM busybox\nRUN echo > /a\nRUN while :; do date +%N > /$RANDOM; done & sleep 4713\n")
    engine.close()
    victim = multiprocessing.get_context("fork").Process(target=_build, args=(config, context, ["app"]))
    victim.start()
    wait_until(lambda: sleeping("4713"), "the second step runs")
    assert victim.pid is not None
    os.kill(victim.pid, signal.SIGKILL)
    victim.join()

    after = Engine(config)
    wait_until(lambda: not sleeping("4713"), "the step's processes are gone")
    assert [image.names for image in after.images.list(all=True)] == [("busybox:latest",)]
    assert_whole(after)
    assert not after.database.all("SELECT * FROM endpoints")
    after.close()


def _build(config: Config, context: Path, tags: Sequence[str]) -> None:
    Engine(config).builder.build(context, tags=tags)


def test_two_builds_of_one_thing_at_once(engine: Engine, config: Config, context: Path) -> None:
    engine.images.ensure_busybox()
    (context / "file").write_text("x")
    os.utime(context / "file", (1, 1))
    # Both make the very same first layer, and both build on it.
    write(context, "FROM busybox\nCOPY file /\nRUN sleep 0.3; date +%N > /b\nRUN cat /file /b > /c\n")
    start = threading.Barrier(2)
    built: list[Image] = []
    failures: list[BaseException] = []

    def run(tag: str) -> None:
        own = Engine(config)
        try:
            start.wait()
            built.append(own.builder.build(context, tags=[tag], no_cache=True))
        except BaseException as error:
            failures.append(error)
        finally:
            own.close()

    threads = [threading.Thread(target=run, args=(tag,)) for tag in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not failures
    for image in built:
        engine.images.create_directory(f"look-{image.short_id}", engine.images.get(image.id))
        root = engine.driver.mount(f"look-{image.short_id}")
        assert (root / "c").read_text() == "x" + (root / "b").read_text()
        engine.images.discard(f"look-{image.short_id}")
    assert_whole(engine)


def sleeping(seconds: str) -> bool:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cmdline").read_bytes().split(b"\0")[:2] == [b"sleep", seconds.encode()]:
                return True
        except OSError:
            continue
    return False
