"""Machine code merges exactly as what it stands in for."""

from __future__ import annotations

import ast
import importlib
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flockiq.merge import compiled
from flockiq.merge.changes import Changes
from flockiq.merge.judging import Judging
from flockiq.merge.mapping import FieldPlan, StreamPlan, stream_plans
from flockiq.merge.warm import PLAN
from flockiq.shared import wire
from flockiq.shared.config.model import Config
from flockiq.shared.fields import Field
from flockiq.shared.machine import loading
from flockiq.shared.machine.loading import SHARED
from flockiq.shared.owner import Folded
from flockiq.shared.settings import HUBS, Settings
from flockiq.shared.tabular import ndjson
from tests.merge.feed import TENANT, change

_ODD = ['"', "\\", "\n", "\x7f", "\x80", "é", "漢", "𝄞", "/", "\u2028", "\x1f"]
_TEXTS = st.one_of(st.text(alphabet=st.sampled_from([*_ODD, "a", "b", " "]), max_size=12), st.text(max_size=8))
_DIGITS = st.from_regex(r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,4})?", fullmatch=True)
_TIMES = st.one_of(
    st.datetimes().map(lambda at: at.isoformat(timespec="microseconds") + "Z"),
    st.datetimes().map(lambda at: at.isoformat(timespec="seconds") + "Z"),
    st.datetimes().map(lambda at: at.isoformat(timespec="milliseconds") + "Z"),
    st.datetimes().map(lambda at: at.isoformat(timespec="milliseconds") + "+02:00"),
    st.sampled_from(["2023-02-29T00:00:00Z", "0000-01-01T00:00:00Z", "2023-01-01", "2023-01-01T24:00:00Z", "x", ""]),
)
_FLOATS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(10**6), 10**6).map(lambda n: n / 1000),
    st.sampled_from([0.0, -0.0, 1e15, 1e16, 1e-5, 0.001, 0.0001, 123456789.125]),
)
_ANY = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 70), 1 << 70),
    _FLOATS,
    _TEXTS,
    _DIGITS,
    _TIMES,
    st.lists(st.integers(), max_size=2),
    st.dictionaries(_TEXTS, st.integers(), max_size=2),
)
_VALUES = {
    "string": _TEXTS,
    "json": st.one_of(st.just({"a": ['"']}), _TEXTS),
    "decimal": st.one_of(_DIGITS, _FLOATS, st.integers(-(10**16), 10**16)),
    "integer": st.integers(-(1 << 62), 1 << 62),
    "float": st.one_of(_FLOATS, st.integers(-(1 << 60), 1 << 60)),
    "boolean": st.booleans(),
    "date": st.one_of(st.dates().map(str), st.sampled_from(["2023-02-29", "2024-02-29", "20240131", "x"])),
    "timestamp": _TIMES,
    "code": st.sampled_from(["1", 1, True, "x", None, "2"]),
    "local": st.one_of(_TIMES, st.datetimes().map(lambda at: at.isoformat(timespec="seconds"))),
    "midnight": st.one_of(_TIMES, st.sampled_from(["2024-01-31", "2024-01-30T23:00:00Z", "2024-01-31T00:00:00"])),
    "own": st.sampled_from(["31.12.2024", "2024-12-31", "32.12.2024", None, 7]),
    "deep": st.one_of(
        st.fixed_dictionaries({"er": st.one_of(st.fixed_dictionaries({"st": _TEXTS}), _ANY)}),
        st.fixed_dictionaries({"other": _ANY}),
        _ANY,
    ),
    "placed": st.sampled_from(["a", "b", "", None, 'q"', "ü"]),
}
_WIDE = PLAN._replace(
    fields=(
        *PLAN.fields,
        FieldPlan(Field("code", "string"), ("code",), {"1": "one", "true": "yes"}, None, ""),
        FieldPlan(Field("own", "date"), ("own",), {}, None, "%d.%m.%Y"),
        FieldPlan(Field("local", "timestamp", zone="Europe/Berlin"), ("local",), {}, None, ""),
        FieldPlan(Field("midnight", "date", zone="Europe/Berlin"), ("midnight",), {}, None, ""),
        FieldPlan(Field("deep", "string"), ("deep", "er", "st"), {}, "none", ""),
        FieldPlan(Field("placed", "string"), ("placed",), {}, None, ""),
    ),
    partition_by="placed",
)
_RECORDS = st.lists(st.sampled_from([*_VALUES, "unknown", 'quo"te', "deeper"]), max_size=12, unique=True).flatmap(
    lambda names: st.fixed_dictionaries(
        {name: st.one_of(_VALUES.get(name, _ANY), _VALUES.get(name, _ANY), st.none(), _ANY) for name in names}
    )
)
_TOLD = st.tuples(
    st.sampled_from("crrruud"), st.integers(1, 6), st.integers(0, 2), st.sampled_from(["1", "2", "ü", 'k"']), _RECORDS
)


