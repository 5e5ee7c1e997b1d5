"""Tables and ``--format`` as docker's list commands print them.

Owns the column layout (that of Go's tabwriter with docker's settings), the ``table TEMPLATE`` and ``json`` forms, and
the headers of fields. Knows no object: a listing hands it rows of named fields.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from engine.errors import InvalidInput

MINIMUM = 10
PADDING = 3

Field = Callable[[], object] | object
Row = Mapping[str, Field]

_FUNCTION_OF_FIELD = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)


def width(text: str) -> int:
    """Columns ``text`` takes on a terminal: wide characters two, combining ones none."""
    if text.isascii():
        return len(text)
    import unicodedata

    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


def align(lines: Sequence[Sequence[str]]) -> list[str]:
    """Cells joined to lines: every column but the last at least 10 wide and 3 wider than its widest cell."""
    columns = max(map(len, lines), default=0)
    widths = [
        max(MINIMUM, PADDING + max((width(line[index]) for line in lines if index < len(line) - 1), default=0))
        for index in range(columns)
    ]
    return [
        "".join(
            cell + " " * (widths[index] - width(cell)) if index < len(line) - 1 else cell
            for index, cell in enumerate(line)
        )
        for line in lines
    ]


def render(
    rows: Iterable[Row],
    form: str,
    *,
    headers: Mapping[str, str],
    kind: str,
    default: Sequence[str],
    quiet: str = "",
) -> list[str]:
    """The lines of a listing.

    ``form`` is the user's ``--format``: empty or ``table`` for the fields ``default``, ``table TEMPLATE``, ``json``, or
    a template. ``quiet`` is the field of ``-q``, empty without it. ``kind`` is the type named when a template asks for
    a field the listing does not have.
    """
    if form in ("", "table"):
        if quiet:
            return [str(_value(row, quiet)) for row in rows]
        lines = [[str(_value(row, name)) for name in default] for row in rows]
        return align([[headers[name] for name in default], *lines])
    if form in ("json", "{{json .}}"):
        return [json.dumps(_plain_row(row), separators=(",", ":"), ensure_ascii=False) for row in rows]
    tabular = form.startswith("table") and form[5:6] in (" ", "\t")
    source = form[5:].strip() if tabular else form
    source = source.replace(r"\t", "\t").replace(r"\n", "\n")
    from tui.command_line.template import Template
    from tui.command_line.template_parser import TemplateError

    try:
        template = Template(source, kind=kind)
    except TemplateError as error:
        raise InvalidInput(
            f"failed to parse template: template parsing error: {error}",
            remedy="a template looks like '{{.ID}}: {{.Names}}'; fields: " + ", ".join(headers),
        ) from None
    rendered = [template.render(row) for row in rows]
    if not tabular:
        return rendered
    head = _header(source, headers)
    return align([line.split("\t") for line in (head, *rendered)])


def _value(row: Row, name: str) -> object:
    value = row[name]
    return value() if callable(value) else value


def _plain_row(row: Row) -> dict[str, object]:
    """The fields of a row with their values; ``Label`` is a function of a key and no field."""
    fields = [name for name in sorted(row) if name != "Label"]
    return {name: _value(row, name) for name in fields}


def _header(source: str, headers: Mapping[str, str]) -> str:
    """The template with every action replaced by the header of the field it shows."""

    def replace(match: re.Match[str]) -> str:
        named = re.findall(r"\.([A-Za-z]\w*)", match[1])
        if not named:
            return ""
        if named[0] == "Label":
            quoted = re.search(r'"([^"]*)"', match[1])
            # docker's own header for {{.Label "com.example.tier"}} is its last part.
            return re.split(r"[.\-_]", quoted[1])[-1] if quoted else "LABEL"
        return headers.get(named[0], named[0].upper())

    return _FUNCTION_OF_FIELD.sub(replace, source)
