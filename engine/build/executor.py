"""Stage four: carry out planned steps on a storage driver.

Owns the order mount → act → unmount → pack for each step, the reuse of cached layers, and what is left behind when a
step fails: nothing of that step. Decides no meaning: ``plan`` did. Registers nothing: ``builder`` does, all at once.
"""

from __future__ import annotations

import codecs
import errno
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from engine.build import archives, cache, permissions
from engine.build.context import Context, Source
from engine.build.copying import Target, check_sources
from engine.build.events import BuildEvent, Kind
from engine.build.expansion import quote
from engine.build.failure import failed
from engine.build.plan import Action, CopyAction, DirectoryAction, Plan, RunAction, Step
from engine.errors import BuildError, Cancelled, EngineError, InvalidInput, NotFound
from engine.images.config import History, ImageConfig
from engine.images.layers import chain_id, chain_of
from engine.images.operation import STORE_LOCK
from engine.state.database import timestamp
from engine.storage.driver import NO_SPACE_REMEDY
from engine.values import replace

if TYPE_CHECKING:
    from engine.engine import Engine
    from engine.images.operation import ImageStore, Operation

COMMENT = "pilothouse.dockerfile.v0"

Progress = Callable[[BuildEvent], None]


class Reporter:
    """Numbers and times the events of one build."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self.total = total
        self.step = 0
        self._progress = progress
        self._started = time.monotonic()

    def begin(self, text: str) -> None:
        """The next step starts."""
        self.step += 1
        self.tell("step", text)

    def tell(self, kind: Kind, text: str) -> None:
        """Something about the current step."""
        if self._progress is not None:
            self._progress(BuildEvent(kind, self.step, self.total, text, time.monotonic() - self._started))


class Execution:
    """One build's way from a base image to the result.

    ``document`` is the configuration so far, ``layers`` are the cache keys and chain ids of the steps so far, ``made``
    the chain ids that are new, ``key`` the cache key of the file system so far.
    """

    def __init__(
        self,
        engine: Engine,
        store: ImageStore,
        operation: Operation,
        context: Context,
        document: ImageConfig,
        reporter: Reporter,
        *,
        use_cache: bool,
        cancel: threading.Event | None,
    ) -> None:
        self._engine = engine
        self._store = store
        self._operation = operation
        self._context = context
        self._reporter = reporter
        self._cancel = cancel
        self._cache = cache.BuildCache(engine.database)
        self._reuse = use_cache
        self._created = timestamp()
        self._chain = chain_of(document.diff_ids)
        self.document = document
        self.key = cache.base_key(self._chain)
        self.layers: dict[str, str] = {}
        self.made: list[str] = []

    def run(self, plan: Plan) -> None:
        """Carry out every step. Raises BuildError with the step's place, Cancelled when that was asked for."""
        for step in plan.steps:
            self._check_cancel()
            self._reporter.begin(step.text)
            try:
                diff = self._carry_out(step.action, step)
            except (BuildError, Cancelled):
                raise
            except EngineError as error:
                raise failed(step.location, str(error), remedy=error.remedy) from error
            except OSError as error:
                remedy = NO_SPACE_REMEDY if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
                raise failed(step.location, f"{step.text}: {error.strerror or error}", remedy=remedy) from error
            self.document = replace(self.document, config=step.config, author=step.author, created=self._created)
            if step.created_by:
                history = History(self._created, step.created_by, step.author, COMMENT, empty_layer=diff is None)
                self.document = self.document.with_step(history, diff)

    def _carry_out(self, action: Action | None, step: Step) -> str | None:
        """Do what ``step`` asks for; the diff id of its layer, None without one."""
        if action is None:
            return None
        sources: list[Source] = []
        if isinstance(action, CopyAction):
            sources = self._sources(action)
        key = self._key_of(action, sources)
        found = self._cache.layer(key) if self._reuse else None
        if found is not None:
            self._reporter.tell("cached", found)
            diff = self._take(found)
        else:
            # What follows stands on a new file system, even where an older build had the same keys.
            self._reuse = False
            diff = self._make(action, step, sources)
        self.key = key
        self.layers[key] = self._chain
        return diff

    def _key_of(self, action: Action, sources: list[Source]) -> str:
        if isinstance(action, RunAction):
            return cache.run_key(self.key, action)
        if isinstance(action, DirectoryAction):
            return cache.directory_key(self.key, action)
        content = [cache.content_checksum(self._context, source) for source in sources]
        return cache.copy_key(self.key, action, content)

    def _sources(self, action: CopyAction) -> list[Source]:
        try:
            found = [source for written in action.sources for source in self._context.sources(written)]
        except InvalidInput as error:
            raise InvalidInput(f"{action.instruction} failed: {error}", remedy=error.remedy) from error
        check_sources(action.instruction, found, len(action.files), action.destination)
        return found

    def _take(self, chain: str) -> str | None:
        """Stand on a layer that exists; None when the step changed nothing."""
        if chain == self._chain:
            return None
        layer = self._store.layers.stack(chain)[-1]
        self._operation.add_layer(layer.parent, layer.diff, layer.blob, layer.media_type)
        self._chain = chain
        return layer.diff

    def _make(self, action: Action, step: Step, sources: list[Source]) -> str | None:
        """Carry out a step that changes files; its diff id, None when there was nothing to change."""
        driver = self._store.driver
        directory = self._directory()
        try:
            if self._act(action, step, sources, driver.mount(directory)):
                driver.unmount(directory)
                return self._pack(directory)
        except BaseException:
            driver.remove(directory)
            raise
        driver.remove(directory)
        return None

    def _directory(self) -> str:
        """A writable directory upon the file system so far."""
        directory = self._operation.new_id()
        # Under the lock no removal can take the layer below between looking and standing on it.
        with self._store.locks.hold(*STORE_LOCK):
            below = self._operation.known(self._chain) if self._chain else None
            if self._chain and below is None:
                raise NotFound("the image this step stands on was removed meanwhile", remedy="build again")
            self._store.driver.create(directory, None if below is None else below.cache_id)
        return directory

    def _pack(self, directory: str) -> str:
        """Make the writable directory a layer; its diff id."""
        driver = self._store.driver
        with self._operation.staging.writer() as writer:
            driver.diff(directory, cast(BinaryIO, writer))
            diff, _ = writer.commit()
        chain = chain_id(self._chain, diff)
        if self._store.layers.find(chain) is None:
            self.made.append(chain)
        self._chain = self._operation.adopt(self._chain, diff, driver.usage(directory), directory)
        return diff

    def _act(self, action: Action, step: Step, sources: list[Source], root: Path) -> bool:
        """Change the mounted file system; False when there was nothing to change."""
        if isinstance(action, RunAction):
            self._run(action, step, root)
            return True
        if isinstance(action, DirectoryAction):
            with Target(root, owner=_owner(root, action.user)) as target:
                return target.make_directory(action.path)
        self._copy(action, sources, root)
        return True

    def _copy(self, action: CopyAction, sources: list[Source], root: Path) -> None:
        change = permissions.parse(action.chmod) if action.chmod else None
        with Target(root, owner=_chown(root, action.chown), change_mode=change, cancel=self._cancel) as target:
            for source in sources:
                archive = self._context.root / source.entries[0].path
                if action.unpack and not source.is_directory and archives.is_archive(archive):
                    with target.open_directory(action.destination) as place:
                        archives.extract(archive, place)
                else:
                    target.copy(self._context, source, action.destination)
            for file in action.files:
                target.write(file.name, file.data.encode("utf-8", "surrogateescape"), action.destination)

    def _run(self, action: RunAction, step: Step, root: Path) -> None:
        from engine.containers.step import run_step

        with _decoded(lambda text: self._reporter.tell("output", text)) as output:
            code = run_step(
                self._engine,
                rootfs=root,
                arguments=action.arguments,
                environment=action.environment,
                working_dir=action.working_dir,
                user=action.user,
                network=action.network,
                output=output,
                cancel=self._cancel,
            )
        if code != 0:
            words = " ".join(action.arguments)
            raise failed(
                step.location,
                f"process {quote(words)} did not complete successfully: exit code: {code}",
                remedy="its output is above; correct the instruction and build again: earlier steps are cached",
            )

    def _check_cancel(self) -> None:
        if self._cancel is not None and self._cancel.is_set():
            raise Cancelled("build cancelled")


def _owner(root: Path, user: str) -> tuple[int, int]:
    if not user:
        return (0, 0)
    from engine.containers.accounts import lookup

    account = lookup(root, user)
    return (account.uid, account.gid)


def _chown(root: Path, text: str) -> tuple[int, int]:
    """``--chown``: names are looked up inside the image; a bare number stands for the group too."""
    user, colon, _ = text.partition(":")
    return _owner(root, f"{user}:{user}" if user.isdigit() and not colon else text)


@contextmanager
def _decoded(tell: Callable[[str], None]) -> Iterator[Callable[[bytes], None]]:
    """Bytes in pieces → text in pieces, without tearing characters apart."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def take(data: bytes) -> None:
        text = decoder.decode(data)
        if text:
            tell(text)

    yield take
    rest = decoder.decode(b"", True)
    if rest:
        tell(rest)
