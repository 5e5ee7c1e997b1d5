"""``load``: images from a docker-archive or an OCI layout, in one pass over a stream.

Owns what the members of such archives mean. Every file is staged under the digest of its bytes before anything is
believed; digests, configurations and layers are then checked against each other, and all images of the archive become
visible in one transaction or none does.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Callable
from typing import Any, BinaryIO

from engine.errors import EngineError, InvalidInput
from engine.images import manifest
from engine.images.compression import decompressed
from engine.images.config import ImageConfig
from engine.images.operation import ImageStore, Operation, Planned
from engine.images.reference import parse
from engine.storage import tar
from engine.storage.archive_source import source_of
from engine.storage.tar_reader import Reader
from engine.values import dataclass, field

Progress = Callable[[str], None]
_JSON_LIMIT = 32 << 20
_NAME_ANNOTATIONS = ("io.containerd.image.name", "org.opencontainers.image.ref.name")


@dataclass
class _Wanted:
    """One image of the archive: its configuration's and layers' blobs, base first, and its names."""

    config: str
    layers: list[str]
    media_types: list[str]
    names: list[str] = field(default_factory=list)
    manifest: str | None = None


def load(store: ImageStore, stream: BinaryIO, progress: Progress | None) -> list[str]:
    """Load every image of the archive; their names, or ids where they have none, in the archive's order.

    An error out of ``progress`` cancels the load, and nothing of it stays.
    """
    tell = progress or (lambda line: None)
    with store.operation("image.load", "loading images") as operation, decompressed(stream) as plain:
        members = _Members(operation)
        members.stage(Reader(source_of(plain)))
        wanted = members.images()
        planned = []
        loaded = []
        for image in wanted:
            plan = _unpack(operation, members, image, tell)
            planned.append(plan)
            loaded.extend(image.names or [plan.id])
        replaced = [(name, store.records.by_name(name), plan.id) for plan in planned for name in plan.names]
        for one in operation.register(planned):
            store.events.emit("image", "load", one.id, {"name": one.names[0] if one.names else one.id})
        for name, before, now in replaced:
            if before is not None and before.id != now:
                tell(f"The image {name} already exists, renaming the old one with ID {before.id} to empty string")
        return loaded


def _unpack(operation: Operation, members: _Members, image: _Wanted, tell: Progress) -> Planned:
    raw = members.small(image.config)
    config = ImageConfig.from_json(raw)
    if len(config.diff_ids) != len(image.layers):
        raise InvalidInput(
            f"the image lists {len(image.layers)} layers, its configuration {len(config.diff_ids)}",
            remedy="the archive is damaged: make it again",
        )
    chain = ""
    for number, (diff, blob, media_type) in enumerate(
        zip(config.diff_ids, image.layers, image.media_types, strict=True), start=1
    ):
        tell(f"Loading layer {number}/{len(image.layers)} {diff.partition(':')[2][:12]}")
        chain = operation.add_layer(chain, diff, blob, media_type)
    return operation.stage_image(config, raw=raw, original=image.manifest, names=image.names)


class _Members:
    """The files of the archive by name, staged by digest."""

    def __init__(self, operation: Operation) -> None:
        self.operation = operation
        self.files: dict[str, str] = {}
        self.links: dict[str, str] = {}

    def stage(self, reader: Reader) -> None:
        while (entry := reader.next()) is not None:
            name = posixpath.normpath(entry.name.lstrip("/"))
            if entry.kind == tar.REGULAR and entry.sparse is None:
                self._file(reader, entry, name)
            elif entry.kind == tar.SYMLINK:
                # docker before 25 stores a layer once and links to it from the other images.
                self.links[name] = posixpath.normpath(posixpath.join(posixpath.dirname(name), entry.link))
            elif entry.kind == tar.HARDLINK:
                self.links[name] = posixpath.normpath(entry.link.lstrip("/"))

    def _file(self, reader: Reader, entry: tar.Entry, name: str) -> None:
        with self.operation.staging.writer() as writer:
            left = entry.size
            while left:
                chunk = reader.read_some(min(left, 1 << 20))
                left -= len(chunk)
                writer.write(chunk)
            expected = None
            directory, _, base = name.rpartition("/")
            if directory.endswith("blobs/sha256"):
                expected = f"sha256:{base}"
            self.files[name] = writer.commit(expected)[0]

    def digest(self, name: str) -> str:
        """The digest of the member ``name``, links followed inside the archive."""
        name = posixpath.normpath(name)
        for _ in range(40):
            if name in self.files:
                return self.files[name]
            if name not in self.links:
                break
            name = self.links[name]
        raise InvalidInput(f"the archive has no member {name!r}", remedy="it is incomplete: make it again")

    def small(self, digest: str) -> bytes:
        """The bytes of a JSON blob."""
        staging = self.operation.staging
        if digest not in staging.digests():
            raise InvalidInput(f"the archive lacks {digest}", remedy="it is incomplete: make it again")
        if staging.size(digest) > _JSON_LIMIT:
            raise InvalidInput(f"{digest} is too large to be an image's JSON")
        return staging.read(digest)

    def images(self) -> list[_Wanted]:
        """What the archive offers; InvalidInput when it is no archive of images."""
        if "manifest.json" in self.files:
            return self._docker()
        if "index.json" in self.files:
            return self._layout()
        raise InvalidInput(
            "invalid archive: it has neither manifest.json nor index.json",
            remedy="`load` reads what `save` wrote; a root file system is read by `import`",
        )

    def _docker(self) -> list[_Wanted]:
        try:
            listed = json.loads(self.small(self.digest("manifest.json")))
            items = [(item["Config"], list(item.get("Layers") or ()), item.get("RepoTags") or ()) for item in listed]
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InvalidInput(f"invalid manifest.json: {error}") from error
        # An archive that is an OCI layout too brings the manifests along: keep them, and so their digests.
        manifests: dict[str, tuple[str, manifest.Manifest]] = {}
        if "index.json" in self.files:
            try:
                for descriptor in self._index(self.digest("index.json")):
                    parsed = manifest.Manifest.from_json(self.small(descriptor.digest))
                    manifests[parsed.config.digest] = (descriptor.digest, parsed)
            except EngineError:
                manifests = {}
        found = []
        for config_name, layer_names, tags in items:
            config = self.digest(config_name)
            layers = [self.digest(name) for name in layer_names]
            original, parsed_manifest = manifests.get(config, (None, None))
            types = [_media_type(self.operation, layer) for layer in layers]
            if parsed_manifest is not None:
                if [layer.digest for layer in parsed_manifest.layers] == layers:
                    types = [layer.media_type for layer in parsed_manifest.layers]
                else:
                    original = None
            found.append(_Wanted(config, layers, types, [parse(tag).name() for tag in tags], original))
        return found

    def _layout(self) -> list[_Wanted]:
        found: dict[str, _Wanted] = {}
        for descriptor in self._index(self.digest("index.json")):
            parsed = manifest.Manifest.from_json(self.small(descriptor.digest))
            wanted = found.setdefault(
                descriptor.digest,
                _Wanted(
                    parsed.config.digest,
                    [layer.digest for layer in parsed.layers],
                    [layer.media_type for layer in parsed.layers],
                    manifest=descriptor.digest,
                ),
            )
            name = _annotated_name(descriptor.annotations)
            if name and name not in wanted.names:
                wanted.names.append(name)
            present = set(self.operation.staging.digests())
            for digest in wanted.layers:
                if digest not in present:
                    raise InvalidInput(f"the archive lacks layer {digest}", remedy="it is incomplete: make it again")
        return list(found.values())

    def _index(self, digest: str) -> list[manifest.Descriptor]:
        """The manifests of an index; an index inside it gives the one for this machine."""
        data = manifest.document(self.small(digest), "image index")
        found = []
        for item in _descriptors(data):
            if item.media_type in manifest.INDEXES:
                inner = manifest.document(self.small(item.digest), "image index")
                chosen = manifest.for_this_host(_descriptors(inner))
                item = manifest.Descriptor(chosen.media_type, chosen.digest, chosen.size, item.annotations)
            found.append(item)
        return found


def _descriptors(data: dict[str, Any]) -> list[manifest.Descriptor]:
    return [manifest.Descriptor.from_json(item) for item in data.get("manifests") or ()]


def _annotated_name(annotations: dict[str, str]) -> str:
    """A full name if there is one; a bare tag names no repository, so it names no image."""
    for key in _NAME_ANNOTATIONS:
        value = annotations.get(key, "")
        if "/" in value or ":" in value:
            try:
                return parse(value).name()
            except InvalidInput:
                continue
    return ""


def _media_type(operation: Operation, digest: str) -> str:
    from engine.images.compression import kind_of

    with operation.staging.open(digest) as stream:
        kind = kind_of(stream.read(6))
    return manifest.OCI_LAYER + {"gzip": "+gzip", "zstd": "+zstd"}.get(kind, "")
