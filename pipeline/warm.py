"""A first call of every compiled function, so that all are compiled, or read from where they are kept."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from flockiq.pipeline.codes import REPEATED, DeltaColumns
from flockiq.pipeline.compiled import Functions
from flockiq.pipeline.decode import rows_of, scanned_lines
from flockiq.pipeline.findings import found
from flockiq.pipeline.fused import in_one_pass
from flockiq.pipeline.placing import Placing
from flockiq.pipeline.play import seen_of
from flockiq.pipeline.rounds import Passed
from flockiq.pipeline.tell_deltas_by_machine import tell_deltas_by_machine
from flockiq.pipeline.tell_entities_by_machine import tell_entities_by_machine
from flockiq.pipeline.tellings import About
from flockiq.pipeline.types import TypeState
from flockiq.pipeline.world import DeltaRows, Plan
from flockiq.shared import wire
from flockiq.shared.cel.compile import compile_cel
from flockiq.shared.cel.kinds import Kind as KindOfValue
from flockiq.shared.laneindex import FREE
from flockiq.shared.lanes import Texts
from flockiq.shared.layout import Baseline, Field, Layout, Tolerance
from flockiq.shared.positions import hash_id
from flockiq.shared.rows import Rows
from flockiq.signal.conditions import evaluate
from flockiq.signal.episodes import Episodes
from flockiq.signal.watch import Kind, Watch

_SAID: Mapping[str, str | float | bool] = {
    "name": "a",
    "about": "[]",
    "price": "1.50",
    "count": 1,
    "share": 0.5,
    "open": True,
    "day": "2026-01-31",
    "at": "2026-01-31T12:00:00Z",
}
_FIELDS = (
    Field("name", "string"),
    Field("about", "json"),
    Field("price", "decimal", 2),
    Field("count", "integer"),
    Field("share", "float"),
    Field("open", "boolean"),
    Field("day", "date"),
    Field("at", "timestamp"),
)
LAYOUT = Layout(
    entity="thing",
    fields=_FIELDS,
    sources=("source",),
    partition_by="",
    survivorship=(("longest", "recent"),) * len(_FIELDS),
    ranks=((0,),) * len(_FIELDS),
    tolerances=(Tolerance(0), Tolerance(2, relative=0.1)),
    baselines=(Baseline(2), Baseline(3, zone="UTC")),
)
"""An entity type with a field of every type."""


def warm(functions: Functions) -> None:
    """Take one record through all of them."""
    state = TypeState(Plan(LAYOUT, (_watch(0, "threshold", "count > 0"), _watch(1, "change", "has(new)"))))
    texts = Texts()
    (event,) = wire.pack(0, wire.RESOLVED, [_line()])
    lines = scanned_lines(functions, [event.body], {"thing": state}, 0)
    rows, letters = rows_of(lines, {"thing": state}, texts, 0)
    functions.reindex(np.full(2, FREE, np.int32), np.zeros(1, np.int64), 0, 1)
    if letters or lines.resolved:
        raise AssertionError("the compiled reader does not take a plain line")
    state.room()
    record, order = rows["thing"], np.empty(1, np.int64)
    functions.put_in_order(record.group, record.us, record.rr, record.event, order)
    told = DeltaColumns(*np.zeros((len(DeltaColumns._fields), 1), np.int64))
    functions.shared(told, told, np.empty(1, np.bool_), np.empty(1, np.bool_))
    passed = in_one_pass(functions, state.live, LAYOUT, rows["thing"], texts)
    previous, _ = found(state.live, LAYOUT, record, passed, np.zeros((1, len(LAYOUT.tolerances)), np.bool_), functions)
    seen, episodes = seen_of(record, passed, previous, np.arange(1)), Episodes()
    held = evaluate(state.plan.rules, seen, np.zeros(1, np.int64), episodes, texts, machine=functions)
    state.history.append(record)
    came, places = np.empty(1, np.int8), np.empty(1, np.int64)
    state.history.marks.head[0] = -1  # it is logged again, in the same place
    mine, *log = state.history.searched(record)
    functions.keep(mine, 0, *log)
    functions.logged(mine, *log, places)
    functions.sort_out(mine, *log, came)
    if held.tolist() != [1] or [step.change for step in episodes.taken()] != ["fire", "fire"]:
        raise AssertionError("the compiled conditions do not hold of a plain record")
    if len(passed.row) != len(_FIELDS) or places[0] != 0 or came[0] != REPEATED:
        raise AssertionError("the compiled fold does not fold a plain record")
    _tell(functions, state, record, passed, texts)


def _tell(functions: Functions, state: TypeState, record: Rows, passed: Passed, texts: Texts) -> None:
    """Tell what became of it, and take it back."""
    about = About("tenant", 1, 1, 0, Placing(2))
    row = passed.row
    position = record.event[row], record.us[row], record.rr[row]
    values = record.entity[row], passed.field, passed.kind, passed.old, passed.new
    deltas = DeltaRows(*values, *position, passed.source, passed.old_us, passed.new_us)
    told = tell_deltas_by_machine(functions, state, deltas, texts, about)
    retracted = tell_deltas_by_machine(functions, state, deltas, texts, about, retracted_by=2)
    golden = tell_entities_by_machine(functions, state, record.entity, texts, about)
    for one, count in ((told, len(row)), (retracted, len(row)), (golden, 1)):
        if one is None or sum(len(lines.ends) for _, lines in one.lines) != count:
            raise AssertionError("the compiled telling does not tell what is plain")


def _watch(number: int, kind: Kind, when: str) -> Watch:
    """A rule about the count."""
    condition = compile_cel(when, {"count": KindOfValue.INT, "new": KindOfValue.INT})
    return Watch(
        number=number,
        name=kind,
        kind=kind,
        fields=(3,),
        condition=condition,
        names=tuple(condition.names),
        for_us=0,
        keep_us=0,
        resolve_after_us=0,
        severity="info",
        title="",
        recommend="",
        labels={},
        shown=(),
    )


def _line() -> bytes:
    whole = hash_id("thing")
    data = wire.ResolvedData(
        op="r",
        entity="thing",
        entity_id=whole,
        match_key="thing",
        group=whole,
        stream="things",
        key="1",
        ts_us=1,
        run=1,
        row=0,
        captured_us=1,
        fields=dict(_SAID),
    )
    line = wire.Resolved(
        id=hash_id("event"),
        source="source",
        type=wire.RESOLVED,
        subject=f"thing/{whole}",
        time="1970-01-01T00:00:00.000001Z",
        tenant="default",
        data=data,
    )
    return wire.encode(line)
