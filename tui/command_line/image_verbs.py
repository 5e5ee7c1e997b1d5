"""The verbs of images, as data.

Owns docker's spelling of every image verb and flag this version has, and names those it does not have yet.
"""

from __future__ import annotations

from tui.command_line.flags import FILTER, FORMAT, INSPECT_FORMAT, NO_TRUNC, QUIET_IDS
from tui.command_line.grammar import BOOL, LIST, STRING, Flag, Verb, names

IMAGE_VERBS = (
    Verb(
        ("build",),
        "Build an image from a Dockerfile",
        "build:build",
        "PATH",
        1,
        1,
        (
            Flag("build-arg", "", LIST, "Set an ARG (NAME=VALUE, or NAME to pass on the caller's)"),
            Flag("file", "f", STRING, "The Dockerfile (default: PATH/Dockerfile)", names="path"),
            Flag("no-cache", "", BOOL, "Run every instruction again"),
            Flag("quiet", "q", BOOL, "Print the image id only"),
            Flag("tag", "t", LIST, "Name the image, NAME[:TAG]", names="image"),
        ),
        names="path",
        aliases=(("image", "build"), ("builder", "build")),
        later=names(
            "add-host annotation attest build-context builder cache-from cache-to call cgroup-parent check compress "
            "force-rm iidfile label load metadata-file network no-cache-filter output platform progress provenance "
            "pull push rm sbom secret security-opt shm-size squash ssh target ulimit"
        ),
    ),
    Verb(
        ("images",),
        "List images",
        "listing:images",
        "[REPOSITORY[:TAG]]",
        0,
        1,
        (
            Flag("all", "a", BOOL, "Show intermediate images too"),
            Flag("digests", "", BOOL, "Show digests"),
            FILTER,
            FORMAT,
            NO_TRUNC,
            QUIET_IDS,
        ),
        names="image",
        aliases=(("image", "ls"), ("image", "list")),
        later=frozenset({"tree"}),
        changes=False,
    ),
    Verb(
        ("rmi",),
        "Remove one or more images",
        "images:remove",
        "IMAGE [IMAGE...]",
        1,
        None,
        (
            Flag("force", "f", BOOL, "Remove every name of the image"),
            Flag("no-prune", "", BOOL, "Keep parents that lose their last name"),
        ),
        names="image",
        aliases=(("image", "rm"), ("image", "remove")),
        later=frozenset({"platform"}),
    ),
    Verb(
        ("tag",),
        "Give an image another name",
        "images:tag",
        "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
        2,
        2,
        names="image",
        aliases=(("image", "tag"),),
    ),
    Verb(
        ("history",),
        "Show how an image was made",
        "images:history",
        "IMAGE",
        1,
        1,
        (
            FORMAT,
            Flag("human", "H", BOOL, "Print sizes and dates for people", default=True),
            NO_TRUNC,
            QUIET_IDS,
        ),
        names="image",
        aliases=(("image", "history"),),
        later=frozenset({"platform"}),
        changes=False,
    ),
    Verb(
        ("save",),
        "Save one or more images to a tar archive (to stdout by default)",
        "archives:save",
        "IMAGE [IMAGE...]",
        1,
        None,
        (Flag("output", "o", STRING, "Write to a file instead of stdout", names="path"),),
        names="image",
        aliases=(("image", "save"),),
        later=frozenset({"platform"}),
        changes=False,
    ),
    Verb(
        ("load",),
        "Load images from a tar archive (from stdin by default)",
        "archives:load",
        flags=(
            Flag("input", "i", STRING, "Read from a file instead of stdin", names="path"),
            Flag("quiet", "q", BOOL, "Don't report progress"),
        ),
        aliases=(("image", "load"),),
        later=frozenset({"platform"}),
    ),
    Verb(
        ("import",),
        "Make an image of a file system's tar archive",
        "archives:import_file_system",
        "FILE|- [REPOSITORY[:TAG]]",
        1,
        2,
        (
            Flag("change", "c", LIST, "Apply a Dockerfile instruction to the image"),
            Flag("message", "m", STRING, "Commit message"),
        ),
        names="path",
        aliases=(("image", "import"),),
        later=frozenset({"platform"}),
    ),
    Verb(
        ("image", "inspect"),
        "Show everything about one or more images, as JSON",
        "inspection:image",
        "IMAGE [IMAGE...]",
        1,
        None,
        (INSPECT_FORMAT,),
        names="image",
        later=frozenset({"platform"}),
        changes=False,
    ),
)
