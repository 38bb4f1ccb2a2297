"""Findings as rows of table Findings, a column at a time."""

from __future__ import annotations

import numpy as np

from flockiq.compare.findings import BEGAN, ENDED, KINDS, Findings
from flockiq.pipeline.tell_deltas import ids_of
from flockiq.pipeline.types import TypeState
from flockiq.shared.lanes import NULL, Int64s, Texts
from flockiq.shared.tabular import Columns


def tell_findings(
    state: TypeState, told: Findings, texts: Texts, tenant: str, now_us: int, *, retracted_by: int | None = None
) -> Columns:
    """Tell at least one finding; or, with the number of the commit that does so, take it back."""
    n, layout = len(told.entity), state.plan.layout
    distinct, entity = np.unique(told.entity, return_inverse=True)
    entities, match_keys = state.ids.names.many(distinct), state.match_keys.many(distinct)
    fields = [field.name for field in layout.fields]
    causes = _texts(told.event, texts)
    named = [entities[one] for one in entity.tolist()], [fields[one] for one in told.field.tolist()]
    kinds = [KINDS[one] for one in told.kind.tolist()]
    measures = [str(one) for one in zip(*(column.tolist() for column in told[6:]), strict=True)]
    over = told.kind == ENDED
    started = _texts(np.where(over, told.since, NULL), texts)
    ids = ids_of(zip(*named, kinds, causes, measures, started, strict=True))
    ends = [""] * n
    at = np.flatnonzero(over).tolist()
    about = [(named[0][one], named[1][one], KINDS[BEGAN], started[one], measures[one], "") for one in at]
    for one, drift in zip(at, ids_of(about), strict=True):
        ends[one] = drift
    retracts = [""] * n
    if retracted_by is not None:
        ids, retracts = ids_of((one, "retracted", str(retracted_by)) for one in ids), ids
        kinds = ["retracted"] * n

    columns = Columns(n)
    columns.texts("FindingId", ids)
    columns.text("Tenant", tenant)
    columns.text("EntityType", layout.entity)
    columns.texts("EntityId", entities, entity)
    columns.texts("MatchKey", match_keys, entity)
    columns.texts("Field", fields, told.field)
    columns.texts("Kind", kinds)
    columns.texts("CauseId", causes)
    columns.instants("SourceTime", told.us)
    for name in ("Value", "Score", "Expected", "Low", "High"):
        columns.numbers(name, getattr(told, name.lower()))
    columns.texts("Ends", ends)
    columns.instants("CommittedAt", np.full(n, now_us, np.int64))
    columns.texts("Retracts", retracts)
    return columns


def _texts(lanes: Int64s, texts: Texts) -> list[str]:
    """The texts of ids; "" of one that was not yet remembered when its drift began."""
    said = [""] * len(lanes)
    known = np.flatnonzero(lanes != NULL)
    for at, text in zip(known.tolist(), texts.many(lanes[known]), strict=True):
        said[at] = text
    return said
