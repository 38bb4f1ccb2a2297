"""Machine code reads and folds exactly as what it stands in for."""

from __future__ import annotations

import ast
import json
import threading
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flockiq.bench.engine import Engine
from flockiq.bench.history import Size
from flockiq.bench.workload import Workload, batches, plan, workload
from flockiq.merge.golden import Golden
from flockiq.pipeline import compiled
from flockiq.pipeline.decode import lines_of, rows_of
from flockiq.pipeline.types import TypeState
from flockiq.pipeline.warm import LAYOUT
from flockiq.pipeline.world import Plan, World
from flockiq.shared import wire
from flockiq.shared.errors import BadRecord
from flockiq.shared.fields import Field, canonical
from flockiq.shared.lanes import Texts, text_lane
from flockiq.shared.machine.loading import SHARED, Loading, kept_in
from flockiq.shared.machine.stretches import lane_of_bytes
from flockiq.shared.positions import hash_id
from flockiq.shared.rows import Rows
from flockiq.shared.stored_texts import PADDING


def _run(mode: compiled.Mode, work: Workload, size: int) -> tuple[Engine, list[Any]]:
    compiled.use(mode)
    engine = Engine(plan())
    effects = [
        effect
        for packed in (work.warm(), work.timed())
        for bodies in batches(packed, size)
        for effect in engine.give(bodies).values()
    ]
    assert engine.letters == 0
    return engine, effects


def _worlds(engine: Engine) -> list[World]:
    """The live world and the base, copied: so that what is kept in some place is found in the same one."""
    state = engine.types["account"]
    everything = np.arange(len(state.ids)), np.arange(len(state.groups))
    return [state.live.part(*everything), state.base.part(state.live, *everything)]


def _positions(golden: Golden) -> tuple[Any, ...]:
    entities, sources, fields = (np.arange(size) for size in golden.value.shape)
    return golden.positions(entities[:, None, None], sources[:, None], fields)


@pytest.mark.parametrize(
    ("size", "batch"), [(Size(4000, 300), 2), (Size(4000, 300), 0), (Size(4000, 300, unchanged=0.9, warm=True), 3)]
)
def test_a_workload_ends_in_the_same_state_and_tells_the_same(size: Size, batch: int) -> None:
    """Deltas, retractions, steps of alerts, and every column of the state, late data included."""
    plain, one = _run("off", workload(size), batch)
    fast, other = _run("wait", workload(size), batch)
    assert compiled.failure() is None
    assert len(one) == len(other) > 0
    for mine, theirs in zip(one, other, strict=True):
        assert mine.steps == theirs.steps
        for told in ("deltas", "retracted"):
            for ours, its in zip(getattr(mine, told), getattr(theirs, told), strict=True):
                np.testing.assert_array_equal(ours, its)
    for mine, theirs in zip(_worlds(plain), _worlds(fast), strict=True):
        for part in ("golden", "signs", "series"):
            ours, its = getattr(mine, part), getattr(theirs, part)
            for column in ours.names:
                np.testing.assert_array_equal(getattr(ours, column), getattr(its, column), err_msg=column)
        np.testing.assert_array_equal(_positions(mine.golden), _positions(theirs.golden))


@settings(deadline=None)
@given(st.text(max_size=200))
def test_a_lane_is_the_same_hash(text: str) -> None:
    """Of a text of any length."""
    body = text.encode()
    padded = np.frombuffer(body + bytes(PADDING), np.uint8)
    assert lane_of_bytes(padded.ctypes.data, 0, len(body)) == text_lane(text)


_ODD = ['"', "\\", "\n", "\x7f", "é", "漢", "𝄞", "/", "\u2028"]


def _is_canonical(text: str) -> bool:
    """Whether a stage before lets a text through: what it does not, is refused here only beside other faults."""
    try:
        canonical(Field("name", "string"), text)
    except BadRecord:
        return False
    return True


_TEXTS = st.one_of(st.text(alphabet=st.sampled_from([*_ODD, "a", "b", " "]), max_size=40), st.text(max_size=12)).filter(
    _is_canonical
)
_DIGITS = st.from_regex(r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,4})?", fullmatch=True)
_TIMES = st.one_of(
    st.datetimes().map(lambda at: at.isoformat(timespec="microseconds") + "Z"),
    st.datetimes().map(lambda at: at.isoformat(timespec="seconds") + "Z"),
    st.datetimes().map(lambda at: at.isoformat(timespec="milliseconds") + "+02:00"),
    st.sampled_from(["2023-02-29T00:00:00Z", "0000-01-01T00:00:00Z", "2023-01-01", "2023-01-01T24:00:00Z", "x"]),
)
_ANY = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 70), 1 << 70),
    st.floats(allow_nan=False, allow_infinity=False),
    _TEXTS,
    _DIGITS,
    _TIMES,
    st.lists(st.integers(), max_size=2),
)
_VALUES = {
    "name": _TEXTS,
    "about": st.one_of(st.just({"a": ['"']}), st.lists(_TEXTS, max_size=3)).map(json.dumps),
    "price": _DIGITS,
    "count": st.integers(-(1 << 62), 1 << 62),
    "share": st.one_of(
        st.floats(allow_nan=False, allow_infinity=False), st.integers(-(1 << 60), 1 << 60), st.just(-0.0)
    ),
    "open": st.booleans(),
    "day": st.one_of(st.dates().map(str), st.sampled_from(["2023-02-29", "2024-02-29", "1900-02-29", "x"])),
    "at": _TIMES,
}
_RECORDS = st.dictionaries(st.sampled_from([*_VALUES, "unknown", 'quo"te']), st.none(), max_size=9).flatmap(
    lambda names: st.fixed_dictionaries(
        {name: st.one_of(_VALUES.get(name, _ANY), st.none(), _ANY) for name in names},
    )
)