def _line(op: str, us: int, run: int, key: str, after: bytes, /, **about: object) -> bytes:
    made = change(op, us, {"said": repr(after)}, key=key, source="source", stream="things", run=run)  # type: ignore[arg-type]
    of_data = {name: about.pop(name) for name in list(about) if name in wire.ChangeData.__struct_fields__}
    data = msgspec.structs.replace(made.data, after=msgspec.Raw(after), **of_data)
    return wire.encode(msgspec.structs.replace(made, data=data, **about))


def _both(plans: dict[tuple[str, str], StreamPlan]) -> tuple[Changes, Changes]:
    settings_ = Settings(partitions={**HUBS, "resolved": 2}, versions_kept=3)
    first, second = (Changes(plans, settings_, lambda: 1_000_000) for _ in range(2))
    for one in (first, second):
        one.load(b"", [])
    return first, second


def _shown(folded: Folded) -> tuple[Any, ...]:
    """Everything that a fold gives, to be compared."""
    events = [(event.partition, wire.unpack(event.body)) for event in folded.outbox.events.get("resolved", [])]
    rows = {table: ndjson(columns) for table, columns in folded.outbox.columns.items()}
    return events, rows, sorted(map(repr, folded.letters)), folded.records, folded.body


def _same(machine: Changes, plain: Changes, bodies: list[bytes], commit: int) -> None:
    functions = compiled.ready()
    assert functions is not None
    fast, slow = machine.folded(functions, bodies, commit), plain.folded(None, bodies, commit)
    for mine, theirs in zip(_shown(fast), _shown(slow), strict=True):
        assert mine == theirs
    assert (machine.duplicates, machine.unchanged) == (plain.duplicates, plain.unchanged)
    chains = [[one.records.chain(number) for number in _by_name(one)] for one in (machine, plain)]
    assert chains[0] == chains[1]


def _by_name(changes: Changes) -> list[int]:
    return [changes.records.index[name] for name in sorted(changes.records.index)]


def _packed(lines: list[bytes]) -> bytes:
    (event,) = wire.pack(0, wire.CHANGE, lines)
    return event.body


@settings(deadline=None)  # a first call loads machine code
@given(st.lists(st.lists(_TOLD, min_size=1, max_size=6), min_size=1, max_size=4))
def test_any_records_are_merged_as_without_it(batches: list[list[tuple[str, int, int, str, dict[str, Any]]]]) -> None:
    """Lines, rows of the history, dead letters, what is committed and what is known, batch after batch."""
    machine, plain = _both({("source", "things"): _WIDE})
    for number, told in enumerate(batches, 1):
        lines = [_line(op, us, run, key, msgspec.json.encode(record)) for op, us, run, key, record in told]
        _same(machine, plain, [_packed(lines)], number)
    machine.records.compact()
    plain.records.compact()
    assert [machine.records.chain(at) for at in _by_name(machine)] == [
        plain.records.chain(at) for at in _by_name(plain)
    ]


