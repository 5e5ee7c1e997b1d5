"""Image configurations and what --change does to them."""

from __future__ import annotations

import json

import pytest

from engine.errors import InvalidInput
from engine.images.changes import apply_changes
from engine.images.config import Healthcheck, History, ImageConfig, RunConfig
from engine.images.layers import chain_id, chain_of
from engine.images.manifest import Descriptor, Manifest, for_this_host, image_manifest

pytestmark = pytest.mark.unit

DOCUMENT = {
    "architecture": "amd64",
    "os": "linux",
    "variant": "v2",
    "created": "2024-01-02T03:04:05.123456789Z",
    "author": "me",
    "docker_version": "20.10",
    "config": {
        "User": "1:2",
        "ExposedPorts": {"80/tcp": {}, "53/udp": {}},
        "Env": ["PATH=/bin", "EMPTY="],
        "Entrypoint": ["/init"],
        "Cmd": [],
        "Volumes": {"/data": {}},
        "WorkingDir": "/srv",
        "Labels": {"a": "b"},
        "StopSignal": "SIGINT",
        "Healthcheck": {"Test": ["CMD", "true"], "Interval": 1000, "Retries": 2},
        "Shell": ["/bin/bash", "-c"],
        "OnBuild": ["RUN true"],
        "ArgsEscaped": True,
    },
    "rootfs": {"type": "layers", "diff_ids": ["sha256:" + "1" * 64]},
    "history": [{"created_by": "x"}, {"created_by": "y", "empty_layer": True}],
}


def test_every_field_survives() -> None:
    config = ImageConfig.from_json(json.dumps(DOCUMENT))
    assert json.loads(config.to_json()) == DOCUMENT
    assert ImageConfig.from_json(config.to_json()) == config
    assert config.config.healthcheck == Healthcheck(("CMD", "true"), interval=1000, retries=2)
    assert config.config.cmd == () and config.history[1].empty_layer


def test_null_and_missing_fields_are_the_defaults() -> None:
    nulls = {"config": {"Env": None, "Cmd": None, "Entrypoint": None, "Labels": None, "Volumes": None}, "history": None}
    assert ImageConfig.from_json(json.dumps(nulls)).config == RunConfig()
    assert ImageConfig.from_json("{}").diff_ids == ()


@pytest.mark.parametrize("text", ["", "[]", "3", "{", '{"config": 3}', '{"history": [1]}'])
def test_what_is_no_configuration_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="not an image configuration"):
        ImageConfig.from_json(text)


def test_a_step_adds_history_and_perhaps_a_layer() -> None:
    config = ImageConfig().with_step(History(created_by="RUN"), "sha256:a").with_step(History(created_by="ENV"), None)
    assert config.diff_ids == ("sha256:a",) and [step.created_by for step in config.history] == ["RUN", "ENV"]


def test_the_same_configuration_gives_the_same_bytes() -> None:
    one = RunConfig(labels={"b": "2", "a": "1"})
    assert ImageConfig(config=one).to_json() == ImageConfig(config=RunConfig(labels={"b": "2", "a": "1"})).to_json()


def test_changes_are_applied_to_the_config_member_alone() -> None:
    base = ImageConfig(author="me", config=RunConfig(env=("PATH=/bin",)))
    changed = apply_changes(base, ['CMD ["a", "b"]', "ENV A=1", "LABEL k=v"])
    config = changed.config
    assert (config.env, config.cmd, config.labels) == (("PATH=/bin", "A=1"), ("a", "b"), {"k": "v"})
    assert (changed.author, changed.history) == ("me", ())
    assert apply_changes(base, []) is base
    with pytest.raises(InvalidInput, match=r"(?i)run"):
        apply_changes(base, ["RUN true"])


def test_chain_ids_as_the_specification_defines_them() -> None:
    import hashlib

    one, two = "sha256:" + "1" * 64, "sha256:" + "2" * 64
    assert chain_id("", one) == one == chain_of([one])
    assert chain_of([one, two]) == "sha256:" + hashlib.sha256(f"{one} {two}".encode()).hexdigest()
    assert chain_of([]) == ""


def test_manifests_are_read_as_they_are_written() -> None:
    config = Descriptor("application/vnd.oci.image.config.v1+json", "sha256:" + "a" * 64, 7)
    layer = Descriptor("application/vnd.oci.image.layer.v1.tar", "sha256:" + "b" * 64, 9)
    assert Manifest.from_json(image_manifest(config, [layer])) == Manifest(config, (layer,))
    for text in (b"", b"[]", b"{}", b'{"config": {"size": 3}}'):
        with pytest.raises(InvalidInput):
            Manifest.from_json(text)


def test_an_index_gives_the_manifest_of_this_machine() -> None:
    from engine.errors import NotFound
    from engine.images.config import host_architecture

    def one(architecture: str, digit: str) -> Descriptor:
        return Descriptor("x", "sha256:" + digit * 64, 1, {}, {"os": "linux", "architecture": architecture})

    mine, other = one(host_architecture(), "1"), one("z80", "2")
    assert for_this_host([other, mine]) == mine
    with pytest.raises(NotFound, match="no matching manifest for linux/"):
        for_this_host([other])