def _line(number: int, fields: bytes, **about: object) -> bytes:
    data: dict[str, Any] = {
        "op": "u",
        "entity": "thing",
        "entity_id": hash_id(str(number % 3)),
        "match_key": "thing",
        "group": "group",
        "stream": "things",
        "key": f"k{number}",
        "ts_us": number,
        "run": 1,
        "row": number,
        "captured_us": 1,
    }
    line = wire.RawResolved(
        id=str(about.pop("id", hash_id("event", str(number)))),
        source=str(about.pop("source", "source")),
        type=wire.RESOLVED,
        subject="thing/x",
        time="1970-01-01T00:00:00.000001Z",
        tenant="default",
        traceparent=str(about.pop("traceparent", "")),
        data=wire.ResolvedRaw(**(data | about), fields=msgspec.Raw(fields)),
    )
    return wire.encode(line)


def _read(mode: compiled.Mode, texts_: list[bytes]) -> tuple[list[Any], list[Any], dict[str, Any]]:
    """Rows with their texts, dead letters, what is known of the entities."""
    compiled.use(mode)
    state, texts = TypeState(Plan(LAYOUT, ())), Texts()
    bodies = [event.body for text in texts_ for event in wire.pack(0, wire.RESOLVED, [text])]
    lines = lines_of(bodies, {"thing": state}, 7)
    rows, letters = rows_of(lines, {"thing": state}, texts, 7)
    found = []
    for given_ in rows.values():
        for row in range(len(given_)):
            columns = {name: np.asarray(getattr(given_, name)[row]).tolist() for name in Rows.names}
            entity = state.ids.names[columns.pop("entity")]
            shown = {name: texts.text(columns[name]) for name in ("key", "event", "shown")}
            said = [
                texts.text(lane) if field.kind in ("string", "json") and lane >= 0 else lane
                for field, lane in zip(LAYOUT.fields, columns["value"], strict=True)
            ]
            found.append((columns["event"], entity, sorted((columns | shown).items(), key=str), said))
    told = sorted((*letters, *lines.letters), key=repr)
    return sorted(found, key=repr), told, dict.fromkeys(state.ids.names)


@settings(deadline=None)  # a first call loads machine code
@given(st.lists(_RECORDS, min_size=1, max_size=6), st.booleans())
def test_any_values_are_read_as_the_plain_decoder_reads_them(records: list[dict[str, Any]], together: bool) -> None:  # noqa: FBT001
    """Values in their usual form and in every other, in one event or several: rows and dead letters alike."""
    lines = [_line(number, wire.encode(record)) for number, record in enumerate(records)]
    events = [b"\n".join(lines)] if together else lines
    assert _read("wait", events) == _read("off", events)


