"""What a container is asked to be: forms, merging, JSON."""

from __future__ import annotations

import json

import pytest

from engine.containers import names, quantities, signals
from engine.containers.config import ContainerConfig, merge, merge_environment, request
from engine.containers.mounts import parse_tmpfs, parse_volume
from engine.containers.quantities import RestartPolicy
from engine.errors import InvalidInput
from engine.images.config import RunConfig

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512m", 512 << 20),
        ("1g", 1 << 30),
        ("4096", 4096),
        ("64MiB", 64 << 20),
        ("1.5k", 1536),
        ("7b", 7),
        ("2T", 2 << 40),
    ],
)
def test_sizes_are_binary_multiples(text: str, size: int) -> None:
    assert quantities.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "m", "-1", "12q", "1 0", "0x10", "1,5g"])
def test_unreadable_sizes_are_refused_with_a_remedy(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        quantities.parse_size(text)
    assert caught.value.remedy


def test_memory_below_dockers_minimum_is_refused() -> None:
    with pytest.raises(InvalidInput, match="Minimum memory limit allowed is 6MB"):
        quantities.parse_memory("5m")


@pytest.mark.parametrize(
    ("text", "nano"), [("1.5", 1_500_000_000), ("0.5", 500_000_000), ("0", 0), (".25", 250_000_000)]
)
def test_cpus_are_billionths(text: str, nano: int) -> None:
    assert quantities.parse_cpus(text) == nano


@pytest.mark.parametrize("text", ["-1", "two", "", "nan", "inf"])
def test_unreadable_cpus_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        quantities.parse_cpus(text)


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("no", RestartPolicy()),
        ("always", RestartPolicy("always")),
        ("unless-stopped", RestartPolicy("unless-stopped")),
        ("on-failure", RestartPolicy("on-failure")),
        ("on-failure:5", RestartPolicy("on-failure", 5)),
    ],
)
def test_restart_policies(text: str, policy: RestartPolicy) -> None:
    assert quantities.parse_restart(text) == policy


@pytest.mark.parametrize("text", ["sometimes", "always:3", "on-failure:x", "on-failure:-1", ":3"])
def test_wrong_restart_policies_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="invalid restart policy"):
        quantities.parse_restart(text)


def test_volume_forms() -> None:
    bind = parse_volume("/srv/www/:/www:ro")
    assert (bind.kind, bind.source, bind.target, bind.read_only, bind.create_source) == (
        "bind",
        "/srv/www",
        "/www",
        True,
        True,
    )
    named = parse_volume("data:/var/lib/data/")
    assert (named.kind, named.source, named.target, named.anonymous) == ("volume", "data", "/var/lib/data", False)
    anonymous = parse_volume("/cache")
    assert (anonymous.kind, anonymous.source, anonymous.target, anonymous.anonymous) == ("volume", "", "/cache", True)
    assert parse_volume("data:/d:nocopy,rslave").nocopy
    assert parse_volume("data:/d:nocopy,rslave").propagation == "rslave"


