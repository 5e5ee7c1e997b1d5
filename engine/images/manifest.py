"""Manifests, descriptors and media types (OCI image spec; docker's schema 2).

Owns the JSON of manifests and indexes and the choice of a platform. Stores nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from engine.errors import InvalidInput, NotFound
from engine.images.config import host_architecture
from engine.values import dataclass, field

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"

MANIFESTS = (OCI_MANIFEST, DOCKER_MANIFEST)
INDEXES = (OCI_INDEX, DOCKER_INDEX)


@dataclass(frozen=True)
class Descriptor:
    """One blob as others refer to it; ``size`` in bytes."""

    media_type: str
    digest: str
    size: int
    annotations: dict[str, str] = field(default_factory=dict)
    platform: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, data: Any) -> Descriptor:
        """From a descriptor object; InvalidInput when it is not one."""
        try:
            return cls(
                str(data.get("mediaType") or ""),
                str(data["digest"]),
                int(data.get("size") or 0),
                dict(data.get("annotations") or {}),
                dict(data.get("platform") or {}),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidInput(f"not an image descriptor: {error}") from error

    def to_json(self) -> dict[str, Any]:
        """The descriptor object."""
        data: dict[str, Any] = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        if self.annotations:
            data["annotations"] = self.annotations
        if self.platform:
            data["platform"] = self.platform
        return data


@dataclass(frozen=True)
class Manifest:
    """An image manifest: its configuration and its layers, base first."""

    config: Descriptor
    layers: tuple[Descriptor, ...]

    @classmethod
    def from_json(cls, text: bytes) -> Manifest:
        """Parse a manifest blob."""
        data = document(text, "image manifest")
        if not isinstance(data.get("config"), dict):
            raise InvalidInput("not an image manifest: it names no configuration")
        return cls(
            Descriptor.from_json(data["config"]),
            tuple(Descriptor.from_json(item) for item in data.get("layers") or ()),
        )


def document(text: bytes, what: str) -> dict[str, Any]:
    """A JSON object; InvalidInput otherwise."""
    try:
        data = json.loads(text)
    except ValueError as error:
        raise InvalidInput(f"not an {what}: {error}") from error
    if not isinstance(data, dict):
        raise InvalidInput(f"not an {what}: no JSON object")
    return data


def encode(data: Any) -> bytes:
    """JSON as it is stored; the same data gives the same bytes."""
    return json.dumps(data, separators=(",", ":")).encode()


def image_manifest(config: Descriptor, layers: Sequence[Descriptor]) -> bytes:
    """An OCI image manifest blob."""
    return encode(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": config.to_json(),
            "layers": [layer.to_json() for layer in layers],
        }
    )


def for_this_host(descriptors: Sequence[Descriptor]) -> Descriptor:
    """The manifest of an index that fits this machine; NotFound in docker's words when none does."""
    architecture = host_architecture()
    for descriptor in descriptors:
        platform = descriptor.platform
        if platform.get("os") == "linux" and platform.get("architecture") == architecture:
            return descriptor
    plain = [one for one in descriptors if not one.platform and one.media_type in (*MANIFESTS, *INDEXES, "")]
    if len(plain) == 1:
        return plain[0]
    offered = ", ".join(sorted({f"{d.platform.get('os')}/{d.platform.get('architecture')}" for d in descriptors}))
    raise NotFound(f"no matching manifest for linux/{architecture} in the manifest list entries: {offered or 'none'}")
