"""The builder: a context and a Dockerfile in, an image out.

Owns putting the four stages together and making the result visible at once: one image operation for the whole build,
whose journal entry lets the next start remove what a killed build left. Finished steps of a failed build stay as an
unnamed image, so that the next build finds them in the cache.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from engine.build import conversion
from engine.build import plan as planning
from engine.build.cache import BuildCache, result_key
from engine.build.context import Context
from engine.build.executor import Execution, Progress, Reporter
from engine.build.failure import DockerfileError, failed
from engine.build.instructions import Program
from engine.build.parser import parse
from engine.errors import EngineError, InvalidInput, NotFound
from engine.images.config import ImageConfig
from engine.images.operation import STORE_LOCK
from engine.images.reference import parse as parse_reference

if TYPE_CHECKING:
    from engine.engine import Engine
    from engine.images.operation import Operation, Planned
    from engine.images.records import Image

OPERATION = "image.build"
SCRATCH = "scratch"
# Another build made the same layer meanwhile and registered it first; with it in the cache the next try is short.
_TRIES = 5


class _Overtaken(Exception):
    """A layer this build made was registered by another one in the meantime."""


class Builder:
    """Builds images; safe to use from several threads at once."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def register_recovery(self) -> None:
        """Removal of what a killed build left: its processes first, then their directories."""
        from engine.containers import step

        def recover(intent: Mapping[str, object]) -> None:
            self._engine.journal.recover(step.OPERATION)
            self._engine.images.store.abandon(intent)

        step.register_recovery(self._engine)
        self._engine.journal.register(OPERATION, recover)

    def build(
        self,
        context: Path,
        *,
        dockerfile: str | None = None,
        tags: Sequence[str] = (),
        build_args: Mapping[str, str | None] | None = None,
        no_cache: bool = False,
        progress: Progress | None = None,
        cancel: threading.Event | None = None,
    ) -> Image:
        """Build the Dockerfile of ``context`` and give the image ``tags``.

        ``dockerfile`` is a path, relative ones to the context and else to the working directory. A build argument of
        None takes its value from the environment. Raises BuildError with file, line and source for what is wrong with
        the Dockerfile or fails, InvalidInput for wrong arguments, Cancelled; then no name has changed.
        """
        names = [parse_reference(tag).name() for tag in tags]
        context = Path(context)
        file = _dockerfile(context, dockerfile)
        opened = Context.open(context, file, cancel)
        program = conversion.program(parse(_read(file), _shown(context, file)))
        arguments = given(build_args or {})
        for attempt in range(_TRIES):
            try:
                # What another build made in this moment is as fresh as what this one would make again.
                use_cache = not no_cache or attempt > 0
                return self._build(
                    program, opened, arguments, names, use_cache=use_cache, progress=progress, cancel=cancel
                )
            except _Overtaken:
                continue
        raise EngineError("other builds make the same layers all the time", remedy="try again when they are done")

    def _build(
        self,
        program: Program,
        context: Context,
        arguments: Mapping[str, str],
        names: Sequence[str],
        *,
        use_cache: bool,
        progress: Progress | None,
        cancel: threading.Event | None,
    ) -> Image:
        base = planning.base_of(program, arguments)
        document = self._base_document(base)
        plan = planning.plan(program, document.config, document.author, arguments)
        reporter = Reporter(len(plan.steps) + 1, progress)
        reporter.begin(base.text)
        for warning in plan.warnings:
            reporter.tell("warning", warning)
        store = self._engine.images.store
        try:
            with store.operation(OPERATION, "building an image") as operation:
                execution = Execution(
                    self._engine,
                    store,
                    operation,
                    context,
                    document,
                    reporter,
                    use_cache=use_cache,
                    cancel=cancel,
                )
                try:
                    execution.run(plan)
                except EngineError:
                    self._keep_finished(operation, execution)
                    raise
                image = self._finish(operation, execution, names, use_cache=use_cache)
        except EngineError as error:
            reporter.tell("error", str(error))
            raise
        reporter.tell("done", image.id)
        return image

    def _base_document(self, base: planning.Base) -> ImageConfig:
        if base.name == SCRATCH:
            return ImageConfig()
        images = self._engine.images
        try:
            return images.config(images.get(base.name).id)
        except (NotFound, InvalidInput) as error:
            raise failed(base.location, f"{base.name}: {error}", remedy=error.remedy) from error

    def _finish(self, operation: Operation, execution: Execution, names: Sequence[str], *, use_cache: bool) -> Image:
        """The built image: an older one when everything came from the cache, else a new one."""
        store = self._engine.images.store
        cache = BuildCache(self._engine.database)
        result = result_key(execution.key, execution.document)
        known = cache.image(result) if use_cache else None
        image = None if known is None else store.records.by_id(known)
        if image is None or execution.made:
            planned = operation.stage_image(execution.document, names=names)
            image = self._register(operation, execution, planned)
            self._remember(image, execution, result)
            return image
        missing = [name for name in names if name not in image.names]
        for name in missing:
            self._engine.images.tag(image.id, name)
        return self._engine.images.get(image.id) if missing else image

    def _keep_finished(self, operation: Operation, execution: Execution) -> None:
        """Keep the layers of finished steps under an unnamed image; what cannot be kept is dropped."""
        if not execution.made:
            return
        try:
            image = self._register(operation, execution, operation.stage_image(execution.document))
            self._remember(image, execution)
        except (EngineError, OSError, _Overtaken):
            # The cache is a convenience: the error that ended the build is the one to tell.
            return

    def _remember(self, image: Image, execution: Execution, result: str = "") -> None:
        """Fill the cache; what earlier failed builds left only for the cache's sake goes once it is here too."""
        for spent in BuildCache(self._engine.database).store(image.id, execution.layers, result):
            try:
                self._engine.images.remove(spent, prune=False)
            except EngineError:
                continue  # a container was made of it, or it has a name by now: it is the user's

    def _register(self, operation: Operation, execution: Execution, planned: Planned) -> Image:
        store = self._engine.images.store
        with store.locks.hold(*STORE_LOCK):
            # Layers of this build stand on each other's directories, so none of them can be swapped for another's.
            if any(store.layers.find(chain) is not None for chain in execution.made):
                raise _Overtaken
            return operation.register([planned])[0]