@settings(deadline=None)
@given(st.data())
def test_a_stream_of_config_is_merged_as_without_it(config: Config, data: st.DataObject) -> None:
    """With match keys, moves from one entity to another, late versions, codes, defaults, nested members."""
    plans = stream_plans(config)
    machine, plain = _both(plans)
    for number in range(1, 4):
        lines = []
        for _ in range(data.draw(st.integers(1, 8))):
            source, stream = data.draw(st.sampled_from([("erp", "customers"), ("web", "contacts"), ("erp", "orders")]))
            names = sorted({one.path[0] for one in plans[source, stream].fields})
            record = data.draw(
                st.dictionaries(
                    st.sampled_from(names),
                    st.sampled_from(["a", "b", 1, 2.5, "2.50", None, True, {"tax": {"id": "x"}}, {"id": "y"}]),
                    max_size=len(names),
                )
            )
            op = data.draw(st.sampled_from("crrruuud"))
            us, key = data.draw(st.integers(1, 9)), data.draw(st.sampled_from("12"))
            lines.append(wire.encode(change(op, us, record, key=key, source=source, stream=stream)))  # type: ignore[arg-type]
        _same(machine, plain, [_packed(lines)], number)


_GOOD = b'{"string":"a","placed":"b"}'


_SMALL = st.fixed_dictionaries(
    {},
    optional={
        "string": st.sampled_from(["a", "b", "ü"]),
        "integer": st.sampled_from([1, 2]),
        "decimal": st.sampled_from(["1.5", "2.50"]),
        "placed": st.sampled_from(["a", "a", "a", "b"]),
    },
)
_LATE = st.tuples(st.sampled_from("crruuuuud"), st.integers(1, 9), st.integers(0, 2), st.sampled_from("12"), _SMALL)


@settings(deadline=None)
@given(
    st.lists(st.lists(_LATE, min_size=1, max_size=14), min_size=1, max_size=3), st.sampled_from([{}, {"placed": "a"}])
)
def test_versions_that_come_late_are_worked_out_as_without_it(
    batches: list[list[tuple[str, int, int, str, dict[str, Any]]]], place: dict[str, str]
) -> None:
    """Whatever follows them: updates, deletes and whole records, of one place or of several."""
    machine, plain = _both({("source", "things"): _WIDE})
    for number, told in enumerate(batches, 1):
        lines = [_line(op, us, run, key, msgspec.json.encode(record | place)) for op, us, run, key, record in told]
        _same(machine, plain, [_packed(lines)], number)


