"""Help texts, laid out as docker lays out its own.

Owns the rendering of a verb, a management word and the whole program from the vocabulary. Pure: text in, text out.
"""

from __future__ import annotations

from collections.abc import Sequence

from tui.command_line.grammar import BOOL, LIST, PROGRAM, Flag, UsageError, Verb, Vocabulary

SUMMARY = "A container console and engine in one program. Without a command it opens the console."

# The verbs an operator types daily come first, as in docker's own help.
COMMON = ("run", "exec", "ps", "build", "images", "logs", "inspect", "demo", "info", "version")


def usage_line(verb: Verb) -> str:
    """``Usage:  pilothouse run [OPTIONS] IMAGE [COMMAND] [ARG...]``."""
    parts = [verb.title]
    if verb.flags:
        parts.append("[OPTIONS]")
    if verb.operands:
        parts.append(verb.operands)
    return "Usage:  " + " ".join(parts)


def verb_help(verb: Verb, width: int = 80) -> str:
    """The full help of one verb, fitted to ``width`` columns."""
    blocks = [usage_line(verb), verb.summary]
    if verb.aliases:
        names = sorted({f"{PROGRAM} {' '.join(path)}" for path in (verb.path, *verb.aliases)}, key=len, reverse=True)
        blocks.append("Aliases:\n  " + ", ".join(names))
    shown = [flag for flag in verb.flags if not flag.alias_of]
    if shown:
        blocks.append("Options:\n" + flag_lines(shown, width))
    if verb.notes:
        blocks.append(verb.notes)
    return "\n\n".join(blocks) + "\n"


def flag_lines(flags: Sequence[Flag], width: int = 80) -> str:
    """One aligned block of flags with their help wrapped into its column."""
    from textwrap import wrap  # compiles patterns, and only help wraps

    heads = []
    for flag in flags:
        letter = f"-{flag.short}, " if flag.short else "    "
        word = "" if flag.kind == BOOL else " " + (flag.word or flag.kind)
        heads.append(f"  {letter}--{flag.name}{word}")
    column = max(map(len, heads)) + 3
    lines = []
    for flag, head in zip(flags, heads, strict=True):
        text = flag.help + _default(flag)
        wrapped = wrap(text, max(24, width - column)) or [""]
        lines.append(head.ljust(column) + wrapped[0])
        lines.extend(" " * column + line for line in wrapped[1:])
    return "\n".join(lines)


def group_help(vocabulary: Vocabulary, group: str) -> str:
    """The help of a management word such as ``container``."""
    members = {name: verb for name, verb in vocabulary.members(group) if name not in ("list", "remove")}
    return (
        f"Usage:  {PROGRAM} {group} COMMAND\n\n{vocabulary.groups[group]}\n\n"
        f"Commands:\n{_table({name: verb.summary for name, verb in members.items()})}\n\n"
        f"Run '{PROGRAM} {group} COMMAND --help' for more information on a command.\n"
    )


def program_help(vocabulary: Vocabulary, width: int = 80) -> str:
    """What ``pilothouse --help`` prints."""
    verbs = {name: verb.summary for name, verb in vocabulary.members("")}
    groups = {name: text for name, text in vocabulary.groups.items() if name != "builder"}
    common = {name: verbs[name] for name in COMMON}
    others = {name: text for name, text in verbs.items() if name not in common}
    return (
        f"Usage:  {PROGRAM} [OPTIONS] [COMMAND]\n\n{SUMMARY}\n\n"
        f"Common Commands:\n{_table(common)}\n\nManagement Commands:\n{_table(groups)}\n\n"
        f"Commands:\n{_table(others)}\n\nGlobal Options:\n{flag_lines(vocabulary.globals, width)}\n\n"
        f"Run '{PROGRAM} COMMAND --help' for more information on a command.\n"
    )


def complaint(error: UsageError) -> str:
    """What stands on stderr after a wrong command line: the error, how the verb is used, where help is."""
    verb = error.verb
    lines = [f"{PROGRAM}: {error}"]
    if error.remedy:
        lines.append(error.remedy)
    if verb is None:
        lines += ["", f"See '{PROGRAM} --help'."]
    else:
        lines += ["", usage_line(verb), "", f"See '{verb.title} --help'."]
    return "\n".join(lines) + "\n"


def _default(flag: Flag) -> str:
    if flag.default is None or flag.default == -1 or flag.kind == LIST:
        return ""
    shown = str(flag.default).lower() if isinstance(flag.default, bool) else f'"{flag.default}"'
    return f" (default {shown})"


def _table(entries: dict[str, str]) -> str:
    column = max(map(len, entries)) + 2
    return "\n".join(f"  {name.ljust(column)}{text}" for name, text in entries.items())