def given(build_args: Mapping[str, str | None]) -> dict[str, str]:
    """``--build-arg NAME`` without a value takes it from the environment, or means nothing there."""
    values = {name: os.environ.get(name) if value is None else value for name, value in build_args.items()}
    return {name: value for name, value in values.items() if value is not None}


def _dockerfile(context: Path, written: str | None) -> Path:
    """The Dockerfile's path: as docker, ``Dockerfile`` or else ``dockerfile`` when none was named."""
    if written is None:
        found = context / "Dockerfile"
        lower = context / "dockerfile"
        return lower if not found.exists() and lower.exists() else found
    path = Path(written)
    return path if path.is_absolute() or not (context / path).exists() else context / path


def _shown(context: Path, file: Path) -> str:
    """The Dockerfile's name in messages: relative to the context when it lies there."""
    try:
        return str(file.resolve().relative_to(context.resolve()))
    except ValueError:
        return str(file)


def _read(file: Path) -> bytes:
    try:
        data = file.read_bytes()
    except FileNotFoundError as error:
        raise InvalidInput(
            f"failed to read dockerfile: open {file}: no such file or directory",
            remedy="give the directory that holds the Dockerfile, or name it with -f",
        ) from error
    except OSError as error:
        raise InvalidInput(f"failed to read dockerfile: open {file}: {error.strerror}") from error
    if not data.strip():
        raise DockerfileError(
            "the Dockerfile cannot be empty", file=file.name, line=1, remedy="start the Dockerfile with FROM IMAGE"
        )
    return data
