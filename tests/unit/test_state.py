"""The state layer on a real SQLite file and real flocks."""

from __future__ import annotations

import multiprocessing
import os
import re
import sqlite3
import threading
from pathlib import Path

import pytest

from engine.errors import Conflict, EngineError, HostError, TeardownError
from engine.state.database import Database, timestamp
from engine.state.events import Events
from engine.state.journal import Intent, Journal
from engine.state.locks import Locks
from engine.state.schema import MIGRATIONS

pytestmark = pytest.mark.unit

SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "root" / "state.db")


@pytest.fixture
def locks(tmp_path: Path) -> Locks:
    return Locks(tmp_path / "run")


def test_timestamp_is_rfc3339_with_nanoseconds() -> None:
    assert timestamp(1.5) == "1970-01-01T00:00:01.500000000Z"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", timestamp())


def test_opening_migrates_once_and_sets_durable_wal(database: Database) -> None:
    connection = database.connection()
    assert connection.execute("PRAGMA user_version").fetchone()[0] == len(MIGRATIONS)
    assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2
    assert Database(database.path).one("SELECT count(*) AS n FROM containers")["n"] == 0  # type: ignore[index]


def test_a_newer_schema_is_refused_in_words(database: Database) -> None:
    database.connection().execute(f"PRAGMA user_version={len(MIGRATIONS) + 1}")
    database.close()
    with pytest.raises(EngineError, match="schema version") as caught:
        database.connection()
    assert "newer pilothouse" in caught.value.remedy


def test_an_unusable_data_root_is_a_host_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HostError, match="opening state database"):
        Database(tmp_path / "file" / "state.db").connection()


def test_a_failed_transaction_changes_nothing(database: Database) -> None:
    with pytest.raises(RuntimeError), database.transaction() as connection:
        connection.execute("INSERT INTO volumes(name, created) VALUES('v', 'now')")
        raise RuntimeError
    assert database.all("SELECT * FROM volumes") == []


def test_nested_transactions_join(database: Database) -> None:
    with pytest.raises(RuntimeError), database.transaction():
        database.execute("INSERT INTO volumes(name, created) VALUES('v', 'now')")
        raise RuntimeError
    assert database.all("SELECT * FROM volumes") == []


def test_threads_have_their_own_connections(database: Database) -> None:
    seen: list[sqlite3.Connection] = [database.connection()]
    thread = threading.Thread(target=lambda: seen.append(database.connection()))
    thread.start()
    thread.join()
    assert seen[0] is not seen[1]


def _descriptors(path: Path) -> int:
    links = [os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]
    return sum(link.startswith(str(path)) for link in links)


def test_threads_that_ended_leave_no_open_files(database: Database) -> None:
    database.connection()
    before = _descriptors(database.path)
    for _ in range(20):
        thread = threading.Thread(target=lambda: database.one("SELECT 1"))
        thread.start()
        thread.join()
    # The last one's may still be open: nobody has come after it.
    assert _descriptors(database.path) <= 2 * before


