"""``save``: images as one tar that is a docker-archive and an OCI layout at once, as docker writes since 25.

Owns the members and their order. The archive depends on the images alone; times in it are zero.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, BinaryIO

from engine.errors import InvalidInput
from engine.images import manifest
from engine.images.content import ContentStore
from engine.images.operation import ImageStore, host_errors
from engine.images.records import Image
from engine.images.reference import DEFAULT_TAG, Reference, parse
from engine.storage import tar
from engine.values import dataclass

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Selected:
    """An image to save and the names it keeps in the archive."""

    image: Image
    names: tuple[Reference, ...]


def select(store: ImageStore, names: Sequence[str]) -> list[Selected]:
    """What ``names`` mean: a tag alone, all tags of a repository given without one, or a nameless image by id."""
    if not names:
        raise InvalidInput("save needs at least one image", remedy="pilothouse save NAME [NAME...]")
    found: dict[str, tuple[Image, dict[str, Reference]]] = {}
    for text in names:
        image = store.records.get(text)
        kept = found.setdefault(image.id, (image, {}))[1]
        if not store.records.is_id(text, image):
            reference = parse(text).tagged()
            if reference.tag:
                kept[reference.name()] = reference
    return [Selected(image, tuple(kept.values())) for image, kept in found.values()]


def save(store: ImageStore, names: Sequence[str], out: BinaryIO) -> None:
    """Write the archive of ``names`` to ``out``; NotFound before anything is written."""
    selected = select(store, names)
    with host_errors("saving images"):
        _Archive(store.content, out).write(store, selected)


class _Archive:
    def __init__(self, content: ContentStore, out: BinaryIO) -> None:
        self.content = content
        self.out = out

    def write(self, store: ImageStore, selected: Sequence[Selected]) -> None:
        blobs: set[str] = set()
        index: list[dict[str, Any]] = []
        docker: list[dict[str, Any]] = []
        repositories: dict[str, dict[str, str]] = {}
        for one in selected:
            text = self.content.read(one.image.manifest)
            parsed = manifest.Manifest.from_json(text)
            layers = store.layers.stack(one.image.chain)
            # The manifest of an image that shares layers may name them in another compression than the one kept.
            described = {layer.digest: layer for layer in parsed.layers}
            if any(layer.blob not in described for layer in layers):
                text = manifest.image_manifest(
                    parsed.config,
                    [
                        manifest.Descriptor(layer.media_type, layer.blob, self.content.path(layer.blob).stat().st_size)
                        for layer in layers
                    ],
                )
                parsed = manifest.Manifest.from_json(text)
            descriptor = self._manifest(text)
            blobs |= {one.image.id, *(layer.blob for layer in layers)}
            docker.append(
                {
                    "Config": _member(one.image.id),
                    "RepoTags": [name.name() for name in one.names] or None,
                    "Layers": [_member(layer.blob) for layer in layers],
                    "LayerSources": {
                        layer.diff: described.to_json() for layer, described in zip(layers, parsed.layers, strict=True)
                    },
                }
            )
            for name in one.names:
                annotations = {
                    "io.containerd.image.name": name.canonical,
                    "org.opencontainers.image.ref.name": name.tag or DEFAULT_TAG,
                }
                index.append({**descriptor, "annotations": annotations})
                if layers:
                    top = layers[-1].blob.partition(":")[2]
                    repositories.setdefault(name.familiar_repository, {})[name.tag or DEFAULT_TAG] = top
            if not one.names:
                index.append(descriptor)
        self._directory("blobs/")
        self._directory("blobs/sha256/")
        for digest in sorted(blobs):
            self._blob(digest)
        for digest in sorted(self._manifests):
            self._file(_member(digest), self._manifests[digest])
        self._file("index.json", manifest.encode(_index(index)))
        self._file("manifest.json", json.dumps(docker, separators=(",", ":")).encode())
        self._file("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        if repositories:
            self._file("repositories", json.dumps(repositories, separators=(",", ":")).encode())
        self.out.write(tar.END)
        self.out.flush()

    def _manifest(self, text: bytes) -> dict[str, Any]:
        from engine.images.content import digest_of

        digest = digest_of(text)
        self._manifests[digest] = text
        media_type = str(manifest.document(text, "image manifest").get("mediaType") or manifest.OCI_MANIFEST)
        return manifest.Descriptor(media_type, digest, len(text)).to_json()

    @property
    def _manifests(self) -> dict[str, bytes]:
        found: dict[str, bytes] = self.__dict__.setdefault("_found", {})
        return found

    def _directory(self, name: str) -> None:
        self.out.write(tar.encode(tar.Entry(name, tar.DIRECTORY, 0o755)))

    def _file(self, name: str, data: bytes) -> None:
        header = tar.encode(tar.Entry(name, mode=0o644, size=len(data)))
        self.out.write(header + data + bytes(tar.padding(len(data))))

    def _blob(self, digest: str) -> None:
        with self.content.open(digest) as stream:
            size = stream.seek(0, 2)
            stream.seek(0)
            self.out.write(tar.encode(tar.Entry(_member(digest), mode=0o644, size=size)))
            while chunk := stream.read(_CHUNK):
                self.out.write(chunk)
            self.out.write(bytes(tar.padding(size)))


def _index(manifests: list[dict[str, Any]]) -> dict[str, Any]:
    return {"schemaVersion": 2, "mediaType": manifest.OCI_INDEX, "manifests": manifests}


def _member(digest: str) -> str:
    return f"blobs/sha256/{digest.partition(':')[2]}"