@pytest.mark.parametrize(
    "odd",
    [
        b"",
        b" ",
        b"{}",
        b"not json",
        _line(1, b'{"name":"a"}')[:-1],
        _line(1, b'{"name":"a"}') + b" ",
        _line(1, b'{"name": "a"}'),
        _line(1, b'{"name":"a","name":"b"}'),
        _line(1, b'{"name":"a\\u00e9"}'),
        _line(1, b'{"name":"a\\q"}'),
        _line(1, b'{"name":"\xff"}'),
        _line(1, b'{"name":{"a":[1]}}'),
        _line(1, b'{"count":01}'),
        _line(1, b'{"count":1.0}'),
        _line(1, b'{"share":1e400}'),
        _line(1, b'{"share":1E5,"count":-0}'),
        _line(1, b'{"open":truth}'),
        _line(1, b'{"open":tru}'),
        _line(1, b'{"open":null,"day":nul}'),
        _line(1, b'{"price":"1."}'),
        _line(1, b'{"price":".5"}'),
        _line(1, b'{"price":"-0.10"}'),
        _line(1, b'{"price":""}'),
        _line(1, b"[1]"),
        _line(1, b"{}", ts_us=1 << 62),
        _line(1, b"{}", run=-1),
        _line(1, b"{}", row=1 << 40),
        _line(1, b"{}", op="x"),
        _line(1, b"{}", op="v", rev=3),
        _line(1, b"{}", rev=(1 << 62) - 1),
        _line(1, b"{}", key='a"b'),
        _line(1, b"{}", key="k" * 5000),
        _line(1, b"{}", id="event-1"),
        _line(1, b"{}", id="A" * 32),
        _line(1, b"{}", entity_id="thing-1"),
        _line(1, b"{}", entity="other"),
        _line(1, b"{}", source="other"),
        _line(1, b"{}", traceparent="00-1-2-01"),
        _line(1, b'{"name":"' + b"n" * 250_000 + b'"}'),
        _line(1, b"{}").replace(b'"crm"', b'"erp"').replace(b"default", b"def\\u0061ult"),
        _line(1, b"{}").replace(wire.RESOLVED.encode(), b"flockiq.tick"),
    ],
)
def test_a_line_in_another_form_is_read_as_the_plain_decoder_reads_it(odd: bytes) -> None:
    """Alone and among good lines, as the first and as the last."""
    good = [_line(number, b'{"name":"good","share":0.25}') for number in (5, 6)]
    for event in (odd, b"\n".join([odd, *good]), b"\n".join([*good, odd]), b"\n".join([good[0], odd, good[1], b""])):
        assert _read("wait", [event, good[0]]) == _read("off", [event, good[0]]), event[:200]


@pytest.mark.parametrize("shares", [(1, 1), (1, 7), (7, 1), (40, 3), (3, 40)])
def test_many_lines_are_found_whatever_stands_between_them(shares: tuple[int, int]) -> None:
    """More than are taken at once: good ones, and empty, short and broken ones, by turns."""
    good, bad = shares
    odd = [b"", b"x", b"{}", _line(1, b'{"name":"broken"')[:-1], b'{"a":1}' * 30]
    lines: list[bytes] = []
    for turn in range(4):
        lines += [_line(100 * turn + number, b'{"name":"good %d","share":0.25}' % number) for number in range(good)]
        lines += [odd[(turn + number) % len(odd)] for number in range(bad)]
    events = [b"\n".join(lines), b"\n".join(lines[::-1])]
    assert _read("wait", events) == _read("off", events)


def _again() -> Loading[compiled.Functions]:
    """Another load of the same functions."""
    known = compiled.loading
    warm, where = "flockiq.pipeline.warm", "flockiq.pipeline.compiled"
    return Loading(compiled.Functions, known.modules, known.made_from, warm, where)


def test_where_nothing_can_be_compiled_numpy_goes_on_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A missing or broken compiler is a warning, not a fault."""

    def missing() -> None:
        raise ImportError("No module named 'numba'")

    monkeypatch.setattr(compiled, "loading", loading := _again())
    monkeypatch.setattr(loading, "imported", missing)
    compiled.use("wait")
    assert compiled.ready() is None
    assert isinstance(compiled.failure(), ImportError)
    assert "No module named 'numba'" in caplog.text
    assert len(_read("wait", [_line(1, b'{"name":"a"}')])[0]) == 1


def test_nobody_waits_for_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the background, the first calls find nothing and the later ones do."""
    begin, loading = threading.Event(), _again()
    imported = loading.imported

    def slow() -> Any:
        begin.wait(10)
        return imported()

    monkeypatch.setattr(compiled, "loading", loading)
    monkeypatch.setattr(loading, "imported", slow)
    compiled.use("background")
    assert compiled.ready() is None
    begin.set()
    assert loading._thread is not None
    loading._thread.join(30)
    assert compiled.ready() is not None


def test_machine_code_is_kept_where_nobody_else_can_put_any(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder of the user's own, made for them alone; in one of the process's where there can be none."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kept = kept_in("abc")
    assert kept == tmp_path / "flockiq" / "abc"
    assert kept.stat().st_mode & 0o077 == 0
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert kept_in("abc").name.startswith("flockiq-")


def test_machine_code_is_made_anew_when_anything_changes_that_it_is_made_from() -> None:
    """Every module of ours that a compiled one takes something from, and itself, names the folder it is kept in."""
    root = Path(compiled.__file__).parents[1]
    made_from = {name.removeprefix("flockiq.").replace(".", "/") + ".py" for name in compiled.loading.modules}
    made_from |= {str(path.relative_to(root)) for path in (root / "shared" / "machine").glob("*.py")}
    made_from -= {"shared/machine/loading.py", "shared/machine/apart.py"}  # they load it, and are no part of it
    for path in list(made_from):
        for node in ast.walk(ast.parse((root / path).read_text())):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("flockiq."):
                made_from.add(str(node.module).removeprefix("flockiq.").replace(".", "/") + ".py")
    assert made_from <= {*SHARED, *compiled.loading.made_from}
