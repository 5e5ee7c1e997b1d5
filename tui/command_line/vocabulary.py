"""Every verb of the command line, in one table.

Owns the list itself, the management words and the global flags; the verbs of containers and images have files of their
own. Help, parsing, completion and the console's ``:`` line are all derived from ``VOCABULARY``.
"""

from __future__ import annotations

from tui.command_line.container_verbs import CONTAINER_VERBS
from tui.command_line.flags import FILTER, FORMAT, INSPECT_FORMAT, NO_TRUNC, QUIET_IDS
from tui.command_line.grammar import BOOL, LIST, STRING, Flag, Verb, Vocabulary, names
from tui.command_line.image_verbs import IMAGE_VERBS

NETWORK_VERBS = (
    Verb(
        ("network", "ls"),
        "List networks",
        "listing:networks",
        flags=(FILTER, FORMAT, NO_TRUNC, QUIET_IDS),
        aliases=(("network", "list"),),
        changes=False,
    ),
    Verb(
        ("network", "inspect"),
        "Show everything about one or more networks, as JSON",
        "inspection:network",
        "NETWORK [NETWORK...]",
        1,
        None,
        (INSPECT_FORMAT,),
        names="network",
        later=frozenset({"verbose"}),
        changes=False,
    ),
)

VOLUME_VERBS = (
    Verb(
        ("volume", "create"),
        "Create a volume",
        "volumes:create",
        "[VOLUME]",
        0,
        1,
        (
            Flag("driver", "d", STRING, "Volume driver", default="local"),
            Flag("label", "", LIST, "Set a label (KEY=VALUE)"),
            Flag("opt", "o", LIST, "Set an option of the driver (KEY=VALUE)"),
        ),
    ),
    Verb(
        ("volume", "ls"),
        "List volumes",
        "listing:volumes",
        flags=(FILTER, FORMAT, Flag("quiet", "q", BOOL, "Only show names")),
        aliases=(("volume", "list"),),
        later=frozenset({"cluster"}),
        changes=False,
    ),
    Verb(
        ("volume", "inspect"),
        "Show everything about one or more volumes, as JSON",
        "inspection:volume",
        "VOLUME [VOLUME...]",
        1,
        None,
        (INSPECT_FORMAT,),
        names="volume",
        changes=False,
    ),
    Verb(
        ("volume", "rm"),
        "Remove one or more volumes that no container uses",
        "volumes:remove",
        "VOLUME [VOLUME...]",
        1,
        None,
        (Flag("force", "f", BOOL, "Don't mind a volume that is not there"),),
        names="volume",
        aliases=(("volume", "remove"),),
    ),
    Verb(
        ("volume", "prune"),
        "Remove volumes that no container uses",
        "volumes:prune",
        flags=(
            Flag("all", "a", BOOL, "Named volumes too, not just anonymous ones"),
            Flag("filter", "", LIST, "Only what matches, label=KEY[=VALUE]", word="filter"),
            Flag("force", "f", BOOL, "Don't ask"),
        ),
    ),
)

SYSTEM_VERBS = (
    Verb(("demo",), "Build and run a small web service from a Dockerfile", "demo:demo"),
    Verb(
        ("info",),
        "Show what the engine has and uses on this host",
        "system:info",
        flags=(INSPECT_FORMAT,),
        aliases=(("system", "info"),),
        changes=False,
    ),
    Verb(
        ("version",),
        "Show the versions of pilothouse and of the programs it works with",
        "system:version",
        flags=(INSPECT_FORMAT,),
        changes=False,
    ),
    Verb(("restore",), "After a boot, start the containers whose restart policy says so", "system:restore"),
    Verb(("help",), "Show help about a command", "system:help_about", "[COMMAND]", 0, None, changes=False),
)

# Commands of docker's that this version knows of and does not have.
LATER = names(
    "attach cp diff events export login logout port pull push rename search stats top update compose swarm"
) | frozenset(
    f"{group} {word}"
    for group, words in {
        "container": "attach cp diff export port prune rename stats top update",
        "image": "prune pull push",
        "network": "connect create disconnect prune rm",
        "volume": "update",
        "builder": "prune",
        "system": "df events prune",
    }.items()
    for word in words.split()
)

VOCABULARY = Vocabulary(
    verbs=CONTAINER_VERBS + IMAGE_VERBS + NETWORK_VERBS + VOLUME_VERBS + SYSTEM_VERBS,
    groups={
        "container": "Manage containers",
        "image": "Manage images",
        "network": "Manage networks",
        "volume": "Manage volumes",
        "builder": "Manage builds",
        "system": "Manage pilothouse",
    },
    globals=(
        Flag(
            "data-root", "", STRING, "Directory of images, containers and volumes (PILOTHOUSE_DATA_ROOT)", names="path"
        ),
        Flag("run-dir", "", STRING, "Directory of what lives until the next boot (PILOTHOUSE_RUN_DIR)", names="path"),
        Flag("version", "v", BOOL, "Print the version"),
        Flag("read-only", "", BOOL, "Open the console locked: nothing can be changed"),
        Flag("keymap", "", STRING, "Keys of the console", names="keymap"),
        Flag("theme", "", STRING, "Colours of the console", names="theme"),
        Flag("ascii", "", BOOL, "Draw the console in ASCII"),
        Flag("no-mouse", "", BOOL, "Leave the mouse to the terminal"),
    ),
    later=LATER,
)