def test_most_late_versions_are_worked_out_by_machine_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that changes what was known after an update, and one that makes a line void."""
    machine, plain = _both({("source", "things"): _WIDE})
    first = [_line("r", 1, 1, "1", _GOOD), _line("u", 3, 1, "1", b'{"integer":1}'), _line("r", 5, 1, "1", _GOOD)]
    late = [_line("u", 2, 1, "1", b'{"string":"b"}'), _line("r", 4, 1, "1", _GOOD)]
    for changes in (machine, plain):
        changes.folded(compiled.ready(), [_packed(first)], 1)
    expected = plain.folded(None, [_packed(late)], 2)
    monkeypatch.setattr(Judging, "late", None)
    assert _shown(machine.folded(compiled.ready(), [_packed(late)], 2)) == _shown(expected)
    (event,) = [wire.unpack(event.body) for event in expected.outbox.events["resolved"]]
    assert [json.loads(line)["data"]["op"] for line in event.split(b"\n")] == ["u", "v", "r"]


@pytest.mark.parametrize(
    "odd",
    [
        b"",
        b" ",
        b"{}",
        b"not json",
        _line("r", 1, 1, "k", _GOOD)[:-1],
        _line("r", 1, 1, "k", _GOOD) + b" ",
        _line("r", 1, 1, "k", b'{ "string" : "a" , "float":\t1.5 }'),
        _line("r", 1, 1, "k", _GOOD, id="odd"),
        *(
            _line("r", 1, 1, "k", after)
            for after in (
                b'{"string":"a","string":"b"}',
                b'{"str\\u0069ng":"a"}',
                b'{"string":"\\u00e9\\ud83d\\ude00"}',
                b'{"string":"\\ud800"}',
                b'{"unknown":"\\ud800"}',
                b'{"string":"a\\q"}',
                b'{"string":"\xff"}',
                b'{"unknown":"\xff"}',
                b'{"unknown":1e400}',
                b'{"float":1e400}',
                b'{"float":1E5,"integer":-0}',
                b'{"float":1.50,"decimal":-0.00}',
                b'{"float":-0.0,"decimal":"-0.00"}',
                b'{"integer":01}',
                b'{"integer":1.0,"decimal":1.}',
                b'{"boolean":truth}',
                b'{"boolean":tru}',
                b'{"decimal":"1e3","date":null}',
                b'{"decimal":".5"}',
                b'{"deep":{"er":{"st":"a","st":"b"}}}',
                b'{"deep":{"er":{"st":"a"},"x":[1,{"y":[]}]}}',
                b'{"deep":{"er":null}}',
                b'{"deep":null}',
                b'{"unknown":' + b"[" * 40 + b"]" * 40 + b"}",
                b'{"unknown":' + b"[" * 2000 + b"]" * 2000 + b"}",
                b'{"unknown":[1,]}',
                b'{"unknown":{"a":}}',
                b"[1]",
                b"null",
                b"7",
                b'{"string":"' + b"n" * 250_000 + b'"}',
                b'{"unknown":"' + b"n" * 250_000 + b'"}',
                b'{"string":"' + "ü".encode() * 60_000 + b'"}',
            )
        ),
        _line("r", 1, 1, "k", b"{}", ts_us=1 << 62),
        _line("r", 1, 1, "k", b"{}", run=-1),
        _line("r", 1, 1, "k", b"{}", row=1 << 40),
        _line("r", 1, 1, "k", b"{}", op="x"),
        _line("d", 1, 1, "k", b'{"integer":"x"}'),
        _line("d", 1, 1, "k", b"[]"),
        _line("r", 1, 1, "k" * 5000, b"{}"),
        _line("r", 1, 1, "k", _GOOD, id="A" * 32),
        _line("r", 1, 1, "k", _GOOD, stream="others"),
        _line("r", 1, 1, "k", _GOOD, source="others"),
        _line("r", 1, 1, "k", _GOOD, tenant="others"),
        _line("r", 1, 1, "k", _GOOD, traceparent="00-1-2-01"),
        _line("r", 1, 1, "k", _GOOD).replace(TENANT.encode(), b"d\\u0065fault"),
        _line("r", 1, 1, "k", _GOOD).replace(wire.CHANGE.encode(), b"flockiq.tick"),
    ],
)
def test_a_line_in_another_form_is_merged_as_without_it(odd: bytes) -> None:
    """Alone and among good lines, as the first and as the last, and again."""
    good = [_line("r", us, 1, "1", _GOOD) for us in (5, 6)]
    for lines in ([odd], [odd, *good], [*good, odd], [good[0], odd, good[1], b""]):
        machine, plain = _both({("source", "things"): _WIDE})
        for commit in (1, 2):
            _same(machine, plain, [_event(lines), _event(good[:1])], commit)


def _event(lines: list[bytes]) -> bytes:
    (event,) = wire.pack(0, wire.CHANGE, [b"\n".join(lines)])
    return event.body


def test_functions_are_compiled_once() -> None:
    """Whatever is read by machine code, without it, or both at once: a batch waits for no compiler."""
    machine, plain = _both({("source", "things"): _WIDE})
    good, odd = _line("r", 1, 1, "1", _GOOD), _line("r", 2, 1, "2", _GOOD, id="odd")
    for commit, lines in enumerate(([good], [odd], [good, odd], [_line("u", 3, 1, "1", b'{"decimal":"x"}')]), 1):
        _same(machine, plain, [_packed(lines)], commit)
    functions = compiled.ready()
    assert functions is not None
    assert {name: len(getattr(functions, name).signatures) for name in functions._fields} == dict.fromkeys(
        functions._fields, 1
    )


def test_machine_code_is_made_anew_when_anything_changes_that_it_is_made_from() -> None:
    """Every module of ours that a compiled one takes something from, and itself, names the folder it is kept in."""
    root = Path(compiled.__file__).parents[1]
    made_from = {name.removeprefix("flockiq.").replace(".", "/") + ".py" for name in compiled.loading.modules}
    for path in list(made_from):
        for node in ast.walk(ast.parse((root / path).read_text())):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("flockiq."):
                made_from.add(str(node.module).removeprefix("flockiq.").replace(".", "/") + ".py")
    assert made_from <= {*SHARED, *compiled.loading.made_from}


def test_it_can_be_made_by_a_process_of_its_own() -> None:
    """What such a process asks of a stage (shared/machine/apart.py) is there."""
    stage = importlib.import_module(compiled.loading._where)
    assert stage.loading is compiled.loading
    assert stage.use is loading.use
