"""Go templates as ``--format`` uses them: values, actions, functions, white space, error words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import EngineError
from tui.command_line.template import Template
from tui.command_line.template_parser import TemplateError
from tui.command_line.template_values import quote

pytestmark = pytest.mark.unit

CONTAINER = {
    "Id": "abc",
    "Name": "/web",
    "State": {"Pid": 42, "Running": True, "Status": "running", "Error": ""},
    "Config": {"Env": ["A=1", "B=2"], "Labels": {"com.example.tier": "db", "z": "x"}, "Cmd": None},
    "NetworkSettings": {
        "Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "53/udp": None},
        "Networks": {"bridge": {"IPAddress": "172.17.0.2"}},
    },
    "HostConfig": {"NanoCpus": 0, "Binds": []},
    "Share": 0.5,
}


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{.State.Pid}}", "42"),
        ("{{ .State.Running }}", "true"),
        ("{{.Id}} {{.ID}}", "abc abc"),
        ("{{.Config.Cmd}}", "<no value>"),
        ("{{.Config.Env}}", "[A=1 B=2]"),
        ("{{.Config.Labels}}", "map[com.example.tier:db z:x]"),
        ('{{index .Config.Labels "com.example.tier"}}', "db"),
        ('{{index .Config.Labels "none"}}', "<no value>"),
        ("{{index .Config.Env 1}}", "B=2"),
        ('{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}', "8080"),
        ('{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostIP}}', "0.0.0.0"),
        ("{{json .Config.Env}}", '["A=1","B=2"]'),
        ("{{.Config.Env | json}}", '["A=1","B=2"]'),
        ("{{json .Config.Cmd}}", "null"),
        ("{{range .Config.Env}}<{{.}}>{{end}}", "<A=1><B=2>"),
        ("{{range $i, $e := .Config.Env}}{{$i}}={{$e}};{{end}}", "0=A=1;1=B=2;"),
        ("{{range $p, $c := .NetworkSettings.Ports}}{{$p}} {{end}}", "53/udp 80/tcp "),
        ("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", "172.17.0.2"),
        ("{{range .HostConfig.Binds}}x{{else}}none{{end}}", "none"),
        ("{{range .Config.Env}}{{if eq . `B=2`}}{{break}}{{end}}{{.}}{{end}}", "A=1"),
        ("{{range .Config.Env}}{{if eq . `A=1`}}{{continue}}{{end}}{{.}}{{end}}", "B=2"),
        ("{{if .State.Running}}up{{else}}down{{end}}", "up"),
        ('{{if eq .State.Status "x"}}a{{else if .State.Error}}b{{else}}c{{end}}', "c"),
        ("{{with .State.Error}}{{.}}{{else}}fine{{end}}", "fine"),
        ("{{with .State}}{{.Pid}} {{$.Name}}{{end}}", "42 /web"),
        ("{{$n := .Name}}{{$n}}", "/web"),
        ("{{$n := 1}}{{if true}}{{$n = 2}}{{end}}{{$n}}", "2"),
        ("{{len .Config.Env}} {{len .Name}}", "2 4"),
        ('{{join .Config.Env ", "}}', "A=1, B=2"),
        ("{{upper .Name}} {{lower `ABC`}} {{title `abc`}}", "/WEB abc Abc"),
        ('{{split "a,b" ","}}', "[a b]"),
        ("{{println .Name}}", "/web\n"),
        (
            '{{printf "%s %d %v %q %5d|%-4s|%t" .Name 7 .State.Running "a\\"b" 3 "x" true}}',
            '/web 7 true "a\\"b"     3|x   |true',
        ),
        ('{{printf "%d" "x"}}', "%!d(string=x)"),
        ("{{eq 1 1}} {{ne 1 2}} {{lt 1 2}} {{ge 2 2}} {{eq .Id `x` `abc`}}", "true true true true true"),
        ("{{and .State.Running .Name}} {{or .State.Error `empty`}} {{not true}}", "/web empty false"),
        ("{{and .Config.Cmd (index .Config.Cmd 0)}}", "<no value>"),
        ("a {{- .Id -}} b", "aabcb"),
        ("a{{/* comment */}}b {{- /* trim */ -}} c", "abc"),
        ("{{.Share}}", "0.5"),
        ("{{slice .Name 1}}", "web"),
        ("{{truncate .Name 2}}|{{pad `x` 1 2}}|", "/w| x  |"),
        ("{{print 1 2 `a` 3}}", "1 2a3"),
        (r"{{`raw\n`}}{{'a'}}", "raw\\n97"),
        ("plain", "plain"),
        ("{{.State.Pid | printf `%05d`}}", "00042"),
        ("}}", "}}"),
    ],
)
def test_renders_as_go_does(source: str, text: str) -> None:
    assert Template(source).render(CONTAINER) == text


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{{.Nope}}", 'template: :1:2: executing "" at <.Nope>: map has no entry for key "Nope"'),
        ("a{{.State.Nope}}", 'template: :1:3: executing "" at <.State.Nope>: map has no entry for key "Nope"'),
        ("\n\n {{.Nope}}", "template: :3:3:"),
        ("{{.Config.Cmd.X}}", "nil pointer evaluating interface {}.X"),
        ("{{.Name.X}}", "can't evaluate field X in type string"),
        ("{{index .Config.Env 9}}", "error calling index"),
        ("{{index .Config.Cmd 0}}", "index of untyped nil"),
        ("{{.Name", "template: :1: unclosed action"),
        ("{{nope .}}", 'template: :1: function "nope" not defined'),
        ("{{if .Name}}", "template: :1: unexpected EOF"),
        ("{{end}}", "template: :1: unexpected {{end}}"),
        ("{{}}", "missing value for command"),
        ("{{.A | }}", "missing value for command"),
        ("{{$x}}", "undefined variable: $x"),
        ('{{"a}}', "unterminated quoted string"),
        ("{{.Name 1}}", "can't give argument to non-function .Name"),
        ("{{range .Name}}{{end}}", "range can't iterate over /web"),
        ("{{lower 1}}", "expected string"),
        ("{{eq 1 `a`}}", "incompatible types for comparison"),
        ("{{not}}", "wrong number of args for not"),
        ("{{(index .Config.Env 0}}", "unclosed left paren"),
        ("{{break}}", "outside"),
        ("{{template `x`}}", "not supported"),
        ("{{len .Config.Cmd}}", "len of nil pointer"),
    ],
)
def test_fails_in_gos_words(source: str, words: str) -> None:
    with pytest.raises(TemplateError) as caught:
        Template(source).render(CONTAINER)
    assert words in str(caught.value)


def test_a_table_row_names_its_kind_in_the_error() -> None:
    with pytest.raises(TemplateError, match=r"field Nope in type formatter[.]ContainerContext"):
        Template("{{.Nope}}", kind="formatter.ContainerContext").render({"ID": "x"})


@given(st.text(alphabet='{}.|()$-"`ab1 \n\\'))
def test_any_text_renders_or_fails_with_words(source: str) -> None:
    try:
        Template(source).render({"a": {"b": [1, "x"]}})
    except EngineError as error:
        assert str(error)


@given(st.text())
def test_a_template_without_actions_is_itself(text: str) -> None:
    if "{{" not in text:
        assert Template(text).render({}) == text


def test_quote_is_gos() -> None:
    assert quote('a"b\\\n\x01\x7fü\u200b') == '"a\\"b\\\\\\n\\x01\\x7fü\\u200b"'
