"""YAML as config reads it: lines kept, surprises of YAML 1.1 left out, traps refused."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flockiq.shared.config.document import MAX_BYTES, MAX_NODES, parse, read
from flockiq.shared.errors import ConfigError


def refused(raw: bytes) -> str:
    """What is said of a file that does not load."""
    with pytest.raises(ConfigError) as error:
        parse(raw, "file.yaml")
    return str(error.value)


def test_every_key_and_item_has_its_line() -> None:
    """Nested, in lists and in flow style."""
    document = parse(b"a:\n  b: 1\n  c:\n    - x\n    - {d: 2,\n       e: 3}\n", "file.yaml")
    assert document.line(("a", "b")) == 2
    assert document.line(("a", "c", 0)) == 4
    assert document.line(("a", "c", 1, "e")) == 6
    assert document.line(("a", "nothing", "there")) == 1


def test_words_that_yaml_1_1_reads_as_something_else_are_text() -> None:
    """Norway is not false, a time is not sexagesimal, a leading zero is not octal, a date is text."""
    document = parse(b"a: [NO, on, 12:30, 007, 2024-01-31, 1_000, 0x1F, .inf, true, ~, 12, 1.5, 1e3]", "f")
    assert document.data["a"] == [
        "NO", "on", "12:30", "007", "2024-01-31", "1_000", "0x1F", ".inf", True, None, 12, 1.5, 1000.0
    ]  # fmt: skip


def test_keys_are_text() -> None:
    """As in JSON, so that a source's code 1 is found under "1"."""
    assert parse(b"{1: a, true: b, 2024-01-31: c}", "f").data == {"1": "a", "true": "b", "2024-01-31": "c"}


def test_anchors_and_merge_keys_share_what_repeats() -> None:
    """A mapping's own keys win over merged ones, and the first of several merged ones wins."""
    document = parse(b"x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nz:\n  <<: [*x, *y]\n  a: 3\n", "f")
    assert document.data["z"] == {"a": 3, "b": 1, "c": 2}
    assert document.line(("z", "a")) == 5


def test_a_merged_mapping_may_be_used_again() -> None:
    """Reading an anchor twice does not make its merged keys repeated ones."""
    document = parse(b"a: &a {k: 1}\nb: &b {<<: *a, k: 2}\nc: *b\nd: *b\n", "f")
    assert document.data["c"] == document.data["d"] == {"k": 2}


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"a: 1\nb: 2\na: 3\n", "file.yaml:3: a: is written twice"),
        (b"a: {b: 1, b: 2}", "a.b: is written twice"),
        (b"a: [1\n", "is not YAML"),
        (b"a: 1\n b: 2\n", "file.yaml:2: is not YAML"),
        (b"a: !!python/object/apply:os.system [id]", "is read as a tag"),
        (b"a: !secret x", "quote text that begins with !"),
        (b"? [1, 2]\n: 3", "a key must be a plain word"),
        (b"a: caf\xe9\n", "file.yaml:1: is not UTF-8"),
        (b"a: 1\n---\nb: 2\n", "is not YAML"),
        (b"a: &a [*a]", "holds too much"),
        (b"a: &a {<<: *a}", "holds too much|nested too deeply"),
        (b"[" * 5_000, "nested too deeply"),
        (b"<<: 5", "<< must name a mapping"),
        (b"a: *nobody", "undefined alias"),
        (b"a: \x00", "is not YAML"),
    ],
)
def test_what_is_no_plain_yaml_is_refused_with_its_line(raw: bytes, said: str) -> None:
    """Repeated keys, tags, broken text, loops: each is a sentence, never a traceback."""
    assert any(part in refused(raw) for part in said.split("|"))


def test_aliases_that_stand_for_a_billion_values_are_refused_at_once() -> None:
    """The laughing billion, by lists and by merge keys."""
    lists = b"a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    merges = b"b0: &b0 {k: 1}\n"
    for level in range(1, 12):
        lists += f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n".encode()
        merges += f"b{level}: &b{level} {{<<: [{', '.join([f'*b{level - 1}'] * 10)}]}}\n".encode()
    assert f"at most {MAX_NODES:,}" in refused(lists)
    assert f"at most {MAX_NODES:,}" in refused(merges)


def test_a_file_that_is_too_large_or_not_there_is_refused(tmp_path: Path) -> None:
    """Read no further than the limit; say why a file can't be read."""
    large = tmp_path / "large.yaml"
    large.write_bytes(b"#" * (MAX_BYTES + 1))
    for path, said in ((large, "is too large"), (tmp_path / "none.yaml", "No such file"), (tmp_path, "directory")):
        with pytest.raises(ConfigError, match=said):
            read(path)


marks = st.text("ab:-[]{}&*!<>|#'\",? \n1\t%@`", max_size=40).map(str.encode)
tags = st.sampled_from(
    ["bool", "int", "float", "null", "str", "seq", "map", "merge", "binary", "timestamp", "set", "omap"]
)
tagged = st.builds(
    lambda tag, text: f"a: !!{tag} {text}".encode(), tags, st.sampled_from(["", "x", "7", "{b: 1}", "[1]"])
)


@given(st.one_of(st.binary(max_size=60), marks, tagged))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    """Nothing but ConfigError comes out of a file, whatever is in it; what is read is JSON's."""
    with contextlib.suppress(ConfigError):
        json.dumps(parse(raw, "file.yaml").data, allow_nan=False)