def test_a_child_process_closes_its_own_connections_only(database: Database) -> None:
    database.execute("INSERT INTO volumes(name, created) VALUES('v', 'now')")
    before = _descriptors(database.path)
    child = os.fork()
    if child == 0:
        database.close()
        os._exit(0 if _descriptors(database.path) == before else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert [row["name"] for row in database.all("SELECT name FROM volumes")] == ["v"]


def test_nobody_else_may_read_the_state(database: Database) -> None:
    umask = os.umask(0)
    try:
        database.execute("INSERT INTO volumes(name, created) VALUES('v', 'now')")
    finally:
        os.umask(umask)
    modes = {file.name: file.stat().st_mode & 0o777 for file in database.path.parent.iterdir()}
    assert modes.pop("state.db") == 0o600
    assert set(modes) >= {"state.db-wal", "state.db-shm"} and set(modes.values()) == {0o600}


def _insert(path: str, start: int) -> None:
    database = Database(Path(path))
    for number in range(start, start + 50):
        database.execute("INSERT INTO volumes(name, created) VALUES(?, 'now')", (f"v{number}",))


def test_writers_in_several_processes_lose_nothing(database: Database) -> None:
    database.connection()
    workers = [SPAWN.Process(target=_insert, args=(str(database.path), start)) for start in (0, 50, 100)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert len(database.all("SELECT * FROM volumes")) == 150


def test_a_lock_excludes_other_threads_and_is_reentrant(locks: Locks) -> None:
    outcome: list[str] = []

    def other() -> None:
        try:
            with locks.hold("container", "a", timeout=0.02):
                outcome.append("taken")
        except Conflict as error:
            outcome.append(str(error))

    with locks.hold("container", "a"), locks.hold("container", "a"):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert not locks.is_free("container", "a")
    assert outcome == ["container a is busy: another operation holds it"]
    assert locks.is_free("container", "a")


def test_a_removed_lock_file_guards_the_next_holder(locks: Locks) -> None:
    with locks.hold("container", "a"):
        locks.forget("container", "a")
        with locks.hold("container", "b"):
            pass
    with locks.hold("container", "a", timeout=0):
        assert not locks.is_free("container", "a")


def _hold_and_die(run_dir: str, ready: object) -> None:
    context = Locks(Path(run_dir)).hold("container", "a")
    context.__enter__()
    ready.set()  # type: ignore[attr-defined]
    os.kill(os.getpid(), 9)


def test_the_kernel_frees_a_killed_holders_lock(locks: Locks, tmp_path: Path) -> None:
    ready = SPAWN.Event()
    worker = SPAWN.Process(target=_hold_and_die, args=(str(tmp_path / "run"), ready))
    worker.start()
    assert ready.wait(30)
    worker.join(30)
    with locks.hold("container", "a", timeout=0):
        pass


def test_journal_keeps_only_what_crashed(database: Database, locks: Locks) -> None:
    journal = Journal(database, locks)
    with journal.operation("x", "container", "a", {"step": 1}):
        assert [entry.intent for entry in journal.pending()] == [{"step": 1}]
    assert journal.pending() == []
    with pytest.raises(ValueError), journal.operation("x", "container", "a", {}):
        raise ValueError
    assert journal.pending() == []
    with pytest.raises(SystemExit), journal.operation("x", "container", "a", {}):
        raise SystemExit
    assert len(journal.pending()) == 1


def test_recovery_takes_abandoned_entries_and_leaves_live_ones(database: Database, locks: Locks) -> None:
    journal = Journal(database, locks)
    journal.open("x", "container", "dead", {"id": "dead"})
    journal.open("x", "container", "live", {"id": "live"})
    journal.open("unknown", "container", "dead", {})
    seen: list[object] = []
    journal.register("x", lambda intent: seen.append(intent["id"]))
    release, held = threading.Event(), threading.Event()

    def owner() -> None:
        with locks.hold("container", "live"):
            held.set()
            release.wait(30)

    thread = threading.Thread(target=owner)
    thread.start()
    assert held.wait(30)
    try:
        journal.recover()
        assert seen == ["dead"]
        assert [(entry.operation, entry.lock_name) for entry in journal.pending()] == [
            ("x", "live"),
            ("unknown", "dead"),
        ]
    finally:
        release.set()
        thread.join()


def test_one_entry_that_cannot_be_dealt_with_stands_in_no_others_way(database: Database, locks: Locks) -> None:
    journal = Journal(database, locks)
    for name in ("busy", "dead", "stubborn"):
        journal.open("x", "container", name, {"id": name})
    seen: list[object] = []

    def handler(intent: Intent) -> None:
        if intent["id"] == "busy":
            raise Conflict("the directory is in use")
        if intent["id"] == "stubborn":
            raise HostError("unmounting", "Device or resource busy")
        seen.append(intent["id"])

    journal.register("x", handler)
    with pytest.raises(TeardownError, match=r"in use.*Device or resource busy"):
        journal.recover()
    assert seen == ["dead"]
    assert [entry.lock_name for entry in journal.pending()] == ["busy", "stubborn"]


def test_what_this_thread_is_doing_is_not_abandoned(database: Database, locks: Locks) -> None:
    journal = Journal(database, locks)
    seen: list[object] = []
    journal.register("x", lambda intent: seen.append(intent["id"]))
    journal.open("x", "container", "dead", {"id": "dead"})
    with locks.hold("image", "a"), journal.operation("x", "image", "a", {"id": "alive"}):
        assert [entry.lock_name for entry in journal.abandoned()] == ["dead"]
        with locks.hold("container", "dead"):
            journal.recover()
            assert seen == []
            journal.recover(lock=("container", "dead"))
        assert seen == ["dead"]
        assert [entry.lock_name for entry in journal.pending()] == ["a"]


def test_events_are_read_from_a_cursor(database: Database) -> None:
    events = Events(database)
    assert events.last() == 0
    events.emit("container", "start", "id1", {"name": "web"})
    cursor = events.last()
    events.emit("container", "die", "id1", {"exitCode": "0"})
    assert [(event.action, dict(event.attributes)) for event in events.since(cursor)] == [("die", {"exitCode": "0"})]
