"""The image configuration document: docker's and OCI's JSON ↔ frozen dataclasses.

Owns the field names (OCI image spec, "Image Configuration", and docker's extensions: Healthcheck, OnBuild, Shell,
ArgsEscaped). Unknown fields are kept, so that an image passes through load and save unchanged. Evaluates nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from engine.errors import InvalidInput
from engine.values import dataclass, field, replace

_ARCHITECTURES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "arm",
    "armv6l": "arm",
    "i686": "386",
    "i386": "386",
    "ppc64le": "ppc64le",
    "riscv64": "riscv64",
    "s390x": "s390x",
}


def host_architecture() -> str:
    """This machine's architecture in Go's words, as images name it."""
    machine = os.uname().machine
    return _ARCHITECTURES.get(machine, machine)


@dataclass(frozen=True)
class Healthcheck:
    """Times are in nanoseconds, 0 means docker's default; ``test`` is empty to inherit, ``("NONE",)`` for none."""

    test: tuple[str, ...] = ()
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


@dataclass(frozen=True)
class RunConfig:
    """What a container of the image starts with (the ``config`` member). None means: not set."""

    user: str = ""
    exposed_ports: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    volumes: tuple[str, ...] = ()
    working_dir: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    stop_signal: str = ""
    healthcheck: Healthcheck | None = None
    shell: tuple[str, ...] | None = None
    on_build: tuple[str, ...] = ()
    args_escaped: bool = False

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RunConfig:
        """From the ``config`` member of an image configuration or from docker's ``Config`` of inspect."""
        return cls(
            user=data.get("User") or "",
            exposed_ports=tuple(data.get("ExposedPorts") or ()),
            env=tuple(data.get("Env") or ()),
            entrypoint=_words(data.get("Entrypoint")),
            cmd=_words(data.get("Cmd")),
            volumes=tuple(data.get("Volumes") or ()),
            working_dir=data.get("WorkingDir") or "",
            labels=dict(data.get("Labels") or {}),
            stop_signal=data.get("StopSignal") or "",
            healthcheck=_healthcheck(data.get("Healthcheck")),
            shell=_words(data.get("Shell")),
            on_build=tuple(data.get("OnBuild") or ()),
            args_escaped=bool(data.get("ArgsEscaped")),
        )

    def to_json(self) -> dict[str, Any]:
        """The ``config`` member; fields that are not set are left out, but for the three docker always writes."""
        data: dict[str, Any] = {}
        if self.user:
            data["User"] = self.user
        if self.exposed_ports:
            data["ExposedPorts"] = {port: {} for port in self.exposed_ports}
        data["Env"] = list(self.env)
        if self.entrypoint is not None:
            data["Entrypoint"] = list(self.entrypoint)
        if self.cmd is not None:
            data["Cmd"] = list(self.cmd)
        if self.args_escaped:
            data["ArgsEscaped"] = True
        if self.volumes:
            data["Volumes"] = {path: {} for path in self.volumes}
        if self.working_dir:
            data["WorkingDir"] = self.working_dir
        if self.labels:
            data["Labels"] = dict(self.labels)
        if self.stop_signal:
            data["StopSignal"] = self.stop_signal
        if self.healthcheck is not None:
            data["Healthcheck"] = healthcheck_json(self.healthcheck)
        if self.shell is not None:
            data["Shell"] = list(self.shell)
        if self.on_build:
            data["OnBuild"] = list(self.on_build)
        return data

    def environment(self) -> dict[str, str]:
        """``env`` as a mapping, in order."""
        return {key: value for key, _, value in (item.partition("=") for item in self.env)}


@dataclass(frozen=True)
class History:
    """One step of an image's making; ``empty_layer`` when it changed the configuration alone."""

    created: str = ""
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False

    def to_json(self) -> dict[str, Any]:
        """The member of ``history``."""
        data: dict[str, Any] = {}
        for key, value in (
            ("created", self.created),
            ("created_by", self.created_by),
            ("author", self.author),
            ("comment", self.comment),
            ("empty_layer", self.empty_layer),
        ):
            if value:
                data[key] = value
        return data


@dataclass(frozen=True)
class ImageConfig:
    """The whole document. ``diff_ids`` are base first; ``extra`` holds members this program does not know."""

    architecture: str = field(default_factory=host_architecture)
    os: str = "linux"
    variant: str = ""
    created: str = ""
    author: str = ""
    config: RunConfig = field(default_factory=RunConfig)
    diff_ids: tuple[str, ...] = ()
    history: tuple[History, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, text: bytes | str) -> ImageConfig:
        """Parse a configuration blob; InvalidInput when it is not one."""
        try:
            data = json.loads(text)
            known = {"architecture", "os", "variant", "created", "author", "config", "rootfs", "history"}
            return cls(
                architecture=data.get("architecture") or "",
                os=data.get("os") or "linux",
                variant=data.get("variant") or "",
                created=data.get("created") or "",
                author=data.get("author") or "",
                config=RunConfig.from_json(data.get("config") or {}),
                diff_ids=tuple((data.get("rootfs") or {}).get("diff_ids") or ()),
                history=tuple(_history(item) for item in data.get("history") or ()),
                extra={key: value for key, value in data.items() if key not in known},
            )
        except (ValueError, AttributeError, TypeError) as error:
            raise InvalidInput(f"not an image configuration: {error}") from error

    def to_json(self) -> bytes:
        """The configuration blob; the same document gives the same bytes."""
        data: dict[str, Any] = {"architecture": self.architecture, "os": self.os}
        if self.variant:
            data["variant"] = self.variant
        if self.created:
            data["created"] = self.created
        if self.author:
            data["author"] = self.author
        data["config"] = self.config.to_json()
        data["rootfs"] = {"type": "layers", "diff_ids": list(self.diff_ids)}
        data["history"] = [item.to_json() for item in self.history]
        data.update(self.extra)
        return json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogateescape")

    def with_step(self, step: History, diff_id: str | None) -> ImageConfig:
        """This document after one more step, with its layer unless that is None."""
        return replace(
            self,
            diff_ids=self.diff_ids if diff_id is None else (*self.diff_ids, diff_id),
            history=(*self.history, step),
        )


def _words(value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    return (value,) if isinstance(value, str) else tuple(value)


def _healthcheck(data: Mapping[str, Any] | None) -> Healthcheck | None:
    if not data:
        return None
    return Healthcheck(
        test=tuple(data.get("Test") or ()),
        interval=data.get("Interval") or 0,
        timeout=data.get("Timeout") or 0,
        start_period=data.get("StartPeriod") or 0,
        start_interval=data.get("StartInterval") or 0,
        retries=data.get("Retries") or 0,
    )


def healthcheck_json(check: Healthcheck) -> dict[str, Any]:
    """docker's ``Healthcheck`` object."""
    data: dict[str, Any] = {}
    if check.test:
        data["Test"] = list(check.test)
    for key, value in (
        ("Interval", check.interval),
        ("Timeout", check.timeout),
        ("StartPeriod", check.start_period),
        ("StartInterval", check.start_interval),
        ("Retries", check.retries),
    ):
        if value:
            data[key] = value
    return data


def _history(data: Mapping[str, Any]) -> History:
    return History(
        created=data.get("created") or "",
        created_by=data.get("created_by") or "",
        author=data.get("author") or "",
        comment=data.get("comment") or "",
        empty_layer=bool(data.get("empty_layer")),
    )