@pytest.mark.parametrize(
    "text", ["", ":/x", "a:", "a:b:c:d", "/a:/b:maybe", "/a:/", "a:b", "/", "/a:/b:nocopy", "/a:/b:ro,rw"]
)
def test_wrong_volume_forms_are_refused_with_a_remedy(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_volume(text)
    assert caught.value.remedy


def test_a_volume_name_with_a_slash_is_refused() -> None:
    with pytest.raises(InvalidInput, match="includes invalid characters for a local volume name"):
        parse_volume("some/dir:/x")


@pytest.mark.parametrize("text", ["t", "/", "/t:bogus", "/t:size", "/t:exec=1", "/t:ro,colour=red"])
def test_a_wrong_tmpfs_is_refused_with_its_own_form(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_tmpfs(text)
    assert "TARGET[:OPTIONS]" in refused.value.remedy and "SOURCE" not in refused.value.remedy


def test_tmpfs_options_are_kept() -> None:
    mount = parse_tmpfs("/run:size=1m,exec")
    assert (mount.kind, mount.target, mount.options) == ("tmpfs", "/run", ("size=1m", "exec"))


def test_json_round_trip_keeps_everything_and_stays_small() -> None:
    config = request(
        "busybox",
        ["sleep", "1"],
        environment={"A": "b=c"},
        ports=["127.0.0.1:8080:80/udp", "8000-8010:81", "82"],
        binds=["data:/d:ro"],
        tmpfs=["/t:size=1m"],
        restart_policy="on-failure:3",
        mem_limit="64m",
        labels={"x": "y"},
        tty=True,
    )
    text = json.dumps(config.to_json())
    assert ContainerConfig.from_json(json.loads(text)) == config
    assert ContainerConfig("busybox").to_json() == {"image": "busybox"}


def test_an_unknown_setting_is_named() -> None:
    with pytest.raises(InvalidInput, match="unknown container setting: colour"):
        request("busybox", colour="red")


IMAGE = RunConfig(
    env=("PATH=/bin", "A=image", "B=image"),
    cmd=("serve", "--all"),
    entrypoint=("/entry",),
    volumes=("/data", "/logs"),
    exposed_ports=("80/tcp",),
    working_dir="/srv",
    user="www",
    labels={"from": "image", "both": "image"},
    stop_signal="SIGINT",
)


def test_image_defaults_fill_what_the_request_leaves_open() -> None:
    merged = merge(ContainerConfig("i"), IMAGE)
    assert merged.arguments == ("/entry", "serve", "--all")
    assert (merged.working_dir, merged.user, merged.stop_signal) == ("/srv", "www", "SIGINT")
    assert merged.exposed == ("80/tcp",)
    assert [mount.target for mount in merged.binds] == ["/data", "/logs"]
    assert all(mount.anonymous for mount in merged.binds)


def test_the_request_wins_over_the_image() -> None:
    config = request(
        "i", ["other"], environment=["A=mine"], labels={"both": "mine"}, binds=["vol:/data"], working_dir="/w", user="0"
    )
    merged = merge(config, IMAGE)
    assert merged.arguments == ("/entry", "other")
    assert merged.environment == ("A=mine", "PATH=/bin", "B=image")
    assert merged.labels == {"from": "image", "both": "mine"}
    assert [(mount.source, mount.target) for mount in merged.binds] == [("vol", "/data"), ("", "/logs")]


def test_an_entrypoint_of_ones_own_drops_the_images_command() -> None:
    assert merge(request("i", entrypoint="/bin/sh"), IMAGE).arguments == ("/bin/sh",)
    assert merge(request("i", ["-c", "x"], entrypoint=["sh"]), IMAGE).arguments == ("sh", "-c", "x")


def test_an_empty_entrypoint_resets_the_images() -> None:
    assert merge(request("i", ["only"], entrypoint=""), IMAGE).arguments == ("only",)


def test_nothing_to_run_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no command specified"):
        merge(ContainerConfig("i"), RunConfig())


def test_one_path_is_mounted_once() -> None:
    with pytest.raises(InvalidInput, match="Duplicate mount point: /x"):
        merge(request("i", ["c"], binds=["a1:/x", "b1:/x"]), RunConfig())


def test_later_variables_replace_earlier_ones_in_place() -> None:
    assert merge_environment(["A=1", "B=2"], ["A=3", "C=4", "B"]) == ("A=3", "C=4")


@pytest.mark.parametrize("name", ["web", "/web", "a1", "A.b_c-d", "9x"])
def test_names_docker_allows(name: str) -> None:
    assert names.validate(name) == name.removeprefix("/")


@pytest.mark.parametrize("name", ["", "a", "-web", "we b", "wéb", "a/b", "web\n", "//web"])
def test_names_docker_refuses(name: str) -> None:
    with pytest.raises(InvalidInput, match="Invalid container name"):
        names.validate(name)


def test_made_up_names_are_valid_and_ids_are_never_numbers() -> None:
    for attempt in range(6):
        assert names.validate(names.generate(attempt))
    assert len(names.new_id()) == 64
    assert not names.new_id()[:12].isdigit()


@pytest.mark.parametrize(("text", "number"), [("9", 9), ("KILL", 9), ("sigterm", 15), ("SIGRTMIN+1", 35), (15, 15)])
def test_signals(text: str | int, number: int) -> None:
    assert signals.parse(text) == number


@pytest.mark.parametrize("text", ["0", "65", "SIGNOPE", "", "-9"])
def test_wrong_signals_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="Invalid signal"):
        signals.parse(text)
