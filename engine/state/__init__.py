"""The engine's memory: database, locks, journal, events.

Owns ``state.db`` (SQLite, WAL), the flock files under the run dir, the journal of unfinished operations and the event
log. Knows no containers, networks or images beyond their rows; never touches the kernel's network, mounts or
processes. Called by every service of the engine; nobody outside ``engine`` opens the database.
"""
