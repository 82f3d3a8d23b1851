"""Where keys stand in TOML, against the parser of the standard library, which says what stands there."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shmbus.toml_lines import line_at, lines_of
from shmbus.tools.config import toml

DOCUMENT = '''\
# comment = 1
title = "a = 'b' # no comment"  # comment

[bus]
name = 'x'
max_topics = 8 # eight
[[topics]]
topic = "a.#"
[[topics]]
topic = """
several = lines # of text
[not.a.table]
"""
slots = 1_024
[collectors.net-mond]
command = [
    "/usr/bin/x",  # why
    '-v',
]
limits = { open_files = 256, "memory bytes" = 0x10 }
[collectors."odd name".environment]
A.B = 1
C = ''\'it's
two lines''\'
[access]
[[access.publish]]
users = ["a", 7]
[[access.publish]]
when = 1979-05-27T07:32:00Z
list = [{ a = 1 }, { a = [ [ ], [ 2 ] ] }]
'''


def paths(value, path=()):
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    else:
        return
    for key, inner in items:
        yield (*path, key)
        yield from paths(inner, (*path, key))


def test_every_key_and_entry_is_found_at_its_line():
    lines = lines_of(DOCUMENT)
    assert set(lines) >= set(paths(tomllib.loads(DOCUMENT))) - {("collectors",), ("collectors", "odd name")}
    texts = DOCUMENT.splitlines()
    for path, text in {
        ("title",): "title", ("bus",): "[bus]", ("bus", "max_topics"): "max_topics", ("topics",): "[[topics]]",
        ("topics", 1, "slots"): "slots", ("collectors", "net-mond", "command", 1): "    '-v'",
        ("collectors", "net-mond", "limits", "memory bytes"): "limits", ("access", "publish", 1): "[[access.publish]]",
        ("access", "publish", 1, "list", 1, "a", 1, 0): "list", ("access", "publish", 0, "users"): "users",
        ("collectors", "odd name", "environment", "A", "B"): "A.B", ("collectors", "odd name", "environment", "C"): "C",
    }.items():  # fmt: skip
        assert texts[lines[path] - 1].startswith(text), path
    assert lines["topics", 0] == 7 and lines["topics", 1] == 9


def test_what_does_not_stand_there_is_near_what_does():
    lines = lines_of("[bus]\nname = 'x'\n")
    assert line_at(lines, ("bus", "name")) == 2
    assert line_at(lines, ("bus", "max_topics")) == 1
    assert line_at(lines, ("topics",)) is None and line_at(lines, ()) is None


@pytest.mark.parametrize("text", ["", "\n# nothing\n", "a = 1", "a = 1\r\nb = [\r\n]\r\n", "[a]", "x = ''''a''''"])
def test_short_documents(text):
    assert set(lines_of(text)) == set(paths(tomllib.loads(text)))


KEYS = st.text("abc-_ .\"é\n'\x7f😀", min_size=1, max_size=4)
TEXTS = st.text("ab\"'\\\n#=[]{},é\x7f😀", max_size=12)
VALUES = st.recursive(st.integers() | st.booleans() | TEXTS, lambda inner: st.lists(inner, max_size=3), max_leaves=5)
TABLES = st.recursive(
    st.dictionaries(KEYS, VALUES, max_size=3),
    lambda inner: st.dictionaries(KEYS, VALUES | inner | st.lists(inner, min_size=1, max_size=2), max_size=3),
    max_leaves=6,
)


@given(TABLES)
def test_it_finds_what_the_parser_finds(table):
    text = "\n".join(toml(table))
    assert set(lines_of(text)) >= {path for path in paths(tomllib.loads(text)) if _stands(path, tomllib.loads(text))}


def _stands(path, data):
    """A table that only has tables need not be named."""
    for key in path:
        data = data[key]
    return not isinstance(data, dict)
