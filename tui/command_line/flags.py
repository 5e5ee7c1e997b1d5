"""Flags that several verbs share.

Owns their spelling and help, so that one flag means one thing everywhere. Data only.
"""

from __future__ import annotations

from tui.command_line.grammar import BOOL, INT, LIST, STRING, Flag

FORMAT = Flag("format", "", STRING, "Print with a Go template, 'table TEMPLATE', or 'json'")
INSPECT_FORMAT = Flag("format", "f", STRING, "Print with a Go template, or 'json'")
FILTER = Flag("filter", "f", LIST, "Show only what matches KEY=VALUE", word="filter")
QUIET_IDS = Flag("quiet", "q", BOOL, "Only show ids")
NO_TRUNC = Flag("no-trunc", "", BOOL, "Don't truncate output")
DRY_RUN = Flag("dry-run", "", BOOL, "Print what would be done and do nothing")
TIME_OUT = Flag("timeout", "t", INT, "Seconds to wait before killing the container")
TIME_OUT_OLD = Flag("time", "", INT, alias_of="timeout")
SIGNAL = Flag("signal", "s", STRING, "Signal to send to the container", names="signal")
ENV = Flag("env", "e", LIST, "Set an environment variable (NAME=VALUE, or NAME to pass on the caller's)")
USER = Flag("user", "u", STRING, 'User name or id, "<name|uid>[:<group|gid>]"')
WORKDIR = Flag("workdir", "w", STRING, "Working directory inside the container")
INTERACTIVE = Flag("interactive", "i", BOOL, "Keep stdin open even if not attached")
TTY = Flag("tty", "t", BOOL, "Allocate a pseudo-TTY")
DETACH_KEYS = Flag("detach-keys", "", STRING, "Override the key sequence for detaching (ctrl-p,ctrl-q)")
